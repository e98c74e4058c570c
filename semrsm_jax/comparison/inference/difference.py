"""Is one definition of similarity better than another, on the same samples?"""

from functools import partial
from typing import NamedTuple

import jax
from jax.typing import ArrayLike
from jaxtyping import Array, Float

from semrsm_jax import _checks
from semrsm_jax.comparison.hsic import check_rsms
from semrsm_jax.comparison.inference._resampling import (
    Key,
    Resampled,
    as_key,
    batch_size,
    bootstrap,
    check_confidence,
    check_defined,
)
from semrsm_jax.comparison.inference.bootstrap import interval
from semrsm_jax.comparison.inference.statistic import CKA, Statistic


class Difference(NamedTuple):
    """The difference of two statistics with its uncertainty.

    Attributes:
      difference: first less second.
      low: where its interval begins.
      high: where it ends.
      p_value: two-sided, for no difference; below 1 - confidence where the interval
        leaves 0 out.
      standard_error: of the difference.
      first: the statistic of the first pair of RSMs.
      second: that of the second.
      resampled: (B,), the difference in each resample.
    """

    difference: Float[Array, ""]
    low: Float[Array, ""]
    high: Float[Array, ""]
    p_value: Float[Array, ""]
    standard_error: Float[Array, ""]
    first: Float[Array, ""]
    second: Float[Array, ""]
    resampled: Float[Array, " B"]


def difference_test(
    first: tuple[ArrayLike, ArrayLike],
    second: tuple[ArrayLike, ArrayLike],
    statistic: Statistic = CKA(),
    *,
    key: Key,
    resamples: int = 2000,
    confidence: float = 0.95,
) -> Difference:
    """Tests whether two pairs of RSMs over the same samples differ in a statistic.

    Does the semantic RSM follow the classifier's output more closely than the
    spatio-semantic one? Then ``first = (semantic, jsd)``, ``second = (spatial, jsd)``,
    ``statistic = RSA("pearson")``. Both are resampled together, so that what they share
    cancels; the bootstrap is that of `bootstrap_interval`, and so is the interval. A
    permutation cannot test this: it would make both unrelated, which is not the null
    hypothesis.

    Args:
      first: two RSMs (N, N).
      second: two RSMs (N, N) of the same samples in the same order.
      statistic: `CKA`, `RSA` or any other hashable function of two RSMs and counts.
      key: a seed or a JAX key.
      resamples: B.
      confidence: of the interval, in (0, 1).

    Raises:
      TypeError: an array is not real, or `key` is neither a seed nor a key.
      ValueError: as `bootstrap_interval`.
    """
    resamples = _checks.at_least("resamples", resamples, 2)
    check_confidence(confidence)
    first, second = check_rsms(*first), check_rsms(*second)
    if first[0].shape != second[0].shape:
        raise ValueError(
            "first and second must be over the same samples, got shapes "
            f"{first[0].shape} and {second[0].shape}"
        )
    values, found = _difference(first, second, statistic, as_key(key), resamples)
    check_defined("statistic", found.estimate)
    difference, low, high, error, resampled = interval(found, confidence)
    return Difference(difference, low, high, found.p_value(), error, *values, resampled)


@partial(jax.jit, static_argnames=("statistic", "resamples"))
def _difference(
    first: tuple[Array, Array],
    second: tuple[Array, Array],
    statistic: Statistic,
    key: jax.Array,
    resamples: int,
) -> tuple[tuple[Array, Array], Resampled]:
    def value(counts: Array) -> Array:
        return statistic(*first, counts=counts) - statistic(*second, counts=counts)

    n, dtype = len(first[0]), first[0].dtype
    found = bootstrap(value, n, dtype, key, resamples, batch_size(n, resamples))
    return (statistic(*first), statistic(*second)), found
