"""One style for all figures: matplotlib's objects, no window, no global state.

Colors are distinct for color-blind readers and in gray print: cividis for heatmaps,
purple to orange for differences, Okabe and Ito's colors for the rest. Every plot
function ends with `finish`, and every color bar and legend is made here, so that text
has the same sizes everywhere, whatever axes it is drawn on.
"""

from collections.abc import Collection
from contextlib import AbstractContextManager
from typing import TYPE_CHECKING, Any, TypeVar

from semrsm_jax._extras import required

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.cm import ScalarMappable
    from matplotlib.figure import Figure, SubFigure

# A figure, or a part of one.
AnyFigure = TypeVar("AnyFigure", bound="Figure | SubFigure")

COLORMAP = "cividis"
# Neutral in between.
DIVERGING = "PuOr_r"
# Okabe and Ito, "Color universal design", 2008: blue, vermilion, and on.
COLORS = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9")
MARKERS = ("o", "s", "D", "^", "v", "P")
FRAME = ("left", "right", "top", "bottom")
FONT_SIZE = 8  # points: axis labels; titles are one larger, ticks and legends smaller
SMALL = FONT_SIZE - 1
# Inches: a column of a paper in two columns, and its whole width (ICML's; others differ
# by a few hundredths).
_WIDTHS = {1: 3.25, 2: 6.75}
_DPI = 150


def paper_style() -> AbstractContextManager[None]:
    """The style of this package's figures, for your own axes beside them.

    ``with paper_style(): figure, axes = plt.subplots(...)`` sets sizes of text, colors
    and layout within the block only. The plot functions do not need it: they draw in
    this style on any axes.

    Returns:
      A context manager, matplotlib's `rc_context`.

    Raises:
      ImportError: matplotlib is not installed.
    """
    figure_class()
    from cycler import cycler
    from matplotlib import rc_context

    settings: dict[Any, Any] = {
        "font.size": FONT_SIZE,
        "axes.titlesize": FONT_SIZE + 1,
        "axes.labelsize": FONT_SIZE,
        "xtick.labelsize": SMALL,
        "ytick.labelsize": SMALL,
        "legend.fontsize": SMALL,
        "legend.frameon": False,
        "axes.spines.top": False,
        "axes.spines.right": False,
        "axes.prop_cycle": cycler(color=COLORS),
        "lines.linewidth": 1.3,
        "lines.markersize": 4,
        "image.cmap": COLORMAP,
        "figure.constrained_layout.use": True,
        "figure.dpi": _DPI,
        "savefig.dpi": 300,
        # Text in PDFs stays text; many journals reject Type 3 fonts.
        "pdf.fonttype": 42,
    }
    return rc_context(settings)


def figure_size(columns: int = 1, aspect: float = 0.75) -> tuple[float, float]:
    """Width and height, in inches, of a figure in a paper of two columns.

    Args:
      columns: 1 (3.25 inches) or 2 (the whole width, 6.75 inches).
      aspect: height by width, above 0.

    Returns:
      (width, height), for matplotlib's ``figsize``.

    Raises:
      ValueError: another number of columns, or an aspect that is not above 0 or not
        finite.
    """
    if columns not in _WIDTHS:
        raise ValueError(f"columns must be 1 or 2, got {columns!r}")
    if not 0 < aspect < float("inf"):
        raise ValueError(f"aspect must be above 0 and finite, got {aspect!r}")
    return _WIDTHS[columns], _WIDTHS[columns] * aspect


def figure_class() -> "type[Figure]":
    """Matplotlib's `Figure`; the error names the package to install."""
    return required("matplotlib.figure", "demo", "a figure").Figure


def new_figure(size: tuple[float, float]) -> "Figure":
    """A new figure of this size in inches; it belongs to no window."""
    return figure_class()(figsize=size, layout="constrained", dpi=_DPI)


def axes_or_new(ax: "Axes | None") -> "Axes":
    """The axes given, or those of a new figure."""
    return new_figure((4.0, 3.2)).add_subplot() if ax is None else ax


def finish(
    ax: "Axes",
    *,
    title: str | None = None,
    xlabel: str = "",
    ylabel: str = "",
    sides: Collection[str] = ("left", "bottom"),
) -> "Axes":
    """Sets title, labels, text sizes, and the lines on the given sides."""
    ax.set_title(title or "", fontsize=FONT_SIZE + 1)
    ax.set_xlabel(xlabel, fontsize=FONT_SIZE)
    ax.set_ylabel(ylabel, fontsize=FONT_SIZE)
    ax.tick_params(labelsize=SMALL)
    for side, spine in ax.spines.items():
        spine.set_visible(side in sides)
    return ax


def add_colorbar(ax: "Axes", mappable: "ScalarMappable", label: str) -> None:
    """Adds a color bar to the right of the axes, as high as they are."""
    bar = ax.figure.colorbar(mappable, cax=ax.inset_axes((1.03, 0, 0.05, 1)))
    bar.set_label(label, fontsize=FONT_SIZE)
    bar.ax.tick_params(labelsize=SMALL)


def add_legend(ax: "Axes") -> None:
    """Adds the legend of labeled artists to the axes."""
    # Nearly opaque: legible where it has to cover lines.
    ax.legend(framealpha=0.85, edgecolor="none", fontsize=SMALL)
