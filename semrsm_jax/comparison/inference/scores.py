"""Intervals of scores: means, medians, and any statistic of scored samples."""

import math
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax.typing import ArrayLike
from jaxtyping import Array, Float

from semrsm_jax import _checks
from semrsm_jax._narrowed import warn_of_lost_variation
from semrsm_jax._representations import accumulation_dtype
from semrsm_jax.comparison.grouping import check_groups
from semrsm_jax.comparison.inference._resampling import (
    Key,
    ScoreStatistic,
    as_key,
    bca_interval,
    check_confidence,
    check_resamples,
    resample,
)
from semrsm_jax.comparison.inference._signs import MOST, sign_interval, sign_null
from semrsm_jax.comparison.inference.interval import Interval


def score_interval(
    scores: Any,
    statistic: ScoreStatistic | None = None,
    *,
    key: Key,
    groups: ArrayLike | None = None,
    resamples: int = 2000,
    confidence: float = 0.95,
) -> Interval:
    """The bootstrap interval of a statistic of scores, such as their mean.

    Samples are drawn with replacement, or whole groups of them where `groups` says
    which depend on each other. The ends are those of BCa; those of the mean are of
    Student's t, transformed by Hall against skewness, under random signs, see
    `paired_test`: scores are often skewed or mostly zero, where BCa covers too little.
    The same key draws the same: intervals of several scores of the same samples are
    comparable, and that of a paired difference is the interval of ``a - b``.

    Args:
      scores: (n,) of n samples, or (n, ...), for example one column a k. For a
        statistic of your own, any array or pytree of arrays that it takes.
      statistic: pure function of the scores and of the counts (n,), how often each
        sample counts; returns a scalar or an array (...). A function of a module, or
        another hashable one, is compiled once. None: the mean over samples, in which
        samples with a score that is NaN are left out.
      key: a seed or a JAX key.
      groups: (n,) integers or text, equal for samples that depend on each other, as
        crops of one photograph do. With a pytree, their number says what n is;
        ``groups=np.arange(n)`` has each sample on its own.
      resamples: B.
      confidence: of the interval, in (0, 1).

    Returns:
      The `Interval`, whose fields have the shape (...) of the statistic; NaN where the
      statistic of all samples is NaN. That of the mean has no ``resampled``.

    Raises:
      TypeError: scores are not real, groups neither integers nor text, a confidence
        that is not a number, or `key` is neither a seed nor a key.
      ValueError: no axis of samples, infinity, fewer than 2 samples or groups with a
        score, fewer than 2 resamples or more than memory holds, a confidence outside
        (0, 1).

    References:
      Efron, "Better bootstrap confidence intervals", 1987 (BCa); Hall, "On the removal
      of skewness by transformation", 1992; Davison and Hinkley,
      "Bootstrap methods and their application", 1997, section 3.8 (groups).

    Examples:
      >>> import numpy as np
      >>> from semrsm_jax.comparison import score_interval
      >>> f1 = np.random.default_rng(0).uniform(size=(60,))
      >>> photographs = np.repeat(np.arange(20), 3)
      >>> interval = score_interval(f1, key=0, groups=photographs)
      >>> bool(interval.low < f1.mean() < interval.high)
      True
    """
    settings: dict[str, Any] = {
        "key": key,
        "resamples": resamples,
        "confidence": confidence,
    }
    if statistic is None:
        return mean_by_groups(*_scored(scores, groups), **settings)
    confidence = check_confidence(settings.pop("confidence"))
    shapes = [np.shape(leaf) for leaf in jax.tree.leaves(scores)]
    if groups is None and not (shapes and shapes[0]):
        raise ValueError("scores must have an axis of samples, got none")
    samples = shapes[0][0] if groups is None else len(np.asarray(groups))
    resampled = resample(statistic, scores, samples, groups=groups, **settings)
    return bca_interval(resampled, confidence)


def mean_interval(values: ArrayLike, confidence: float = 0.95) -> Interval:
    """The mean of few independent values, such as one a seed, by Student's t.

    A bootstrap of a handful of values is too narrow; t is exact where they are normal.
    That of a paired difference is the interval of ``a - b``.

    Args:
      values: (n,), or (n, ...).
      confidence: of the interval, in (0, 1).

    Returns:
      The `Interval` in float64; its ends and error are NaN for a single value.

    Raises:
      TypeError: values are not real, or a confidence that is not a number.
      ValueError: no values, or a confidence outside (0, 1).

    References:
      Student, "The probable error of a mean", 1908.
    """
    # Loaded here: it takes longer than the rest of the package.
    from scipy.stats import t as student

    confidence, values = check_confidence(confidence), _host_values(values)
    mean, n = values.mean(axis=0), len(values)
    if n < 2:
        unknown = np.full(mean.shape, np.nan)
        return Interval(mean, unknown, unknown, unknown)
    error = values.std(axis=0, ddof=1) / np.sqrt(n)
    reach = student.ppf((1 + confidence) / 2, n - 1) * error
    return Interval(mean, mean - reach, mean + reach, error)


def median_interval(values: ArrayLike, confidence: float = 0.95) -> Interval:
    """The median of independent values of any distribution.

    The ends are order statistics: no skewed time and no outlier widens them.

    Args:
      values: (n,).
      confidence: of the interval, in (0, 1).

    Returns:
      The `Interval` in float64, without a standard error; its ends are NaN where there
      are too few values, fewer than 6 for 0.95.

    Raises:
      TypeError: values are not real, or a confidence that is not a number.
      ValueError: no values, or a confidence outside (0, 1).

    References:
      Conover, "Practical nonparametric statistics", 1999, section 3.2.
    """
    # Loaded here: it takes longer than the rest of the package.
    from scipy.stats import binom

    confidence, values = check_confidence(confidence), _host_values(values, rank=1)
    values, n = np.sort(values), len(values)
    rank = int(binom.ppf((1 - confidence) / 2, n, 0.5))
    low, high = (values[rank - 1], values[n - rank]) if rank else (np.nan, np.nan)
    return Interval(float(np.median(values)), float(low), float(high))


def mean_by_groups(
    scores: Float[Array, "n ..."],
    groups: ArrayLike | None,
    *,
    key: Key,
    resamples: int,
    confidence: float,
) -> Interval:
    """The interval of the mean over samples, by signs; raises as `score_interval`."""
    resamples = check_resamples(resamples, 2, math.prod(scores.shape[1:]))
    confidence, signs = check_confidence(confidence), as_key(key)
    mean, deviations = _deviations(*group_sums(scores, groups))
    null = sign_null(deviations, signs, resamples, MOST)
    low, high, error = sign_interval(mean, deviations, null, confidence)
    return Interval(mean, low, high, error)


@jax.jit
def _deviations(
    sums: Float[Array, "units ..."], sizes: Float[Array, " units"]
) -> tuple[Float[Array, "..."], Float[Array, "units ..."]]:
    """The mean over samples, and what each group adds beyond that of its samples."""
    mean = jnp.sum(sums, axis=0) / jnp.sum(sizes)
    sizes = sizes.reshape(-1, *[1] * mean.ndim)
    return mean, (sums - sizes * mean) / jnp.mean(sizes)


def group_sums(
    scores: Float[Array, "n ..."], groups: ArrayLike | None
) -> tuple[Float[Array, "units ..."], Float[Array, " units"]]:
    """Sums and sizes of the groups: all that a mean needs of the scores."""
    members, units = check_groups(groups, len(scores))
    sizes = jnp.ones(len(scores), scores.dtype)
    if members is None:
        return scores, sizes
    sums, sizes = (jax.ops.segment_sum(v, members, units) for v in (scores, sizes))
    return sums, sizes


def _scored(
    scores: ArrayLike, groups: ArrayLike | None
) -> tuple[Float[Array, "n ..."], ArrayLike | None]:
    """The samples without NaN, and their groups."""
    scores = _checks.real_array_on_host("scores", scores)
    if scores.ndim:
        warn_of_lost_variation("scores", scores)
    scores = _checks.real_array("scores", scores)
    if scores.ndim == 0:
        raise ValueError("scores must have an axis of samples, got a scalar")
    scores = scores.astype(accumulation_dtype(scores.dtype))
    if _checks.is_traced(scores):
        return scores, groups
    known = ~np.isnan(scores.reshape(len(scores), -1)).any(axis=1)
    if groups is not None and np.shape(groups) == known.shape:
        groups = np.asarray(groups)[known]
    scores = scores[known]
    _checks.finite("scores", scores)
    return scores, groups


def _host_values(values: ArrayLike, rank: int | None = None) -> np.ndarray:
    array = np.asarray(_checks.real_array_on_host("values", values, rank), np.float64)
    if array.ndim == 0 or not len(array):
        raise ValueError(f"values must hold at least one, got shape {array.shape}")
    return array
