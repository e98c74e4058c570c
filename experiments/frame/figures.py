"""What the figures of several experiments draw alike."""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING

import numpy as np
from jaxtyping import Float

from semrsm_jax.plotting.style import COLORS, FONT_SIZE, MARKERS, new_figure

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure


@contextmanager
def styled_figure(size: tuple[float, float]) -> "Iterator[Figure]":
    """A figure of a size in inches, whose text has the size of all figures."""
    from matplotlib import rc_context

    with rc_context({"font.size": FONT_SIZE, "axes.titlesize": FONT_SIZE}):
        yield new_figure(size)


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
      kind: the place of its color and marker, which are the same in all figures.
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
