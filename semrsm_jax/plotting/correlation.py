"""Similarity against what it should predict, pair by pair."""

from typing import TYPE_CHECKING

import numpy as np
from jaxtyping import Float

from semrsm_jax.plotting.style import (
    COLORMAP,
    COLORS,
    add_colorbar,
    add_legend,
    axes_or_new,
    finish,
)

if TYPE_CHECKING:
    from matplotlib.axes import Axes

# Fewer pairs are shown as points.
_FEW = 2000
# Groups of equally many pairs, whose medians are joined.
_GROUPS = 12


def plot_correlation(
    similarity: Float[np.ndarray, " n"],
    divergence: Float[np.ndarray, " n"],
    ax: "Axes | None" = None,
    *,
    title: str | None = None,
    xlabel: str = "similarity",
    ylabel: str = "Jensen-Shannon divergence [nats]",
    colorbar: bool = True,
) -> "Axes":
    """Draws the divergence of outputs against the similarity of representations.

    Many pairs are counted in hexagons, few are points. A line joins the medians of
    groups of equally many pairs, which also shows a trend that is not linear.

    Args:
      similarity: (n,), finite.
      divergence: (n,), finite, of the same pairs.
      ax: where to draw; None makes a new figure.
      title: above the axes, for example with the correlation.
      xlabel: of the similarity: its kernel, with the unit where there is one.
      ylabel: of the divergence.
      colorbar: whether to draw the number of pairs of each color.

    Returns:
      The axes.

    Raises:
      ImportError: matplotlib is not installed.
      ValueError: no pairs, or lists of different lengths.
    """
    similarity, divergence = np.ravel(similarity), np.ravel(divergence)
    if similarity.shape != divergence.shape or similarity.size == 0:
        raise ValueError(
            "similarity and divergence must hold equally many values, at least 1, got "
            f"{similarity.size} and {divergence.size}"
        )
    ax = axes_or_new(ax)
    if similarity.size < _FEW:
        ax.plot(similarity, divergence, ".", color=COLORS[0], ms=4, alpha=0.5, mew=0)
    else:
        cells = ax.hexbin(
            similarity,
            divergence,
            gridsize=45,
            bins="log",
            mincnt=1,
            cmap=COLORMAP,
            linewidths=0.1,
        )
        if colorbar:
            add_colorbar(ax, cells, "pairs")
    groups = np.array_split(np.argsort(similarity), min(_GROUPS, similarity.size))
    medians = [
        (np.median(similarity[group]), np.median(divergence[group])) for group in groups
    ]
    ax.plot(
        *zip(*medians, strict=True),
        "o-",
        color=COLORS[1],
        markersize=3.5,
        markeredgecolor="white",
        markeredgewidth=0.5,
        linewidth=1.5,
        label="median",
    )
    add_legend(ax)
    return finish(ax, title=title, xlabel=xlabel, ylabel=ylabel)
