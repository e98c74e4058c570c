"""Output similarity against representational similarity, of an RSM of any size."""

from typing import TYPE_CHECKING, Any

import numpy as np
from jax.typing import ArrayLike

from semrsm_jax.output_similarity import OutputCorrelation, jensen_shannon_matrix
from semrsm_jax.plotting.correlation import plot_correlation

if TYPE_CHECKING:
    from matplotlib.axes import Axes

# Samples of which all pairs are drawn.
_SAMPLES = 1000


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
