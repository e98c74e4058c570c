"""What tests and intervals share: keys, checks, groups, resamples and p-values."""

import warnings
from collections.abc import Callable
from functools import partial
from numbers import Real
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax.scipy.stats import norm
from jax.typing import ArrayLike
from jaxtyping import Array, Float

from semrsm_jax import _checks
from semrsm_jax._representations import accumulation_dtype
from semrsm_jax.comparison.grouping import check_groups, is_few
from semrsm_jax.comparison.inference._batches import over_keys
from semrsm_jax.comparison.inference.interval import Interval

Key = int | jax.Array
# Of any data, and of how often each sample counts (n,).
ScoreStatistic = Callable[[Any, Float[Array, " n"]], Float[Array, "..."]]

ALTERNATIVES = ("greater", "less", "two-sided")

# The share of the spread above which one unit decides it, and the kurtosis above which
# a few do; a normal distribution has 3.
_DOMINANT, _HEAVY_TAILED = 1 / 3, 8
# Values kept of all resamples: they are sorted, and 80 MB of them fit everywhere.
_MOST = 10**7


class Resampled(NamedTuple):
    """A statistic of all samples, of resamples, and without each unit in turn."""

    estimate: Float[Array, "..."]
    values: Float[Array, "B ..."]  # of each resample
    without: Float[Array, "units ..."]  # without each sample or group

    @property
    def influence(self) -> Float[Array, "units ..."]:
        """What each unit adds to the estimate, times their number; of mean zero."""
        n = len(self.without)
        influence = (n - 1) * (jnp.nanmean(self.without, axis=0) - self.without)
        return jnp.where(jnp.isnan(influence), 0, influence)


def resample(
    statistic: ScoreStatistic,
    data: Any,
    samples: int,
    *,
    key: Key,
    resamples: int,
    groups: ArrayLike | None = None,
    values: int = 1,
    entries: int | None = None,
) -> Resampled:
    """A statistic of data, in which samples count so often, of resamples and jackknife.

    It is a hashable function of the data, a pytree of arrays, and of the counts of all
    `samples` (n,); its numbers are `values`, and it computes with so many `entries`,
    None: those of the largest array. Raises as `check_resamples`, `check_groups` and
    `as_key`.
    """
    resamples = check_resamples(resamples, 2, values)
    members, units = check_groups(groups, samples)
    data = jax.tree.map(jnp.asarray, data), members
    arrays = jax.tree.leaves(data[0])
    dtypes = [each.dtype for each in arrays]
    floating = [each for each in dtypes if jnp.issubdtype(each, jnp.floating)]
    dtype = accumulation_dtype(jnp.result_type(*(floating or [float])))
    settings = statistic, units, dtype
    entries = entries or max(units, *(each.size for each in arrays))
    keys = jax.random.split(as_key(key), resamples)
    return Resampled(
        of_all(data, *settings),
        over_keys(_of_resample, settings, data, keys, entries),
        over_keys(_without, settings, data, jnp.arange(units), entries),
    )


def _of_counts(data: Any, statistic: ScoreStatistic, counts: Array) -> Array:
    """The statistic where each unit, sample or group, counts so often."""
    arrays, members = data
    return statistic(arrays, counts if members is None else counts[members])


@partial(jax.jit, static_argnums=(1, 2, 3))
def of_all(data: Any, statistic: ScoreStatistic, units: int, dtype: Any) -> Array:
    """The statistic of all units, each counted once."""
    return _of_counts(data, statistic, jnp.ones(units, dtype))


def _of_resample(
    data: Any, key: jax.Array, statistic: ScoreStatistic, units: int, dtype: Any
) -> Array:
    drawn = jax.random.randint(key, (units,), 0, units)
    return _of_counts(data, statistic, jnp.zeros(units, dtype).at[drawn].add(1))


def _without(
    data: Any, unit: Array, statistic: ScoreStatistic, units: int, dtype: Any
) -> Array:
    return _of_counts(data, statistic, jnp.ones(units, dtype).at[unit].set(0))


@jax.jit
def bca_interval(resampled: Resampled, confidence: float) -> Interval:
    """The BCa interval: percentiles, corrected for bias and skewness (Efron 1987)."""
    estimate, values, jackknife = resampled
    n = len(jackknife)
    influence = resampled.influence
    # The plain bootstrap has the variance of n, not n - 1, degrees of freedom.
    values = estimate + (n / (n - 1)) ** 0.5 * (values - estimate)
    spread, skew = (jnp.sum(influence**k, axis=0) for k in (2, 3))
    varies = spread > 0
    acceleration = jnp.where(varies, skew / jnp.where(varies, 6 * spread**1.5, 1), 0)
    bias = norm.ppf(_share_below(values, estimate))
    # The ends have these probabilities below them.
    outside = (1 - confidence) / 2
    z = bias + norm.ppf(jnp.stack([outside, 1 - outside]).reshape(2, *[1] * bias.ndim))
    levels = norm.cdf(bias + z / (1 - acceleration * z))
    ends = jax.vmap(jnp.nanquantile, (1, 1), 1)(
        values.reshape(len(values), -1), levels.reshape(2, -1)
    )
    low, high = ends.reshape(2, *estimate.shape)
    error = jnp.nanstd(values, axis=0, ddof=1)
    return Interval(estimate, low, high, error, resampled.values)


def pair_share(resampled: Resampled) -> Float[Array, "..."]:
    """The variance of an estimate as a share of what the jackknife says it is.

    The derivation is in the guide to intervals and tests, "The variance of pairs".
    """
    n = len(resampled.without)
    jackknife = jnp.sum(resampled.influence**2, axis=0) / (n * (n - 1))
    bootstrap = n / (n - 1) * jnp.nanvar(resampled.values, axis=0)
    varies = jackknife > 0
    ratio = bootstrap / jnp.where(varies, jackknife, 1)
    return jnp.where(varies, jnp.clip(2 - ratio, 1 / 2, 1), 1)


def _share_below(values: Array, threshold: Array) -> Array:
    """Of the values that are numbers; a tie is half below, none is quite 0 or 1."""
    counted = jnp.sum(~jnp.isnan(values), axis=0)
    below = jnp.sum(values < threshold, axis=0) + jnp.sum(values == threshold, 0) / 2
    return jnp.clip(below, 0.5, counted - 0.5) / counted


def null_p_value(
    statistic: Float[Array, "..."], null: Float[Array, "B ..."], alternative: str
) -> Float[Array, "..."]:
    """Share of the null values at least as extreme, the observed one among them.

    With it the test is exact for any B, and p is never 0 (Phipson and Smyth 2010).
    Two-sided is twice the smaller of both tails.
    """
    slack = rounding_slack(statistic, null.dtype)
    # So that an undefined value counts as extreme, and p is not too small.
    greater = jnp.sum(~(null < statistic - slack), axis=0)
    less = jnp.sum(~(null > statistic + slack), axis=0)
    count = {
        "greater": greater,
        "less": less,
        "two-sided": 2 * jnp.minimum(greater, less) + 1,
    }[alternative]
    return jnp.minimum((count + 1) / (len(null) + 1), 1)


def rounding_slack(statistic: Any, dtype: Any) -> Any:
    """What differs by less differs by rounding alone, and is tied."""
    return 64 * float(jnp.finfo(_checks.floating_dtype(dtype)).eps) * abs(statistic)


def as_key(key: Key) -> jax.Array:
    """A JAX key from a seed, of which JAX takes 32 bits; a key stays as it is."""
    if isinstance(key, jax.Array):
        if not jnp.issubdtype(key.dtype, jnp.integer):
            return key
        if key.shape == (2,):
            return jax.random.wrap_key_data(key)
    if _checks.at_least("key", key, 0) >= 2**32:
        raise ValueError(f"key must be a seed below 2**32, got {key}")
    return jax.random.key(key)


def check_resamples(resamples: int, least: int, values: int = 1) -> int:
    """The number of resamples, each of so many values; ValueError: too few or many."""
    resamples = _checks.at_least("resamples", resamples, least)
    most = _MOST // max(1, values)
    if resamples > most:
        raise ValueError(
            f"resamples must be at most {most:,} for {values} values each, got "
            f"{resamples:,}; 10,000 give an interval or a p-value to two digits"
        )
    return resamples


def check_confidence(confidence: float) -> float:
    """A probability. TypeError: not a number; ValueError: outside (0, 1)."""
    if isinstance(confidence, bool) or not isinstance(confidence, Real):
        raise TypeError(
            f"confidence must be a number between 0 and 1, got {confidence!r}"
        )
    if not 0 < confidence < 1:
        raise ValueError(
            f"confidence must lie between 0 and 1, got {confidence}; 0.95 is 95 %"
        )
    return float(confidence)


def warn_of_units(influence: Float[Array, "units ..."], statistic: Any) -> None:
    """Warns where simulated rates are not what is stated; silent if traced.

    That is of few units, of heavy tails, and of steps in statistics.
    """
    units = len(influence)
    if _checks.is_traced(influence):
        return
    if not getattr(statistic, "is_smooth", True):
        warnings.warn(
            f"{statistic!r} changes in steps: its intervals are too wide, and tests of "
            "a difference rarely reject; permutation_test is not affected",
            stacklevel=3,
        )
    squares = np.asarray(influence, np.float64).reshape(units, -1)[:, 0] ** 2
    squares /= max(squares.sum(), np.finfo(float).tiny)
    share, kurtosis = squares.max(), units * np.sum(squares**2)
    if is_few(units):
        warnings.warn(
            f"{units} samples or groups are few: intervals and tests of the difference "
            "may miss what they state, see the guide's table",
            stacklevel=3,
        )
    elif share > _DOMINANT or kurtosis > _HEAVY_TAILED:
        warnings.warn(
            f"sample or group {int(squares.argmax())} alone is {share:.0%} of the "
            f"spread, and their kurtosis is {kurtosis:.1f} (normal: 3): with tails so "
            "heavy an interval may cover less than it states and a difference be "
            "missed; RSA('spearman') depends less on single samples",
            stacklevel=3,
        )


def check_jackknife(resampled: Resampled) -> None:
    """Raises ValueError for a statistic, or its jackknife, that is NaN; not if traced.

    Without one value of the jackknife the spread would count as 0.
    """
    check_defined("statistic", resampled.estimate)
    without = resampled.without
    if not _checks.is_traced(without) and np.isnan(without).all(axis=0).any():
        raise ValueError(
            f"samples, or groups, must be more than {len(without)} for an interval: "
            "without any one of them the statistic is not defined"
        )


def check_defined(what: str, value: Any) -> None:
    """Raises ValueError for a statistic that is NaN, unless it is traced."""
    if not _checks.is_traced(value) and bool(np.any(np.isnan(value))):
        raise ValueError(
            f"{what} must be defined for these RSMs, got {np.asarray(value)}: one of "
            "them may be constant or not positive semi-definite, or of too few samples "
            "or groups"
        )
