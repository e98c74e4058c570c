"""What the tests and intervals share: keys, checks, resamples and BCa."""

from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax.scipy.stats import norm
from jaxtyping import Array, Float

from semrsm_jax import _checks
from semrsm_jax.comparison._weighted import leave_one_out

Key = int | jax.Array
ALTERNATIVES = ("greater", "less", "two-sided")

_BATCH = 2**24  # entries of RSMs that a batch of resamples holds at once


class Resampled(NamedTuple):
    """What a bootstrap over n samples found; the trailing axes are the statistic's.

    Attributes:
      estimate: of all samples.
      values: (B, ...), of each resample.
      bias: z0 of BCa: the normal quantile of the share of values below the estimate.
      acceleration: a of BCa: how the standard error changes with the estimate.
    """

    estimate: Float[Array, "..."]
    values: Float[Array, "B ..."]
    bias: Float[Array, "..."]
    acceleration: Float[Array, "..."]

    def quantiles(self, probability: float) -> Float[Array, "..."]:
        """The end of the BCa interval with so much probability below it."""
        z = self.bias + norm.ppf(probability)
        level = norm.cdf(self.bias + z / (1 - self.acceleration * z))
        flat = self.values.reshape(len(self.values), -1)
        ends = jax.vmap(jnp.nanquantile, (1, 0))(flat, jnp.ravel(level))
        return ends.reshape(self.estimate.shape)

    def standard_error(self) -> Float[Array, "..."]:
        """The standard deviation of the values."""
        return jnp.nanstd(self.values, axis=0, ddof=1)


def bootstrap(
    statistic: Callable[[Float[Array, " n"]], Float[Array, "..."]],
    n: int,
    dtype: jax.typing.DTypeLike,
    key: jax.Array,
    resamples: int,
    batch: int,
) -> Resampled:
    """Draws n of n samples with replacement, again and again.

    Args:
      statistic: of how often each sample counts.
      n: samples.
      dtype: of the counts.
      key: of the draws.
      resamples: how many, B.
      batch: resamples at a time.

    References:
      Efron, "Better bootstrap confidence intervals", 1987 (BCa).
    """

    def resampled(key: jax.Array) -> Array:
        drawn = jax.random.randint(key, (n,), 0, n)
        return statistic(jnp.zeros(n, dtype).at[drawn].add(1))

    estimate = statistic(jnp.ones(n, dtype))
    values = jax.lax.map(resampled, jax.random.split(key, resamples), batch_size=batch)
    without = jax.lax.map(statistic, leave_one_out(n, dtype), batch_size=batch)
    influence = jnp.nanmean(without, axis=0) - without
    spread = jnp.nansum(influence**2, axis=0)
    values = estimate + _spread_factor(values, spread, n) * (values - estimate)
    skew = jnp.nansum(influence**3, axis=0)
    varies = spread > 0
    acceleration = jnp.where(varies, skew / jnp.where(varies, 6 * spread**1.5, 1), 0)
    bias = norm.ppf(_share_below(values, estimate))
    return Resampled(estimate, values, bias, acceleration)


def _spread_factor(values: Array, spread: Array, n: int) -> Array:
    """What the spread of the values is to be multiplied by to be that of the estimate.

    A function of pairs has a variance V1 that comes from single samples and a V2 that
    comes from pairs beyond that. Of V1 + V2 the jackknife makes V1 + 2 V2 and the
    bootstrap (n - 1) / n (V1 + 3 V2), up to higher orders: each draws pairs again that
    share their samples (Efron and Stein 1981). In a difference of two definitions V1
    largely cancels. So V1 + V2 is twice the one less the other, and never less than a
    third of the last nor more than it.
    """
    full = n / (n - 1)
    variance = jnp.nanvar(values, axis=0)
    varies = variance > 0
    ratio = (n - 1) / n * spread / jnp.where(varies, variance, 1)
    share = jnp.clip(2 * ratio / full - 1, 1 / 3, 1)
    return jnp.where(varies, jnp.sqrt(full * share), 1)


def _share_below(values: Array, threshold: Array) -> Array:
    """Of the values that are numbers; a tie is half below, none is quite 0 or 1."""
    counted = jnp.sum(~jnp.isnan(values), axis=0)
    below = jnp.sum(values < threshold, axis=0) + jnp.sum(values == threshold, 0) / 2
    return jnp.clip(below, 0.5, counted - 0.5) / counted


def null_p_value(
    statistic: Float[Array, "..."], null: Float[Array, "B ..."], alternative: str
) -> Float[Array, "..."]:
    """Share of the null values at least as extreme, the observed one among them.

    With it the test is exact whatever B, and p is never 0 (Phipson and Smyth 2010).
    Two-sided is twice the smaller of both tails.
    """
    # What differs by rounding alone is tied.
    slack = 64 * jnp.finfo(null.dtype).eps * jnp.abs(statistic)
    greater = jnp.sum(null >= statistic - slack, axis=0)
    less = jnp.sum(null <= statistic + slack, axis=0)
    count = {
        "greater": greater,
        "less": less,
        "two-sided": 2 * jnp.minimum(greater, less) + 1,
    }[alternative]
    return jnp.minimum((count + 1) / (len(null) + 1), 1)


def batch_size(n: int, resamples: int) -> int:
    """Resamples at a time, so that their RSMs (n, n) stay within bounds."""
    return max(1, min(resamples, _BATCH // n**2))


def as_key(key: Key) -> jax.Array:
    """A JAX key from a seed; a key stays as it is.

    Raises:
      TypeError: neither a seed nor a key.
    """
    if isinstance(key, jax.Array) and not jnp.issubdtype(key.dtype, jnp.integer):
        return key
    if isinstance(key, jax.Array) and key.shape == (2,):
        return jax.random.wrap_key_data(key)
    return jax.random.key(_checks.at_least("key", key, 0))


def check_confidence(confidence: float) -> None:
    """Refuses what is no probability.

    Raises:
      ValueError: outside (0, 1).
    """
    if not 0 < confidence < 1:
        raise ValueError(f"confidence must lie between 0 and 1, got {confidence}")


def check_defined(what: str, value: Any) -> None:
    """Refuses a statistic that is NaN, unless it is traced.

    Raises:
      ValueError: NaN.
    """
    if not _checks.is_traced(value) and bool(np.any(np.isnan(value))):
        raise ValueError(
            f"{what} must be defined for these RSMs, got {np.asarray(value)}: one of "
            "them may be constant, or not positive semi-definite"
        )
