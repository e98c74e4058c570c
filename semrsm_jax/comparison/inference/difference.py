"""Is one definition of similarity better than another, on the same samples?"""

from functools import partial
from typing import NamedTuple

import jax
import jax.numpy as jnp
from jax.typing import ArrayLike
from jaxtyping import Array, Float

from semrsm_jax import _checks
from semrsm_jax.comparison._hsic import check_rsms
from semrsm_jax.comparison.inference._resampling import (
    Key,
    Resampled,
    as_key,
    batch_size,
    bootstrap,
    check_confidence,
    check_defined,
)
from semrsm_jax.comparison.inference.statistic import CKA, Statistic


class Difference(NamedTuple):
    """The difference of two statistics with its uncertainty.

    Attributes:
      difference: first less second.
      low: where its interval begins.
      high: where it ends.
      p_value: two-sided, for no difference: the level whose interval would just reach
        0.
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
    cancels, by the bootstrap of `bootstrap_interval`. A difference is nearly symmetric,
    so its interval and p-value are those of Student's t with N - 1 degrees of freedom
    and the bootstrap's standard error: over simulated null data of 16 to 100 samples
    they erred in 3.4 to 5.9 % at level 5 %, where BCa erred in 5 to 9.7 %. Permutations
    cannot test this: they would make both unrelated, which is not the null hypothesis.

    Args:
      first: two RSMs (N, N).
      second: two RSMs (N, N) of the same samples in the same order.
      statistic: `CKA`, `RSA` or any other hashable function of two RSMs and counts.
      key: a seed or a JAX key.
      resamples: B.
      confidence: of the interval, in (0, 1).

    Returns:
      The `Difference`: estimate, interval and p-value.

    Raises:
      TypeError: an array is not real, or `key` is neither a seed nor a key.
      ValueError: as `bootstrap_interval`.

    References:
      Schütt et al., "Statistical inference on representational geometries", 2023
      (t-tests with the variance of a bootstrap).
    """
    # Loaded here: it takes longer than the rest of the package.
    from scipy.stats import t as student

    resamples = _checks.at_least("resamples", resamples, 2)
    check_confidence(confidence)
    first, second = check_rsms(*first), check_rsms(*second)
    if first[0].shape != second[0].shape:
        raise ValueError(
            "first and second must be over the same samples, got shapes "
            f"{first[0].shape} and {second[0].shape}"
        )
    (one, other), found = _difference(first, second, statistic, as_key(key), resamples)
    difference, error = found.estimate, found.standard_error()
    check_defined("statistic", difference)
    degrees = len(first[0]) - 1
    reach = student.ppf((1 + confidence) / 2, degrees) * error
    return Difference(
        difference,
        difference - reach,
        difference + reach,
        _student_p_value(difference, error, degrees),
        error,
        one,
        other,
        found.values,
    )


def _student_p_value(
    difference: Float[Array, ""], error: Float[Array, ""], degrees: int
) -> Float[Array, ""]:
    """P(|t| >= |difference / error|); 1 where there is neither."""
    squares = degrees * error**2
    total = squares + difference**2
    x = jnp.where(total > 0, squares / jnp.where(total > 0, total, 1), 1)
    return jax.scipy.special.betainc(degrees / 2, 0.5, x)


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
