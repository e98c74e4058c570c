"""Paired tests of scores, one for each query, under two definitions of similarity."""

import math
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
    bootstrap,
    check_confidence,
    check_groups,
    check_resamples,
    null_p_value,
)
from semrsm_jax.comparison.inference.interval import Interval
from semrsm_jax.comparison.inference.scores import (
    group_sums,
    mean_of_sums,
    weighed,
)


class PairedTest(NamedTuple):
    """The result of `paired_test`; the axes (...) are those of the scores after Q.

    Attributes:
      difference: mean score of the first less that of the second.
      p_value: of the sign-flip test, not corrected for there being several.
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
      alternative: ``"greater"`` if `a` is thought better, ``"less"``, ``"two-sided"``.
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
    confidence = check_confidence(confidence)
    a, b = _checks.real_array("a", a), _checks.real_array("b", b)
    if a.shape != b.shape or a.ndim == 0:
        raise ValueError(
            "a and b must be scores of the same queries, got shapes "
            f"{a.shape} and {b.shape}"
        )
    resamples = check_resamples(resamples, 2, math.prod(a.shape[1:]))
    _checks.finite("a", a)
    _checks.finite("b", b)
    dtype = accumulation_dtype(jnp.promote_types(a.dtype, b.dtype))
    members, units = check_groups(groups, len(a), "queries")
    sums = group_sums(a.astype(dtype) - b.astype(dtype), members, units)
    interval, null = _paired(*sums, as_key(key), resamples, confidence)
    difference, low, high, error, _ = interval
    p_value = null_p_value(difference, null, alternative)
    return PairedTest(difference, p_value, low, high, error, null)


@partial(jax.jit, static_argnames="resamples")
def _paired(
    sums: Float[Array, "units ..."],
    sizes: Float[Array, " units"],
    key: jax.Array,
    resamples: int,
    confidence: float,
) -> tuple[Interval, Float[Array, "B ..."]]:
    units, dtype = len(sums), sums.dtype
    queries = jnp.sum(sizes)

    def flipped(key: jax.Array) -> Array:
        return weighed(jax.random.rademacher(key, (units,), dtype), sums) / queries

    sign_key, draw_key = jax.random.split(key)
    batch = batch_size(units, resamples)
    null = jax.lax.map(flipped, jax.random.split(sign_key, resamples), batch_size=batch)
    mean = partial(mean_of_sums, (sums, sizes))
    interval = bootstrap(
        mean, None, units, dtype, draw_key, resamples, confidence, units
    )
    return interval, null
