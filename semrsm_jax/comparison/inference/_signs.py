"""Tests and intervals of means by random signs of studentized contributions.

An estimate is the mean of what each sample, or group of samples, contributes to it:
scores, or the influence of each on a statistic. If the mean of all is zero and they are
symmetric, each contribution might as well have had the other sign, and a test that
counts over signs is exact. Contributions that are skewed it would test for symmetry, so
what is counted is Hall's transformation of Student's t,

    T = t + a t^2 / 3 + a^2 t^3 / 27 + a / 6,    a = skewness / sqrt(n),

which has lost the effect of skewness up to order 1 / n. It increases with t, and so its
inverse gives an interval. There a is limited: the inverse of large ones is of any size.
"""

from functools import partial

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

from semrsm_jax.comparison.inference._batches import over_keys
from semrsm_jax.comparison.inference._resampling import null_p_value

# The least variance, as a share of the mean square, that is not rounding.
_LEAST = 1e-5
# The largest a of an interval, whose ends then lie up to 4.5 standard errors away.
MOST = 1 / 3


def sign_null(
    contributions: Float[Array, "n ..."],
    key: jax.Array,
    resamples: int,
    most: float = float("inf"),
) -> Float[Array, "B ..."]:
    """T of the contributions under each draw of signs, with abs(a) at most `most`."""
    # Other draws than those of the resamples.
    keys = jax.random.split(jax.random.fold_in(key, 1), resamples)
    return over_keys(_of_signs, (most,), contributions, keys, contributions.size)


@partial(jax.jit, static_argnames="alternative")
def sign_test(
    contributions: Float[Array, "n ..."], null: Float[Array, "B ..."], alternative: str
) -> tuple[Float[Array, "..."], Float[Array, "..."]]:
    """T of the contributions, and its p-value by what `sign_null` gives."""
    flat = contributions.reshape(len(contributions), -1)
    observed = _transformed(jnp.ones((1, len(flat)), flat.dtype), flat)[0]
    observed = observed.reshape(contributions.shape[1:])
    return observed, null_p_value(observed, null, alternative)


@jax.jit
def sign_interval(
    estimate: Float[Array, "..."],
    deviations: Float[Array, "n ..."],
    null: Float[Array, "B ..."],
    confidence: float,
) -> tuple[Float[Array, "..."], Float[Array, "..."], Float[Array, "..."]]:
    """Low and high end, and standard error, of a mean whose contributions are given.

    By their deviations from it, and by the `sign_null` of these with ``most=MOST``.
    """
    n = len(deviations)
    reach = jnp.quantile(jnp.abs(null), confidence, axis=0)
    error = standard_error(deviations)
    root = jnp.where(error > 0, error, 1) * jnp.sqrt(n - 1)
    # Standard deviations of the contributions are their root mean squares.
    a = jnp.mean((deviations / root) ** 3, axis=0) / jnp.sqrt(n)
    a = jnp.clip(a, -MOST, MOST)
    low, high = (estimate - error * _inverse(side * reach, a) for side in (1, -1))
    return low, high, error


def standard_error(deviations: Float[Array, "n ..."]) -> Float[Array, "..."]:
    """Of the mean of n contributions, from their deviations."""
    n = len(deviations)
    return jnp.sqrt(jnp.sum(deviations**2, axis=0) / (n * (n - 1)))


def _of_signs(
    contributions: Float[Array, "n ..."], key: jax.Array, most: float
) -> Float[Array, "..."]:
    """T under one draw of signs."""
    n, *shape = contributions.shape
    signs = jax.random.rademacher(key, (1, n), contributions.dtype)
    return _transformed(signs, contributions.reshape(n, -1), most)[0].reshape(shape)


def _transformed(
    signs: Float[Array, "B n"], flat: Float[Array, "n v"], most: float = jnp.inf
) -> Float[Array, "B v"]:
    """T of the contributions with these signs, |a| at most `most`; 0 for zeros."""
    n = len(flat)
    size = jnp.sqrt(jnp.mean(flat**2, axis=0))
    unit = flat / jnp.where(size > 0, size, 1)
    with jax.default_matmul_precision("highest"):
        mean, cubes = signs @ unit / n, signs @ unit**3 / n
    variance = jnp.maximum(1 - mean**2, _LEAST)
    third = jnp.where(variance > _LEAST, cubes - 3 * mean + 2 * mean**3, 0)
    t = mean * jnp.sqrt((n - 1) / variance)
    a = jnp.clip(third / variance**1.5 / jnp.sqrt(n), -most, most)
    return t + a * t**2 / 3 + a**2 * t**3 / 27 + a / 6


def _inverse(value: Array, a: Array) -> Array:
    """The t of a T: 3 (cbrt(1 + a (T - a / 6)) - 1) / a, and T itself for a = 0."""
    skewed = jnp.abs(a) > 1e-6
    a = jnp.where(skewed, a, 1)
    x = a * (value - a / 6)
    # Without the digits that a difference from 1 would lose.
    near = jnp.abs(x) < 0.5
    root = jnp.where(
        near, jnp.expm1(jnp.log1p(jnp.where(near, x, 0)) / 3), jnp.cbrt(1 + x) - 1
    )
    return jnp.where(skewed, 3 * root / a, value)
