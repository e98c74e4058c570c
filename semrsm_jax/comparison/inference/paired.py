"""Paired tests of scores, one for each query, under two definitions of similarity."""

import warnings
from typing import NamedTuple

import jax.numpy as jnp
import numpy as np
from jax.typing import ArrayLike
from jaxtyping import Array, Float

from semrsm_jax import _checks
from semrsm_jax._narrowed import is_narrowed
from semrsm_jax._representations import accumulation_dtype
from semrsm_jax.comparison.grouping import check_groups, check_testable
from semrsm_jax.comparison.inference._resampling import ALTERNATIVES, Key, as_key
from semrsm_jax.comparison.inference._signs import sign_null, sign_test
from semrsm_jax.comparison.inference.scores import group_sums, mean_by_groups

# From so many units on, simulated tests are right whatever the skewness.
_MANY = 30


class PairedTest(NamedTuple):
    """The result of `paired_test`; the axes (...) are those of the scores after Q.

    Attributes:
      difference: mean score of the first less that of the second.
      p_value: of the test, not corrected for the number of tests.
      low: lower end of the interval of the difference.
      high: upper end of the interval of the difference.
      standard_error: of the difference.
      null: (B, ...), the statistic under each draw of signs; for `max_statistic`.
      statistic: Student's t of the difference, transformed against skewness.
    """

    difference: Float[Array, "..."]
    p_value: Float[Array, "..."]
    low: Float[Array, "..."]
    high: Float[Array, "..."]
    standard_error: Float[Array, "..."]
    null: Float[Array, "B ..."]
    statistic: Float[Array, "..."]


def paired_test(
    a: ArrayLike,
    b: ArrayLike,
    *,
    key: Key,
    resamples: int = 1999,
    alternative: str = "two-sided",
    confidence: float = 0.95,
    groups: ArrayLike | None = None,
) -> PairedTest:
    """Tests whether the mean scores of two definitions on the same queries differ.

    The p-value counts over random signs of the differences. Of the differences
    themselves that would test their symmetry; what is counted is Student's t with
    Hall's transformation, which loses the effect of skewness up to order 1 / Q. So it
    is a test of the mean, and exact for symmetric differences, whatever their tails.
    The interval is that of `score_interval` for ``a - b``. Of few or mostly equal
    scores, a handful of differences that are not zero, neither is exact: the guide's
    table has the errors.

    Args:
      a: (Q,) scores of Q queries, or (Q, ...), for example one column a k.
      b: scores of the same queries in the same order, of the shape of `a`: (Q, ...).
      key: a seed or a JAX key.
      resamples: draws of signs, and resamples, B.
      alternative: the hypothesis: `a` is ``"greater"``, ``"less"``, or ``"two-sided"``.
      confidence: of the interval, in (0, 1).
      groups: (Q,) integers or text, equal for queries that depend on each other, as
        frames of one video do: signs are drawn and queries resampled a group at a time.

    Returns:
      The `PairedTest`, whose arrays have the axes (...) that follow Q.

    Raises:
      TypeError: scores are not real, groups neither integers nor text, a confidence
        that is not a number, or `key` is neither a seed nor a key.
      ValueError: shapes that differ, NaN or infinity; so few queries or groups that no
        signs give p below 0.05, fewer than 6 two-sided and 5 otherwise; fewer than 2
        resamples, or more than memory holds; an unknown alternative, a confidence
        outside (0, 1).

    Warns:
      UserWarning: fewer than 30 queries or groups, too few for their skewness.

    References:
      Fisher, "The design of experiments", 1935 (random signs); Hall, "On the removal of
      skewness by transformation", 1992.
    """
    _checks.one_of("alternative", alternative, ALTERNATIVES)
    a, b = (_checks.real_array_on_host(*each) for each in (("a", a), ("b", b)))
    if a.shape != b.shape or a.ndim == 0:
        raise ValueError(
            "a and b must be scores of the same queries, got shapes "
            f"{a.shape} and {b.shape}"
        )
    _checks.finite("a", a)
    _checks.finite("b", b)
    # Where NumPy holds more digits than JAX, they are subtracted with all of them.
    if is_narrowed(a) and is_narrowed(b):
        a, b = a.astype(np.float64), b.astype(np.float64)
    else:
        a, b = _checks.real_array("a", a), _checks.real_array("b", b)
        dtype = accumulation_dtype(jnp.promote_types(a.dtype, b.dtype))
        a, b = a.astype(dtype), b.astype(dtype)
    gain = _checks.real_array("a - b", a - b)
    units = check_groups(groups, len(gain))[1]
    least = 2.0 ** (-units + (alternative == "two-sided"))
    check_testable(units, least, "their signs")
    difference, low, high, error, _ = mean_by_groups(
        gain, groups, key=key, resamples=resamples, confidence=confidence
    )
    sums, sizes = group_sums(gain, groups)
    _warn_of_skewness(sums)
    contributions = sums / jnp.mean(sizes)
    null = sign_null(contributions, as_key(key), resamples)
    statistic, p_value = sign_test(contributions, null, alternative)
    return PairedTest(difference, p_value, low, high, error, null, statistic)


def _warn_of_skewness(sums: Float[Array, "units ..."]) -> None:
    """Warns of few and skewed differences, which simulated tests reject too often."""
    if _checks.is_traced(sums) or len(sums) >= _MANY:
        return
    deviations = np.asarray(sums, np.float64)
    deviations = deviations - deviations.mean(axis=0)
    spread = np.sqrt(np.mean(deviations**2, axis=0))
    cubes = np.mean(deviations**3, axis=0)
    skewness = np.abs(cubes) / np.where(spread > 0, spread, 1) ** 3
    if np.any(skewness > np.sqrt(len(sums)) / 3):
        warnings.warn(
            f"{len(sums)} queries or groups are few for differences so skewed, or so "
            "often equal: p-values may be too small and intervals too narrow, see the "
            "guide's table",
            stacklevel=3,
        )
