"""Paired tests of scores, one for each query, under two definitions of similarity."""

from functools import partial
from typing import NamedTuple

import jax
import jax.numpy as jnp
from jax.typing import ArrayLike
from jaxtyping import Array, Float

from semrsm_jax import _checks
from semrsm_jax._representations import accumulation_dtype
from semrsm_jax.comparison.inference._resampling import (
    ALTERNATIVES,
    Key,
    as_key,
    batch_size,
    null_p_value,
)
from semrsm_jax.comparison.inference.scores import (
    group_sums,
    mean_by_groups,
    weighted_sum,
)


class PairedTest(NamedTuple):
    """The result of `paired_test`; the axes (...) are those of the scores after Q.

    Attributes:
      difference: mean score of the first less that of the second.
      p_value: of the sign-flip test, not corrected for the number of tests.
      low: lower end of the bootstrap interval of the difference.
      high: upper end of the bootstrap interval of the difference.
      standard_error: of the difference.
      null: (B, ...), the difference under each draw of signs; for `max_statistic`.
    """

    difference: Float[Array, "..."]
    p_value: Float[Array, "..."]
    low: Float[Array, "..."]
    high: Float[Array, "..."]
    standard_error: Float[Array, "..."]
    null: Float[Array, "B ..."]


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

    If neither definition is better, each query's difference might as well have had the
    other sign; the p-value counts over random signs. The interval is that of
    `score_interval` for ``a - b``.

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
      ValueError: shapes that differ, fewer than 2 queries or groups, NaN or infinity,
        fewer than 2 resamples, or more than memory holds; an unknown alternative, a
        confidence outside (0, 1).

    References:
      Fisher, "The design of experiments", 1935 (random signs); Efron, "Better
      bootstrap confidence intervals", 1987 (BCa).
    """
    _checks.one_of("alternative", alternative, ALTERNATIVES)
    a, b = _checks.real_array("a", a), _checks.real_array("b", b)
    if a.shape != b.shape or a.ndim == 0:
        raise ValueError(
            "a and b must be scores of the same queries, got shapes "
            f"{a.shape} and {b.shape}"
        )
    _checks.finite("a", a)
    _checks.finite("b", b)
    dtype = accumulation_dtype(jnp.promote_types(a.dtype, b.dtype))
    gain = a.astype(dtype) - b.astype(dtype)
    difference, low, high, error, _ = mean_by_groups(
        gain, groups, key=key, resamples=resamples, confidence=confidence
    )
    null = _flipped(*group_sums(gain, groups), as_key(key), resamples)
    p_value = null_p_value(difference, null, alternative)
    return PairedTest(difference, p_value, low, high, error, null)


@partial(jax.jit, static_argnames="resamples")
def _flipped(
    sums: Float[Array, "units ..."],
    sizes: Float[Array, " units"],
    key: jax.Array,
    resamples: int,
) -> Float[Array, "B ..."]:
    """The mean with random signs of the groups."""

    def mean(key: jax.Array) -> Array:
        signs = jax.random.rademacher(key, (len(sums),), sums.dtype)
        return weighted_sum(signs, sums) / jnp.sum(sizes)

    # Other draws than those of the interval.
    keys = jax.random.split(jax.random.fold_in(key, 1), resamples)
    return jax.lax.map(mean, keys, batch_size=batch_size(len(sums), resamples))
