"""Retrieval: scores by the number of neighbors, and the retrieved images (Fig. 4)."""

import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
from jaxtyping import Float

from semrsm_jax.plotting.style import (
    COLORS,
    FONT_SIZE,
    MARKERS,
    SMALL,
    AnyFigure,
    add_legend,
    axes_or_new,
    finish,
    new_figure,
)
from semrsm_jax.retrieval import Neighbors, RetrievalScores, SearchResult

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

# Pixels of the longer side of an image, and characters of a caption.
_SIDE, _CAPTION = 256, 18


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


def plot_retrieval_scores(
    scores: Mapping[str, RetrievalScores], *, label: str = "F1"
) -> "Figure":
    """Draws the mean and the best score of the first k neighbors against k.

    Args:
      scores: by definition of similarity, what `evaluate_retrieval` returned.
      label: of the score.

    Returns:
      The figure, with intervals shaded where there are any.

    Raises:
      ImportError: matplotlib is not installed.
      ValueError: as `plot_scores_at_k`.
    """
    figure = new_figure((7.2, 3.0))
    axes = figure.subplots(1, 2, sharey=True)
    for ax, kind in zip(axes, ("mean", "best"), strict=True):
        curves = {
            name: ScoreCurve(*getattr(each, kind)[:3]) for name, each in scores.items()
        }
        plot_scores_at_k(
            curves, ax, label=f"{label}@k", title=f"{kind} of the top k", legend=False
        )
    axes[0].legend(frameon=False, fontsize=7)
    axes[1].set_ylabel("")
    return figure


def retrieval_gallery(
    queries: Sequence[Retrieved],
    neighbors: Mapping[str, Sequence[Sequence[Retrieved]]],
    figure: AnyFigure | None = None,
    *,
    title: str | None = None,
) -> "AnyFigure | Figure":
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
    size = (1.15 * sum(widths) + 0.25 * len(widths), 1.3 * len(queries) + 0.5)
    whole = figure or new_figure((min(size[0], 20), min(size[1], 30)))
    if title:
        whole.suptitle(title, fontsize=FONT_SIZE + 1)
    blocks = whole.subfigures(
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
    return whole


def _show(ax: "Axes", shown: Retrieved, color: str) -> None:
    ax.set(xticks=[], yticks=[])
    if shown.image is None:
        ax.set_axis_off()
        return
    ax.imshow(shown.image)
    ax.set_xlabel(shown.caption, fontsize=SMALL - 1, labelpad=2)
    ax.spines[:].set(color=color, linewidth=1.5)


def neighbor_gallery(
    neighbors: Mapping[str, Neighbors | SearchResult],
    query_images: Sequence[str | os.PathLike],
    database_images: Sequence[str | os.PathLike],
    *,
    queries: Sequence[int] | None = None,
    shown: int = 5,
    query_names: Sequence[str] | None = None,
) -> "Figure":
    """Draws images of queries with those of their nearest neighbors.

    Args:
      neighbors: by definition of similarity, what `nearest` or `search` returned.
      query_images: the N files of the queries, see `semrsm_jax.features.match_images`.
      database_images: the M files of the database.
      queries: the numbers of the queries to draw; None: the first four.
      shown: neighbors of each query.
      query_names: captions of the N queries; None: the names of their files.

    Returns:
      The figure; below each neighbor stands its similarity.

    Raises:
      ImportError: matplotlib or Pillow is not installed.
      ValueError: as `read_image`, or a sample has no image.
    """
    if queries is None:
        queries = range(min(4, len(query_images)))
    if query_names is None:
        query_names = [Path(path).name for path in query_images]
    rows = {
        name: [
            [
                _image(database_images, int(index), f"{similarity:.3g}")
                for index, similarity in zip(
                    each.index[query, :shown],
                    each.similarity[query, :shown],
                    strict=True,
                )
                if index >= 0
            ]
            for query in queries
        ]
        for name, each in neighbors.items()
    }
    return retrieval_gallery(
        [_image(query_images, query, query_names[query]) for query in queries],
        rows,
        title="Most similar images, with their similarity",
    )


def _image(paths: Sequence[Any], number: int, caption: str) -> Retrieved:
    """An image at the size of a gallery."""
    # Loaded here: Pillow is an extra.
    from PIL import Image

    from semrsm_jax.features import read_image

    if number >= len(paths):
        raise ValueError(
            f"there must be an image for each sample, got {len(paths)}, and one for "
            f"sample {number} is needed"
        )
    image = Image.fromarray(read_image(paths[number]))
    image.thumbnail((_SIDE, _SIDE))
    if len(caption) > _CAPTION:
        caption = f"...{caption[2 - _CAPTION :]}"
    return Retrieved(np.asarray(image), caption)
