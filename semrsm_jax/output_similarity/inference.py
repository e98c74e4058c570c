"""Intervals of the correlation between similarity and output similarity."""

from collections.abc import Mapping
from typing import Any, NamedTuple

import numpy as np
from jax.typing import ArrayLike

from semrsm_jax._ids import same_samples
from semrsm_jax.comparison import RSA
from semrsm_jax.comparison.grouping import carried_groups
from semrsm_jax.comparison.inference import (
    Difference,
    Interval,
    bootstrap_interval,
    difference_test,
)
from semrsm_jax.output_similarity.divergence import jensen_shannon_matrix


class CorrelationInference(NamedTuple):
    """Intervals of the correlation of one RSM with the outputs, Section 4.3.

    Attributes:
      pearson: the interval of Pearson's correlation.
      spearman: the interval of Spearman's; None without ranks.
      less_first: the test of Pearson's correlation against that of the first RSM; None
        for the first one.
    """

    pearson: Interval
    spearman: Interval | None
    less_first: Difference | None


def infer_output_correlation(
    rsms: Mapping[str, Any],
    p: ArrayLike,
    *,
    key: int,
    from_logits: bool = False,
    negative: bool = False,
    ranks: bool = True,
    resamples: int = 2000,
    confidence: float = 0.95,
    groups: ArrayLike | None = None,
    within_groups: str = "keep",
) -> dict[str, CorrelationInference]:
    """Intervals of what `output_correlation` returns (Section 4.3), by resampling.

    Two RSMs at a time are held in memory.

    Args:
      rsms: by name, RSMs (N, N) over the same samples, or what reads as such an array.
        What `load_rsm` and `open_similarity` return is brought into one order by ids.
      p: (N, classes), class probabilities, or logits with `from_logits`, in the order
        of the first RSM that has ids.
      key: the seed of the resamples.
      from_logits: `p` holds logits.
      negative: correlate with minus the divergence.
      ranks: give Spearman's correlation too.
      resamples: of the samples, B.
      confidence: of the intervals, in (0, 1).
      groups: (N,) of samples that depend on each other, see `bootstrap_interval`. None:
        those that the RSMs carry; otherwise samples are independent.
      within_groups: ``"keep"`` or ``"drop"`` pairs within a group.

    Returns:
      By name, the `CorrelationInference`.

    Raises:
      TypeError: as `bootstrap_interval` and `jensen_shannon_matrix`.
      ValueError: as `bootstrap_interval` and `jensen_shannon_matrix`.
    """
    rsms = same_samples(rsms)
    divergence = jensen_shannon_matrix(p, from_logits=from_logits)
    divergence = -divergence if negative else divergence
    settings: dict[str, Any] = {"key": key, "resamples": resamples}
    settings["confidence"] = confidence
    settings["groups"] = carried_groups(groups, *rsms.values())
    settings["within_groups"] = within_groups
    results: dict[str, CorrelationInference] = {}
    first = None
    for name, rsm in rsms.items():
        K = np.asarray(rsm)
        pearson = bootstrap_interval(K, divergence, RSA("pearson"), **settings)
        spearman = None
        if ranks:
            spearman = bootstrap_interval(K, divergence, RSA("spearman"), **settings)
        test = None
        if first is None:
            first = K
        else:
            pairs = (K, divergence), (first, divergence)
            test = difference_test(*pairs, RSA("pearson"), **settings)
        results[name] = CorrelationInference(pearson, spearman, test)
    return results
