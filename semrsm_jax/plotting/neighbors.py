"""Neighbors of queries: their scores against k, and their images (Fig. 4)."""

import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from semrsm_jax.plotting.retrieval import (
    Retrieved,
    ScoreCurve,
    plot_scores_at_k,
    retrieval_gallery,
)
from semrsm_jax.plotting.style import new_figure
from semrsm_jax.retrieval import Neighbors, RetrievalScores, SearchResult

if TYPE_CHECKING:
    from matplotlib.figure import Figure

# Pixels of the longer side of an image, and characters of a caption.
_SIDE, _CAPTION = 256, 18


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


def neighbor_gallery(
    neighbors: Mapping[str, Neighbors | SearchResult],
    query_images: Sequence[str | os.PathLike],
    database_images: Sequence[str | os.PathLike],
    *,
    queries: Sequence[int] = range(4),
    shown: int = 5,
    query_names: Sequence[str] | None = None,
) -> "Figure":
    """Draws images of queries with those of their nearest neighbors.

    Args:
      neighbors: by definition of similarity, what `nearest` or `search` returned.
      query_images: the N files of the queries, see `semrsm_jax.features.match_images`.
      database_images: the M files of the database.
      queries: the numbers of the queries to draw.
      shown: neighbors of each query.
      query_names: captions of the N queries; None: the names of their files.

    Returns:
      The figure; below each neighbor stands its similarity.

    Raises:
      ImportError: matplotlib or Pillow is not installed.
      ValueError: as `read_image`, or a sample has no image.
    """
    names = query_names or [Path(path).name for path in query_images]
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
        [_image(query_images, query, names[query]) for query in queries],
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
