"""Tests of the difference of two definitions of similarity on the same samples."""

from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from jax.typing import ArrayLike
from jaxtyping import Array, Float

from semrsm_jax.comparison._cka import CKA
from semrsm_jax.comparison.grouping import KEEP
from semrsm_jax.comparison.inference._resampling import (
    Key,
    Resampled,
    as_key,
    check_confidence,
    check_jackknife,
    pair_share,
    warn_of_units,
)
from semrsm_jax.comparison.inference._signs import (
    MOST,
    sign_interval,
    sign_null,
    sign_test,
)
from semrsm_jax.comparison.inference.bootstrap import resample_rsms
from semrsm_jax.comparison.inference.interval import Interval
from semrsm_jax.comparison.inference.statistic import Statistic


class Difference(NamedTuple):
    """The difference of two statistics with its uncertainty.

    Attributes:
      difference: first less second.
      low: lower end of its interval.
      high: upper end of its interval.
      p_value: two-sided, for no difference.
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
    within_groups: str = KEEP,
) -> Difference:
    """Tests whether two pairs of RSMs over the same samples differ in a statistic.

    To test whether the semantic RSM follows the classifier's output more closely than
    the spatio-semantic one, pass ``first = (semantic, jsd)``, ``second = (spatial,
    jsd)``, ``statistic = RSA("pearson")``. Both change together as samples are left
    out, so that what they share cancels. Counted is over random signs of what each
    sample, or group, adds to the difference, studentized and transformed as in
    `bootstrap_interval`. In a difference the parts of single samples largely cancel;
    what is left is of pairs, which the jackknife counts twice. So its variance is
    multiplied by the share, from 1/2 to 1, that resamples say is real; the guide has
    the derivation. Permutations cannot test this: they would make both unrelated, which
    is not the null hypothesis.

    Args:
      first: two RSMs (N, N).
      second: two RSMs (N, N) of the same samples in the same order.
      statistic: `CKA`, `RSA` or any other hashable function of two RSMs and counts.
      key: a seed or a JAX key.
      resamples: B.
      confidence: of the interval, in (0, 1).
      groups: (N,) integers or text, equal for samples that depend on each other, as
        frames of one video do: whole groups are left out and drawn. None: those that an
        RSM carries; otherwise samples are independent.
      within_groups: ``"keep"`` counts pairs within a group; ``"drop"`` leaves them out,
        see `bootstrap_interval`.

    Returns:
      The `Difference`: estimate, interval and p-value.

    Raises:
      TypeError: as `bootstrap_interval`.
      ValueError: as `bootstrap_interval`, or fewer than 6 samples or groups, whose
        signs cannot give p below 0.05.

    Warns:
      UserWarning: as `bootstrap_interval`.

    References:
      Efron and Stein, "The jackknife estimate of variance", 1981; Schütt et al.,
      "Statistical inference on representational geometries", 2023 (the variance of
      both resamplings together).
    """
    confidence = check_confidence(confidence)
    names = ("first[0]", "first[1]", "second[0]", "second[1]")
    rsms: dict[str, Any] = dict(zip(names, (*first, *second), strict=True))
    settings: dict[str, Any] = {"key": key, "resamples": resamples}
    resampled = resample_rsms(statistic, rsms, groups, within_groups, **settings)
    check_jackknife(resampled)
    warn_of_units(resampled.influence, statistic)
    return _by_signs(resampled, as_key(key), confidence)


def _by_signs(resampled: Resampled, key: jax.Array, confidence: float) -> Difference:
    """The test and the interval by signs of the influences on the difference."""
    difference, one, other = resampled.estimate
    influence, contributions = _of_pairs(resampled)
    resamples = len(resampled.values)
    null = sign_null(influence, key, resamples, MOST)
    low, high, error = sign_interval(difference, influence, null, confidence)
    null = sign_null(contributions, key, resamples)
    _, p_value = sign_test(contributions, null, "two-sided")
    values = resampled.values[:, 0]
    return Difference(difference, low, high, p_value, error, one, other, values)


@jax.jit
def _of_pairs(
    resampled: Resampled,
) -> tuple[Float[Array, " units"], Float[Array, " units"]]:
    """What each unit adds to the difference, and the same with the difference."""
    influence = (jnp.sqrt(pair_share(resampled)) * resampled.influence)[:, 0]
    return influence, resampled.estimate[0] + influence
