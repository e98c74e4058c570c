"""Is one definition of similarity better than another, on the same samples?"""

from functools import partial
from typing import NamedTuple

import jax
import jax.numpy as jnp
from jax.typing import ArrayLike
from jaxtyping import Array, Float

from semrsm_jax.comparison._hsic import check_rsms
from semrsm_jax.comparison.inference._resampling import (
    Key,
    as_key,
    bootstrap,
    check_confidence,
    check_defined,
    check_groups,
    check_resamples,
)
from semrsm_jax.comparison.inference.interval import Interval
from semrsm_jax.comparison.inference.statistic import CKA, Statistic


class Difference(NamedTuple):
    """The difference of two statistics with its uncertainty.

    Attributes:
      difference: first less second.
      low: lower end of its interval.
      high: upper end of its interval.
      p_value: two-sided, for no difference: the level whose interval would just reach
        0.
      standard_error: of the difference.
      first: the statistic of the first pair of RSMs.
      second: the statistic of the second pair of RSMs.
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

    @property
    def interval(self) -> Interval:
        """The difference as an `Interval`."""
        error, resampled = self.standard_error, self.resampled
        return Interval(self.difference, self.low, self.high, error, resampled)


def difference_test(
    first: tuple[ArrayLike, ArrayLike],
    second: tuple[ArrayLike, ArrayLike],
    statistic: Statistic = CKA(),
    *,
    key: Key,
    resamples: int = 2000,
    confidence: float = 0.95,
    groups: ArrayLike | None = None,
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
      groups: (N,) integers or text, equal for samples that depend on each other, as
        frames of one video do: whole groups are drawn, and their number less 1 is the
        degrees of freedom. None: samples are independent.

    Returns:
      The `Difference`: estimate, interval and p-value.

    Raises:
      TypeError: as `bootstrap_interval`.
      ValueError: as `bootstrap_interval`.

    References:
      Schütt et al., "Statistical inference on representational geometries", 2023
      (t-tests with the variance of a bootstrap).
    """
    # Loaded here: it takes longer than the rest of the package.
    from scipy.stats import t as student

    resamples = check_resamples(resamples, 2)
    confidence = check_confidence(confidence)
    first, second = check_rsms(*first), check_rsms(*second)
    if first[0].shape != second[0].shape:
        raise ValueError(
            "first and second must be over the same samples, got shapes "
            f"{first[0].shape} and {second[0].shape}"
        )
    members, units = check_groups(groups, len(first[0]))
    (one, other), (difference, _, _, error, resampled) = _difference(
        first, second, members, statistic, units, as_key(key), resamples, confidence
    )
    check_defined("statistic", difference)
    reach = student.ppf((1 + confidence) / 2, units - 1) * error
    return Difference(
        difference,
        difference - reach,
        difference + reach,
        _student_p_value(difference, error, units - 1),
        error,
        one,
        other,
        resampled,
    )


def _student_p_value(
    difference: Float[Array, ""], error: Float[Array, ""], degrees: int
) -> Float[Array, ""]:
    """P(|t| >= |difference / error|); 1 where there is neither."""
    squares = degrees * error**2
    total = squares + difference**2
    x = jnp.where(total > 0, squares / jnp.where(total > 0, total, 1), 1)
    return jax.scipy.special.betainc(degrees / 2, 0.5, x)


@partial(jax.jit, static_argnames=("statistic", "units", "resamples"))
def _difference(
    first: tuple[Array, Array],
    second: tuple[Array, Array],
    members: Array | None,
    statistic: Statistic,
    units: int,
    key: jax.Array,
    resamples: int,
    confidence: float,
) -> tuple[tuple[Array, Array], Interval]:
    def value(counts: Array) -> Array:
        return statistic(*first, counts=counts) - statistic(*second, counts=counts)

    K = first[0]
    interval = bootstrap(
        value, members, units, K.dtype, key, resamples, confidence, K.size
    )
    return (statistic(*first), statistic(*second)), interval
