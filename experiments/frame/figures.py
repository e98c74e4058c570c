"""What the figures of several experiments draw alike."""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
from jaxtyping import Float

from semrsm_jax.plotting.style import COLORS, FONT_SIZE, MARKERS, new_figure

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure


@contextmanager
def styled_figure(size: tuple[float, float], boxes: bool = False) -> "Iterator[Figure]":
    """A figure of a size in inches: text of one size, axes left and below, no boxes.

    Args:
      size: width and height.
      boxes: axes on all sides, as matrices have them.
    """
    from matplotlib import rc_context

    settings: dict[Any, Any] = {
        **{"font.size": FONT_SIZE, "axes.titlesize": FONT_SIZE},
        **{"axes.spines.top": boxes, "axes.spines.right": boxes},
        "legend.frameon": False,
    }
    with rc_context(settings):
        yield new_figure(size)


def draw_legend(
    figure: "Figure",
    *axes: "Axes",
    place: Literal["upper", "lower"] = "upper",
    ncols: int = 3,
) -> None:
    """One legend for all panels, outside of them, with the labels of some of them."""
    handles = {
        label: handle
        for ax in axes
        for handle, label in zip(*ax.get_legend_handles_labels(), strict=True)
    }
    loc: Any = f"outside {place} center"
    figure.legend(handles.values(), handles.keys(), loc=loc, ncols=ncols)


def draw_line(
    ax: "Axes",
    place: float,
    *,
    vertical: bool = False,
    color: str = "0.5",
    label: str = "_nolegend_",
) -> None:
    """A thin dotted line of reference across a panel, such as zero or chance."""
    line = ax.axvline if vertical else ax.axhline
    line(place, color=color, linewidth=0.8, linestyle=":", label=label)


def draw_intervals(
    ax: "Axes",
    places: Float[np.ndarray, " n"] | Sequence[float],
    intervals: Sequence[tuple[float, float, float]],
    kind: int = 0,
    label: str = "_nolegend_",
    linestyle: str = "-",
    along: Literal["x", "y"] = "x",
    **look: Any,
) -> None:
    """Values with their intervals, joined by a line.

    Args:
      ax: the panel to draw in.
      places: of the values.
      intervals: value, lower and upper limit of each.
      kind: index of the color and the marker, which are the same in all figures.
      label: in the legend.
      linestyle: of the line; empty: none.
      along: the axis that the places are on.
      look: what is drawn otherwise, as arguments of matplotlib.
    """
    value, low, high = np.array(intervals, float).reshape(-1, 3).T
    # An estimate of all images may lie beyond an interval of some of them.
    ends = np.maximum((value - low, high - value), 0)
    flat = along == "x"
    settings: dict[str, Any] = {
        **{"color": COLORS[kind % len(COLORS)], "marker": MARKERS[kind % len(MARKERS)]},
        **{"markersize": 4, "linewidth": 1.2, "capsize": 2},
        **{"linestyle": linestyle, "label": label},
    }
    ax.errorbar(
        places if flat else value,
        value if flat else places,
        yerr=ends if flat else None,
        xerr=None if flat else ends,
        **settings | look,
    )
