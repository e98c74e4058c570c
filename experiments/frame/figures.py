"""What the figures of several experiments draw alike."""

from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np
from jaxtyping import Float

from semrsm_jax.plotting.style import COLORS, MARKERS

if TYPE_CHECKING:
    from matplotlib.axes import Axes


def draw_intervals(
    ax: "Axes",
    places: Float[np.ndarray, " n"],
    intervals: Sequence[tuple[float, float, float]],
    kind: int,
    label: str,
    linestyle: str = "-",
) -> None:
    """Values with their intervals, joined by a line.

    Args:
      ax: where to draw.
      places: of the values, along x.
      intervals: value, lower and upper limit of each.
      kind: the place of its colour and marker, which are the same in all figures.
      label: in the legend.
      linestyle: of the line.
    """
    value, low, high = np.array(intervals).T
    ax.errorbar(
        places,
        value,
        (value - low, high - value),
        color=COLORS[kind],
        marker=MARKERS[kind],
        markersize=4,
        linewidth=1.2,
        capsize=2,
        linestyle=linestyle,
        label=label,
    )
