"""Bootstrap intervals over samples, for any statistic of two RSMs."""

from functools import partial
from typing import NamedTuple

import jax
from jax.typing import ArrayLike
from jaxtyping import Array, Float

from semrsm_jax import _checks
from semrsm_jax.comparison._hsic import check_rsms
from semrsm_jax.comparison.inference._resampling import (
    Key,
    Resampled,
    as_key,
    batch_size,
    bootstrap,
    check_confidence,
    check_defined,
)
from semrsm_jax.comparison.inference.statistic import CKA, Statistic


class Interval(NamedTuple):
    """An estimate with its uncertainty.

    Attributes:
      estimate: of all samples.
      low: where the interval begins.
      high: where it ends.
      standard_error: of the estimate.
      resampled: (B,), the statistic of each resample; NaN where one drew too few
        different samples for it.
    """

    estimate: Float[Array, ""]
    low: Float[Array, ""]
    high: Float[Array, ""]
    standard_error: Float[Array, ""]
    resampled: Float[Array, " B"]


def bootstrap_interval(
    K: ArrayLike,
    L: ArrayLike,
    statistic: Statistic = CKA(),
    *,
    key: Key,
    resamples: int = 2000,
    confidence: float = 0.95,
) -> Interval:
    """The interval in which the statistic of the population lies.

    Samples are drawn with replacement, not pairs: pairs share samples and so are not
    independent. A resample is how often each sample counts, and pairs of a sample with
    its own copy are left out: they are perfectly similar, whatever the network, and
    would draw every resample up. So the resamples of unbiased CKA centre on its
    estimate, while those of biased CKA have a bias twice that of the estimate, and its
    intervals cover too little (see the README for figures). The ends are those of BCa,
    which corrects for bias and skewness; the plain percentiles do not.

    Args:
      K: RSM (N, N).
      L: RSM (N, N) of the same samples in the same order.
      statistic: `CKA`, `RSA` or any other hashable function of two RSMs and counts.
      key: a seed or a JAX key.
      resamples: B.
      confidence: of the interval, in (0, 1).

    Returns:
      The `Interval`, with the statistic (B,) of each resample.

    Raises:
      TypeError: an array is not real, or `key` is neither a seed nor a key.
      ValueError: as `cka`; fewer than 2 resamples, a confidence outside (0, 1), or a
        statistic that is NaN.

    References:
      Efron, "Better bootstrap confidence intervals", 1987 (BCa).

    Examples:
      >>> import numpy as np
      >>> from semrsm_jax import bootstrap_interval
      >>> X = np.random.default_rng(0).normal(size=(40, 5))
      >>> Y = X + 0.5 * np.random.default_rng(1).normal(size=(40, 5))
      >>> found = bootstrap_interval(X @ X.T, Y @ Y.T, key=0, resamples=500)
      >>> bool(found.low < found.estimate < found.high)
      True
    """
    resamples = _checks.at_least("resamples", resamples, 2)
    check_confidence(confidence)
    K, L = check_rsms(K, L)
    found = _bootstrap(K, L, statistic, as_key(key), resamples)
    check_defined("statistic", found.estimate)
    return interval(found, confidence)


def interval(found: Resampled, confidence: float) -> Interval:
    """The BCa interval of what a bootstrap found."""
    outside = (1 - confidence) / 2
    return Interval(
        found.estimate,
        found.quantiles(outside),
        found.quantiles(1 - outside),
        found.standard_error(),
        found.values,
    )


@partial(jax.jit, static_argnames=("statistic", "resamples"))
def _bootstrap(
    K: Array, L: Array, statistic: Statistic, key: jax.Array, resamples: int
) -> Resampled:
    def value(counts: Array) -> Array:
        return statistic(K, L, counts=counts)

    n = len(K)
    return bootstrap(value, n, K.dtype, key, resamples, batch_size(n, resamples))
