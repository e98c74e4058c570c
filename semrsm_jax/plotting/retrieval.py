"""Retrieval: scores by the number of neighbors, and the retrieved images (Fig. 4)."""

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, NamedTuple, overload

import numpy as np
from jaxtyping import Float

from semrsm_jax.plotting.style import (
    COLORS,
    FONT_SIZE,
    MARKERS,
    SMALL,
    add_legend,
    axes_or_new,
    finish,
    new_figure,
)

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure, SubFigure


class ScoreCurve(NamedTuple):
    """Scores at 1, 2, ..., k neighbors.

    Attributes:
      value: (k,).
      low: (k,), lower ends of the intervals; None where there are none.
      high: (k,), upper ends.
    """

    value: Float[np.ndarray, " k"]
    low: Float[np.ndarray, " k"] | None = None
    high: Float[np.ndarray, " k"] | None = None


class Retrieved(NamedTuple):
    """An image of a gallery.

    Attributes:
      image: (H, W, 3), uint8, or float in [0, 1]; None leaves its place empty.
      caption: below it.
    """

    image: np.ndarray | None
    caption: str = ""


def plot_scores_at_k(
    curves: Mapping[str, ScoreCurve],
    ax: "Axes | None" = None,
    *,
    title: str | None = None,
    label: str = "F1@k",
    legend: bool = True,
) -> "Axes":
    """Draws retrieval scores against the number of neighbors k.

    Args:
      curves: name of each method -> its scores, at most six.
      ax: where to draw; None makes a new figure.
      title: above the axes.
      label: of the score.
      legend: whether to name the methods.

    Returns:
      The axes. Intervals are shaded.

    Raises:
      ImportError: matplotlib is not installed.
      ValueError: no curve or more than six.
    """
    if not 1 <= len(curves) <= len(COLORS):
        raise ValueError(f"curves must be 1 to {len(COLORS)}, got {len(curves)}")
    ax = axes_or_new(ax)
    for (name, curve), color, marker in zip(
        curves.items(), COLORS, MARKERS, strict=False
    ):
        k = np.arange(1, len(curve.value) + 1)
        ax.plot(k, curve.value, marker + "-", color=color, ms=4, lw=1.3, label=name)
        if curve.low is not None and curve.high is not None:
            ax.fill_between(k, curve.low, curve.high, color=color, alpha=0.18, lw=0)
    ax.locator_params(axis="x", integer=True)
    if legend:
        add_legend(ax)
    return finish(ax, title=title, xlabel="neighbors k", ylabel=label)


@overload
def retrieval_gallery(
    queries: Sequence[Retrieved],
    neighbors: Mapping[str, Sequence[Sequence[Retrieved]]],
    figure: None = None,
    *,
    title: str | None = None,
) -> "Figure": ...
@overload
def retrieval_gallery(
    queries: Sequence[Retrieved],
    neighbors: Mapping[str, Sequence[Sequence[Retrieved]]],
    figure: "Figure | SubFigure",
    *,
    title: str | None = None,
) -> "Figure | SubFigure": ...
def retrieval_gallery(
    queries: Sequence[Retrieved],
    neighbors: Mapping[str, Sequence[Sequence[Retrieved]]],
    figure: "Figure | SubFigure | None" = None,
    *,
    title: str | None = None,
) -> "Figure | SubFigure":
    """Draws queries with the images that each method retrieves, as in Fig. 4.

    The queries are on the left, one a row; the neighbors on the right, most similar
    first, one block of columns for each method.

    Args:
      queries: the query images.
      neighbors: name of each method -> for each query its neighbors.
      figure: where to draw, also a part of a figure; None makes a new one that fits.
      title: above all.

    Returns:
      The figure.

    Raises:
      ImportError: matplotlib is not installed.
      ValueError: no query, no method, or other than one list of neighbors a query.
    """
    if not queries or not neighbors:
        raise ValueError("queries and neighbors must not be empty")
    for name, lists in neighbors.items():
        if len(lists) != len(queries):
            raise ValueError(
                f"neighbors[{name!r}] must hold a list for each of {len(queries)} "
                f"queries, got {len(lists)}"
            )
    widths = [1] + [max(1, *map(len, lists)) for lists in neighbors.values()]
    if figure is None:
        size = (1.15 * sum(widths) + 0.25 * len(widths), 1.3 * len(queries) + 0.5)
        figure = new_figure((min(size[0], 20), min(size[1], 30)))
    if title:
        figure.suptitle(title, fontsize=FONT_SIZE + 1)
    blocks = figure.subfigures(
        1, len(widths), width_ratios=widths, squeeze=False, wspace=0.02
    )[0]
    columns = {"query": [[query] for query in queries], **neighbors}
    for block, width, (name, lists), number in zip(
        blocks, widths, columns.items(), range(len(widths)), strict=True
    ):
        color = "black" if number == 0 else COLORS[(number - 1) % len(COLORS)]
        block.suptitle(name, fontsize=FONT_SIZE, color=color)
        grid = block.subplots(len(queries), width, squeeze=False)
        for row, images in enumerate(lists):
            for ax, shown in zip(
                grid[row], [*images, *[Retrieved(None)] * width], strict=False
            ):
                _show(ax, shown, color)
    return figure


def _show(ax: "Axes", shown: Retrieved, color: str) -> None:
    ax.set(xticks=[], yticks=[])
    if shown.image is None:
        ax.set_axis_off()
        return
    ax.imshow(shown.image)
    ax.set_xlabel(shown.caption, fontsize=SMALL - 1, labelpad=2)
    ax.spines[:].set(color=color, linewidth=1.5)
