"""Bootstrap intervals over samples, for any statistic of two RSMs."""

from dataclasses import dataclass

from jax.typing import ArrayLike
from jaxtyping import Array

from semrsm_jax.comparison.inference._resampling import Key, bootstrap, check_defined
from semrsm_jax.comparison.inference.interval import Interval
from semrsm_jax.comparison.inference.statistic import CKA, Statistic, check_arguments


def bootstrap_interval(
    K: ArrayLike,
    L: ArrayLike,
    statistic: Statistic = CKA(),
    *,
    key: Key,
    resamples: int = 2000,
    confidence: float = 0.95,
    groups: ArrayLike | None = None,
) -> Interval:
    """The interval in which the statistic of the population lies.

    Samples are drawn with replacement, not pairs: pairs share samples and so are not
    independent. A resample is how often each sample counts, and pairs of a sample with
    its own copy are left out: they are perfectly similar for any network, and would
    raise the value of every resample. So the resamples of unbiased CKA center on its
    estimate, while those of biased CKA have a bias twice that of the estimate, and its
    intervals cover too little. The ends are those of BCa, which corrects for bias and
    skewness; the plain percentiles do not.

    Args:
      K: RSM (N, N).
      L: RSM (N, N) of the same samples in the same order.
      statistic: `CKA`, `RSA` or any other hashable function of two RSMs and counts.
      key: a seed or a JAX key.
      resamples: B.
      confidence: of the interval, in (0, 1).
      groups: (N,) integers or text, equal for samples that depend on each other, as
        frames of one video do: whole groups are drawn. None: samples are independent.

    Returns:
      The `Interval`, with the statistic (B,) of each resample.

    Raises:
      TypeError: an array is not real, groups are neither integers nor text, a
        confidence that is not a number, or `key` is neither a seed nor a key.
      ValueError: as `cka`; fewer than 2 resamples, or more than memory holds; fewer
        than 2 samples or groups; a confidence outside (0, 1), or a statistic that is
        NaN.

    References:
      Efron, "Better bootstrap confidence intervals", 1987 (BCa).

    Examples:
      >>> import numpy as np
      >>> from semrsm_jax import bootstrap_interval
      >>> X = np.random.default_rng(0).normal(size=(40, 5))
      >>> Y = X + 0.5 * np.random.default_rng(1).normal(size=(40, 5))
      >>> interval = bootstrap_interval(X @ X.T, Y @ Y.T, key=0, resamples=500)
      >>> bool(interval.low < interval.estimate < interval.high)
      True
    """
    K, L = check_arguments(statistic, K, L)
    interval = bootstrap(
        _OfRSMs(statistic),
        (K, L),
        len(K),
        key=key,
        resamples=resamples,
        confidence=confidence,
        groups=groups,
    )
    check_defined("statistic", interval.estimate)
    return interval


@dataclass(frozen=True)
class _OfRSMs:
    """A statistic of two RSMs, of both as one argument."""

    statistic: Statistic

    def __call__(self, rsms: tuple[Array, Array], counts: Array) -> Array:
        return self.statistic(*rsms, counts=counts)
