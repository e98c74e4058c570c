"""Confidence intervals: over seeds, over parts of an image, and over clusters."""

from typing import NamedTuple

import numpy as np
from jaxtyping import Float, Shaped
from scipy import stats

LEVEL = 0.95


class Interval(NamedTuple):
    """An estimate and its two-sided 95 % confidence interval."""

    value: float
    low: float
    high: float

    def __str__(self) -> str:
        """The estimate, with its interval behind it."""
        return f"{self.value:.4g} [{self.low:.4g}, {self.high:.4g}]"


def columns(name: str, interval: Interval) -> dict[str, float]:
    """An interval in the columns of a table."""
    value, low, high = interval
    return {name: value, f"{name}, low": low, f"{name}, high": high}


def t_interval(values: Float[np.ndarray, " n"]) -> Interval:
    """The mean of independent values, such as one a seed, by Student's t.

    The difference of two methods run on the same seeds is that of their paired values.

    Returns:
      The interval; NaN limits for a single value.
    """
    values = np.asarray(values, np.float64)
    mean, n = float(values.mean()), len(values)
    if n < 2:
        return Interval(mean, np.nan, np.nan)
    half = stats.t.ppf((1 + LEVEL) / 2, n - 1) * values.std(ddof=1) / np.sqrt(n)
    return Interval(mean, mean - float(half), mean + float(half))


def block_bootstrap(
    values: Float[np.ndarray, "H W"],
    block: int,
    resamples: int,
    rng: np.random.Generator,
) -> Interval:
    """The mean over a grid whose neighbours depend on each other.

    Whole tiles of ``block x block`` places are drawn with replacement, as many as there
    are, so that what neighbours share is drawn together; the limits are percentiles.

    Args:
      values: on a grid of places; NaN where there is none. Tiles without any value are
        left out.
      block: rows and columns of a tile; tiles at the far edges are smaller.
      resamples: draws.
      rng: the source of all draws.

    Returns:
      The interval.

    Raises:
      ValueError: no value at all.

    References:
      Lahiri, "Resampling methods for dependent data", 2003, chapter 12.
    """
    rows, columns = (np.arange(n) // block for n in values.shape)
    tile = rows[:, None] * (columns[-1] + 1) + columns
    return cluster_bootstrap(values.ravel(), tile.ravel(), resamples, rng)


def cluster_bootstrap(
    values: Float[np.ndarray, " n"],
    clusters: Shaped[np.ndarray, " n"],
    resamples: int,
    rng: np.random.Generator,
) -> Interval:
    """The mean of values that come in clusters, such as the images of one scene.

    Whole clusters are drawn with replacement, as many as there are; the limits are
    percentiles.

    Args:
      values: NaN where there is none. Clusters without any value are left out.
      clusters: what each value belongs to, numbers or text.
      resamples: draws.
      rng: the source of all draws.

    Returns:
      The interval.

    Raises:
      ValueError: no value at all.

    References:
      Davison and Hinkley, "Bootstrap methods and their application", 1997, section 3.8.
    """
    known = np.isfinite(values)
    if not known.any():
        raise ValueError("values must hold at least one that is not NaN, got none")
    _, number = np.unique(clusters, return_inverse=True)
    sums = np.bincount(number, np.where(known, values, 0))
    counts = np.bincount(number, known)
    sums, counts = sums[counts > 0], counts[counts > 0]
    drawn = rng.integers(len(sums), size=(resamples, len(sums)))
    means = sums[drawn].sum(1) / counts[drawn].sum(1)
    tail = (1 - LEVEL) / 2
    low, high = np.quantile(means, (tail, 1 - tail))
    return Interval(float(sums.sum() / counts.sum()), float(low), float(high))


def median_interval(values: Float[np.ndarray, " n"]) -> Interval:
    """The median of independent values, whatever their distribution.

    The limits are order statistics (Conover, "Practical nonparametric statistics",
    1999, section 3.2): no skewed time or outlier widens them.

    Returns:
      The interval; NaN limits for fewer than six values, too few for one of 95 %.
    """
    values, n = np.sort(values), len(values)
    rank = int(stats.binom.ppf((1 - LEVEL) / 2, n, 0.5))
    limits = (values[rank - 1], values[n - rank]) if rank else (np.nan, np.nan)
    return Interval(float(np.median(values)), *map(float, limits))
