"""Paired tests of scores, one for each query, under two definitions of similarity."""

from functools import partial
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax.typing import ArrayLike
from jaxtyping import Array, Float, Int

from semrsm_jax import _checks
from semrsm_jax._representations import accumulation_dtype
from semrsm_jax.comparison.inference._resampling import (
    ALTERNATIVES,
    Key,
    Resampled,
    as_key,
    batch_size,
    bootstrap,
    check_confidence,
    null_p_value,
)
from semrsm_jax.comparison.inference.bootstrap import interval


class PairedTest(NamedTuple):
    """What a paired test found; the axes are those of the scores after the first.

    Attributes:
      difference: mean score of the first less that of the second.
      p_value: of the sign-flip test, not corrected for there being several.
      low: where the bootstrap interval of the difference begins.
      high: where it ends.
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
    """Tests whether the mean score differs, the queries being the same.

    If neither definition is better, each query's difference might as well have had the
    other sign; the p-value counts over random signs. The interval is that of BCa over
    resampled queries.

    Args:
      a: (Q,) scores of Q queries, or (Q, ...), for example one column a k.
      b: scores of the same queries in the same order, of the shape of `a`: (Q, ...).
      key: a seed or a JAX key.
      resamples: draws of signs, and resamples, B.
      alternative: ``"greater"`` if `a` is thought better, ``"less"``, ``"two-sided"``.
      confidence: of the interval, in (0, 1).
      groups: (Q,) integers, equal for queries that depend on each other, as frames of
        one video do: signs are drawn and queries resampled a group at a time.

    Returns:
      The `PairedTest`, whose arrays have the axes (...) that follow Q.

    Raises:
      TypeError: scores are not real, groups not integers, or `key` is neither a seed
        nor a key.
      ValueError: shapes that differ, fewer than 2 queries or groups, NaN or infinity,
        fewer than 2 resamples, an unknown alternative, a confidence outside (0, 1).

    References:
      Fisher, "The design of experiments", 1935 (random signs); Efron, "Better
      bootstrap confidence intervals", 1987 (BCa).
    """
    _checks.one_of("alternative", alternative, ALTERNATIVES)
    resamples = _checks.at_least("resamples", resamples, 2)
    check_confidence(confidence)
    a, b = _checks.real_array("a", a), _checks.real_array("b", b)
    if a.shape != b.shape or a.ndim == 0:
        raise ValueError(
            "a and b must be scores of the same queries, got shapes "
            f"{a.shape} and {b.shape}"
        )
    _checks.finite("a", a)
    _checks.finite("b", b)
    dtype = accumulation_dtype(jnp.promote_types(a.dtype, b.dtype))
    members, count = _groups(groups, len(a))
    found, null = _paired(
        a.astype(dtype) - b.astype(dtype), members, count, as_key(key), resamples
    )
    difference, low, high, error, _ = interval(found, confidence)
    p_value = null_p_value(difference, null, alternative)
    return PairedTest(difference, p_value, low, high, error, null)


def _groups(groups: ArrayLike | None, queries: int) -> tuple[np.ndarray, int]:
    """The group of each query, numbered from 0, and how many there are."""
    if groups is None:
        numbers = np.arange(queries)
    else:
        groups = np.asarray(groups)
        if groups.shape != (queries,):
            raise ValueError(
                f"groups must have one entry for each of {queries} queries, got shape "
                f"{groups.shape}"
            )
        if groups.dtype.kind not in "iu":
            raise TypeError(f"groups must be integers, got dtype {groups.dtype}")
        numbers = np.unique(groups, return_inverse=True)[1]
    count = int(numbers.max(initial=-1)) + 1
    if count < 2:
        raise ValueError(f"at least 2 queries or groups are needed, got {count}")
    return numbers, count


@partial(jax.jit, static_argnames=("count", "resamples"))
def _paired(
    gain: Float[Array, "Q ..."],
    members: Int[Array, " Q"],
    count: int,
    key: jax.Array,
    resamples: int,
) -> tuple[Resampled, Float[Array, "B ..."]]:
    # All that any of it needs of a group is its sum and its size.
    sums = jax.ops.segment_sum(gain, members, count)
    sizes = jax.ops.segment_sum(jnp.ones(len(gain), gain.dtype), members, count)

    def weighed(factors: Array) -> Array:
        return jnp.tensordot(factors, sums, 1, precision=jax.lax.Precision.HIGHEST)

    def mean(counts: Array) -> Array:
        return weighed(counts) / jnp.sum(counts * sizes)

    def flipped(key: jax.Array) -> Array:
        return weighed(jax.random.rademacher(key, (count,), gain.dtype)) / len(gain)

    sign_key, draw_key = jax.random.split(key)
    # A resample takes memory in proportion to the groups, not to their square.
    batch = batch_size(max(1, int(count**0.5)), resamples)
    null = jax.lax.map(flipped, jax.random.split(sign_key, resamples), batch_size=batch)
    found = bootstrap(mean, count, gain.dtype, draw_key, resamples, batch)
    return found, null
