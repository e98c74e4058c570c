"""Tests of the difference of two definitions of similarity on the same samples."""

from dataclasses import dataclass
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from jax.typing import ArrayLike
from jaxtyping import Array, Float

from semrsm_jax.comparison.grouping import check_groups
from semrsm_jax.comparison.inference._resampling import (
    Key,
    bootstrap,
    check_defined,
)
from semrsm_jax.comparison.inference.interval import Interval
from semrsm_jax.comparison.inference.statistic import CKA, Statistic, check_arguments


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

    To test whether the semantic RSM follows the classifier's output more closely than
    the spatio-semantic one, pass ``first = (semantic, jsd)``, ``second = (spatial,
    jsd)``, ``statistic = RSA("pearson")``. Both are resampled together, so that what
    they share cancels, as in `bootstrap_interval`. A difference is nearly symmetric,
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

    first, second = (check_arguments(statistic, *each) for each in (first, second))
    if len(first[0]) != len(second[0]):
        raise ValueError(
            "first and second must be over the same samples, got shapes "
            f"{first[0].shape} and {second[0].shape}"
        )
    samples = len(first[0])
    estimates, _, _, errors, resampled = bootstrap(
        _DifferenceOf(statistic),
        (first, second),
        samples,
        key=key,
        resamples=resamples,
        confidence=confidence,
        groups=groups,
        values=3,
    )
    (difference, one, other), error = estimates, errors[0]
    check_defined("statistic", difference)
    degrees = check_groups(groups, samples)[1] - 1
    reach = student.ppf((1 + confidence) / 2, degrees) * error
    return Difference(
        difference,
        difference - reach,
        difference + reach,
        _student_p_value(difference, error, degrees),
        error,
        one,
        other,
        resampled[:, 0],
    )


@dataclass(frozen=True)
class _DifferenceOf:
    """The difference of a statistic of two pairs of RSMs, and that of each (3,)."""

    statistic: Statistic

    def __call__(self, pairs: Any, counts: Array) -> Float[Array, "3"]:
        one, other = (self.statistic(*rsms, counts=counts) for rsms in pairs)
        return jnp.stack([one - other, one, other])


def _student_p_value(
    difference: Float[Array, ""], error: Float[Array, ""], degrees: int
) -> Float[Array, ""]:
    """P(|t| >= |difference / error|); 1 where there is neither."""
    squares = degrees * error**2
    total = squares + difference**2
    x = jnp.where(total > 0, squares / jnp.where(total > 0, total, 1), 1)
    return jax.scipy.special.betainc(degrees / 2, 0.5, x)
