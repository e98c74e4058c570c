"""One style for all figures: matplotlib's objects, no window, no global state.

Colours are told apart by colour-blind readers and in grey print: cividis for heatmaps,
Okabe and Ito's colours for the rest.
"""

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

COLORMAP = "cividis"
# Okabe and Ito, "Color universal design", 2008: blue, vermilion, and on.
COLORS = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9")
MARKERS = ("o", "s", "D", "^", "v", "P")
FONT_SIZE = 8


def axes_or_new(ax: "Axes | None") -> "Axes":
    return new_figure((4.0, 3.2)).add_subplot() if ax is None else ax


def new_figure(size: tuple[float, float]) -> "Figure":
    """A figure of that size in inches, which belongs to no window."""
    try:
        from matplotlib.figure import Figure
    except ImportError as error:
        raise ImportError(
            'figures need matplotlib: pip install "semrsm_jax[demo]"'
        ) from error
    return Figure(figsize=size, layout="constrained", dpi=150)
