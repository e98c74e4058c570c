"""Similarity against what it should predict, pair by pair."""

from typing import TYPE_CHECKING, Any

import numpy as np
from jax.typing import ArrayLike
from jaxtyping import Float

from semrsm_jax.output_similarity import OutputCorrelation, jensen_shannon_matrix
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
# Samples of which all pairs are drawn.
_SAMPLES = 1000


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


def plot_output_correlation(
    rsm: Any,
    p: ArrayLike,
    correlation: OutputCorrelation,
    ax: "Axes | None" = None,
    *,
    from_logits: bool = False,
    xlabel: str = "similarity",
    seed: int = 0,
) -> "Axes":
    """Draws the Jensen-Shannon divergence of outputs against an RSM (section 4.3).

    Args:
      rsm: (N, N), an array, or what gives rows when sliced.
      p: (N, classes), class probabilities, or logits with `from_logits`.
      correlation: of all pairs, what `output_correlation` returned, for the title.
      ax: where to draw; None makes a new figure.
      from_logits: `p` holds logits.
      xlabel: of the similarity.
      seed: of the 1,000 samples that are drawn where there are more.

    Returns:
      The axes. The divergence is drawn as it is, also where the correlation is one with
      minus the divergence.

    Raises:
      ImportError: matplotlib is not installed.
      ValueError: as `jensen_shannon_matrix`.
    """
    count, p = rsm.shape[0], np.asarray(p)
    chosen = np.arange(count)
    title = f"Pearson {correlation.pearson:.3f}"
    if correlation.spearman is not None:
        title += f", Spearman {correlation.spearman:.3f}"
    if count > _SAMPLES:
        chosen = np.random.default_rng(seed).choice(count, _SAMPLES, replace=False)
        chosen.sort()
        title += f"\n(drawn: {_SAMPLES:,} of {count:,} samples)"
    K = np.stack([np.asarray(rsm[i : i + 1])[0, chosen] for i in chosen.tolist()])
    divergence = np.asarray(jensen_shannon_matrix(p[chosen], from_logits=from_logits))
    pairs = np.triu_indices(len(chosen), 1)
    return plot_correlation(K[pairs], divergence[pairs], ax, title=title, xlabel=xlabel)
