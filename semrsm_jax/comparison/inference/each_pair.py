"""Intervals and tests of every two of several RSMs."""

from collections.abc import Callable, Mapping
from itertools import combinations
from typing import Any, NamedTuple

import numpy as np

from semrsm_jax.comparison._rsa import rsa
from semrsm_jax.comparison.inference.bootstrap import Interval, bootstrap_interval
from semrsm_jax.comparison.inference.correction import holm
from semrsm_jax.comparison.inference.permutation import permutation_test
from semrsm_jax.comparison.inference.statistic import Statistic


class PairInference(NamedTuple):
    """What two of several RSMs have in common.

    Attributes:
      first: name of one RSM.
      second: name of the other.
      estimate: of the statistic.
      interval: of the statistic; None where none was asked for.
      p_value: of the permutation test; None where none was asked for.
      p_holm: corrected for the number of pairs (Holm).

    References:
      Holm, "A simple sequentially rejective multiple test procedure", 1979.
    """

    first: str
    second: str
    estimate: float
    interval: Interval | None = None
    p_value: float | None = None
    p_holm: float | None = None


def infer_each_pair(
    rsms: Mapping[str, Any],
    statistic: Statistic,
    *,
    key: int,
    resamples: int | None = None,
    permutations: int | None = None,
    confidence: float = 0.95,
    progress: Callable[[int, int], object] | None = None,
) -> list[PairInference]:
    """Intervals and p-values of a statistic for every two different RSMs.

    Two RSMs at a time are held in memory.

    Args:
      rsms: by name, RSMs (N, N) over the same samples, or what reads as such an array.
      statistic: `CKA` or `RSA`, or any `Statistic`.
      key: the seed of resamples and permutations, the same for all pairs.
      resamples: of the samples, for `bootstrap_interval`. None: no intervals.
      permutations: for `permutation_test`. None: no tests.
      confidence: of the intervals, in (0, 1).
      progress: called as ``progress(done, total)``, in pairs of RSMs.

    Returns:
      A `PairInference` for each two RSMs, in their order; none where neither intervals
      nor tests were asked for.

    Raises:
      TypeError: as `bootstrap_interval` and `permutation_test`.
      ValueError: as `bootstrap_interval` and `permutation_test`.

    References:
      Kornblith et al., "Similarity of neural network representations revisited", 2019
      (CKA of many layers); Holm, "A simple sequentially rejective multiple test
      procedure", 1979.
    """
    results: list[PairInference] = []
    if resamples is None and permutations is None:
        return results
    pairs = list(combinations(rsms, 2))
    for done, (first, second) in enumerate(pairs, 1):
        K, L = np.asarray(rsms[first]), np.asarray(rsms[second])
        interval, estimate, p_value = None, np.nan, None
        if resamples is not None:
            interval = bootstrap_interval(
                K, L, statistic, key=key, resamples=resamples, confidence=confidence
            )
            estimate = float(interval.estimate)
        if permutations is not None:
            test = permutation_test(K, L, statistic, key=key, resamples=permutations)
            estimate, p_value = float(test.statistic), float(test.p_value)
        results.append(PairInference(first, second, estimate, interval, p_value))
        if progress is not None:
            progress(done, len(pairs))
    if permutations is None:
        return results
    corrected = holm(np.array([each.p_value for each in results], float)).tolist()
    return [each._replace(p_holm=p) for each, p in zip(results, corrected, strict=True)]


def rsa_matrix(rsms: Mapping[str, Any], method: str = "spearman") -> np.ndarray:
    """RSA (Kriegeskorte et al. 2008) of every two of several RSMs, see `rsa`.

    Two RSMs at a time are held in memory.

    Args:
      rsms: by name, RSMs (N, N), or what reads as such an array.
      method: of `rsa`.

    Returns:
      (R, R) in float64, symmetric.

    Raises:
      TypeError: as `rsa`.
      ValueError: as `rsa`.

    References:
      Kriegeskorte et al., "Representational similarity analysis", 2008.
    """
    names, matrix = list(rsms), np.empty((len(rsms), len(rsms)))
    for i, first in enumerate(names):
        K = np.asarray(rsms[first])
        for j in range(i, len(names)):
            L = K if i == j else np.asarray(rsms[names[j]])
            matrix[i, j] = matrix[j, i] = float(rsa(K, L, method))
    return matrix
