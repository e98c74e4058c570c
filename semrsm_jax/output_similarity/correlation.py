"""Correlation coefficients of two lists of values."""

import jax
import jax.numpy as jnp
from jax.typing import ArrayLike
from jaxtyping import Array, Float

from semrsm_jax import _checks
from semrsm_jax.representations import accumulation_dtype


def pearson(a: ArrayLike, b: ArrayLike) -> Float[Array, ""]:
    """Pearson's correlation: how well a line describes b as a function of a.

    Args:
      a: values (n,), n >= 2.
      b: values (n,).

    Returns:
      A scalar in [-1, 1], up to rounding; NaN where all values of a list are equal. In
      float32, or float64 for float64 input.

    Raises:
      TypeError: a list is not real.
      ValueError: not of one axis, of different lengths, fewer than 2 values, NaN or
        infinity.
    """
    return _pearson(*_lists(a, b))


def spearman(a: ArrayLike, b: ArrayLike) -> Float[Array, ""]:
    """Spearman's correlation: Pearson's of the ranks, equal values sharing their mean.

    Args:
      a: values (n,), n >= 2.
      b: values (n,).

    Returns:
      As `pearson`. Its gradient is zero: ranks stay as they are under small changes.

    Raises:
      TypeError: as `pearson`.
      ValueError: as `pearson`.
    """
    a, b = _lists(a, b)
    return _pearson(centred_ranks(a), centred_ranks(b))


def _lists(a: ArrayLike, b: ArrayLike) -> tuple[Array, Array]:
    values = []
    for name, value in (("a", a), ("b", b)):
        value = _checks.real_array(name, value, rank=1)
        _checks.finite(name, value)
        values.append(value.astype(accumulation_dtype(value.dtype)))
    if values[0].shape != values[1].shape or values[0].size < 2:
        raise ValueError(
            "a and b must hold equally many values, at least 2, got shapes "
            f"{values[0].shape} and {values[1].shape}"
        )
    return values[0], values[1]


@jax.jit
def _pearson(a: Float[Array, " n"], b: Float[Array, " n"]) -> Float[Array, ""]:
    return jnp.sum(_direction(a) * _direction(b))


def _direction(values: Float[Array, " n"]) -> Float[Array, " n"]:
    """The centred values as a unit vector; NaN where they are all equal."""
    # Taking off any of them first keeps the digits that a common offset would eat.
    values = values - values[0]
    values = values - jnp.mean(values)
    largest = jnp.max(jnp.abs(values))
    varied = largest > 0
    values = values / jax.lax.stop_gradient(jnp.where(varied, largest, 1))
    norm = jnp.sqrt(jnp.where(varied, jnp.sum(values * values), 1))
    return jnp.where(varied, values / norm, jnp.nan)


@jax.jit
def centred_ranks(values: Float[Array, " n"]) -> Float[Array, " n"]:
    """Twice the ranks less their mean, of equal values the mean rank: whole numbers."""
    ranked = jnp.sort(values)
    below = jnp.searchsorted(ranked, values, side="left")
    up_to = jnp.searchsorted(ranked, values, side="right")
    return (below + up_to - values.size).astype(values.dtype)
