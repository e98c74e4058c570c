"""Intervals and tests of every two of several RSMs."""

from collections.abc import Callable, Mapping, Sequence
from itertools import combinations
from typing import Any, NamedTuple

import numpy as np
from jax.typing import ArrayLike
from jaxtyping import Float

from semrsm_jax._ids import same_samples
from semrsm_jax.comparison._cka import CKA, HSIC
from semrsm_jax.comparison._cka_matrix import cka_matrix, hsic_matrix
from semrsm_jax.comparison._row_blocks import named
from semrsm_jax.comparison.grouping import DROP, KEEP, carried_groups, sample_groups
from semrsm_jax.comparison.inference.bootstrap import Interval, bootstrap_interval
from semrsm_jax.comparison.inference.correction import holm
from semrsm_jax.comparison.inference.permutation import permutation_test
from semrsm_jax.comparison.inference.statistic import Statistic, by_groups


class PairInference(NamedTuple):
    """What two of several RSMs have in common.

    Attributes:
      first: name of one RSM.
      second: name of the other.
      estimate: of the statistic.
      interval: of the statistic; None where none was asked for.
      p_value: of the permutation test; None where none was asked for.
      p_holm: corrected for the number of pairs (Holm 1979).
      null_share: the null-calibrated score, see `PermutationTest`; None without test.
    """

    first: str
    second: str
    estimate: float
    interval: Interval | None = None
    p_value: float | None = None
    p_holm: float | None = None
    null_share: float | None = None


def infer_each_pair(
    rsms: Mapping[str, Any],
    statistic: Statistic,
    *,
    key: int,
    resamples: int | None = None,
    permutations: int | None = None,
    confidence: float = 0.95,
    groups: ArrayLike | None = None,
    within_groups: str = KEEP,
    progress: Callable[[int, int], object] | None = None,
) -> list[PairInference]:
    """Intervals and p-values of a statistic for every two different RSMs.

    Two RSMs at a time are held in memory.

    Args:
      rsms: by name, RSMs (N, N) over the same samples, or what reads as such an array.
      statistic: `CKA`, `RSA`, `MutualKNN` or any other `Statistic`.
      key: the seed of resamples and permutations, the same for all pairs.
      resamples: of the samples, for `bootstrap_interval`. None: no intervals.
      permutations: for `permutation_test`. None: no tests.
      confidence: of the intervals, in (0, 1).
      groups: (N,) of samples that depend on each other, see `bootstrap_interval`. None:
        those that the RSMs carry; otherwise samples are independent.
      within_groups: ``"keep"`` or ``"drop"`` pairs within a group.
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
    rsms = same_samples(rsms)
    groups = carried_groups(groups, *rsms.values())
    of_groups: dict[str, Any] = {"groups": groups, "within_groups": within_groups}
    pairs = list(combinations(rsms, 2))
    for done, (first, second) in enumerate(pairs, 1):
        K, L = np.asarray(rsms[first]), np.asarray(rsms[second])
        interval, estimate, p_value, share = None, np.nan, None, None
        if resamples is not None:
            interval = bootstrap_interval(
                K,
                L,
                statistic,
                key=key,
                resamples=resamples,
                confidence=confidence,
                **of_groups,
            )
            estimate = float(interval.estimate)
        if permutations is not None:
            test = permutation_test(
                K, L, statistic, key=key, resamples=permutations, **of_groups
            )
            estimate, p_value = float(test.statistic), float(test.p_value)
            share = float(test.null_share)
        pair = PairInference(first, second, estimate, interval, p_value)
        results.append(pair._replace(null_share=share))
        if progress is not None:
            progress(done, len(pairs))
    if permutations is None:
        return results
    corrected = holm(np.array([each.p_value for each in results], float)).tolist()
    return [each._replace(p_holm=p) for each, p in zip(results, corrected, strict=True)]


def measure_matrix(
    inputs: Sequence[Any] | Mapping[str, Any],
    others: Sequence[Any] | Mapping[str, Any] | None = None,
    measure: Statistic | HSIC = CKA(),
    *,
    groups: ArrayLike | None = None,
) -> Float[np.ndarray, "R Q"]:
    """A measure of every two RSMs over the same samples: layers, models, definitions.

    CKA and HSIC are those of `cka_matrix` and `hsic_matrix`, which read rows alone. For
    other measures two inputs at a time are held in memory.

    Args:
      inputs: R RSMs (N, N), or features (N, ...) for a measure of features, a sequence
        or a mapping whose order is that of the result; arrays, or what reads as such,
        as an opened run.
      others: Q others of the same samples, as of another model; None compares `inputs`
        with themselves.
      measure: `CKA`, `RSA`, `MutualKNN` or any other.
      groups: (N,) of samples that depend on each other, whose pairs are left out; None:
        all pairs count.

    Returns:
      (R, Q) in float64; row r and column q hold the measure of input r and other q.

    Raises:
      TypeError: as the measure.
      ValueError: as the measure, no inputs, or groups and a measure that takes none.

    References:
      Kornblith et al., "Similarity of neural network representations revisited", 2019
      (layers by layers).

    Examples:
      >>> import numpy as np
      >>> from semrsm_jax import MutualKNN, measure_matrix
      >>> X = np.random.default_rng(0).normal(size=(3, 20, 4))
      >>> rsms = {f"layer{i}": x @ x.T for i, x in enumerate(X)}
      >>> measure_matrix(rsms, measure=MutualKNN(k=5)).diagonal()
      array([1., 1., 1.])
    """
    if isinstance(measure, CKA):
        return cka_matrix(inputs, others, measure.estimator, groups=groups)
    if isinstance(measure, HSIC) and groups is None:
        return hsic_matrix(inputs, others, measure.estimator)
    rows = named("inputs", inputs, "RSM")
    columns = {} if others is None else named("others", others, "RSM")
    ordered = list(same_samples({**rows, **columns}).items())
    rows, columns = ordered[: len(rows)], ordered[-len(columns or rows) :]
    of_groups: dict[str, Any] = {}
    if groups is not None:
        of_groups = by_groups(measure, sample_groups(groups, rows[0][1].shape[0], DROP))
    mirrored = others is None and getattr(measure, "is_symmetric", True)
    matrix = np.empty((len(rows), len(columns)))
    for i, (first, one) in enumerate(rows):
        K = np.asarray(one)
        for j in range(i if mirrored else 0, len(columns)):
            second, other = columns[j]
            L = K if other is one else np.asarray(other)
            try:
                matrix[i, j] = float(measure(K, L, **of_groups))
            except ValueError as error:
                raise ValueError(f"{first} (K) with {second} (L): {error}") from error
            if mirrored:
                matrix[j, i] = matrix[i, j]
    return matrix
