"""Bootstrap intervals over samples, for any statistic of two RSMs."""

from collections.abc import Mapping
from dataclasses import dataclass
from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
from jax.typing import ArrayLike
from jaxtyping import Array

from semrsm_jax._ids import same_samples
from semrsm_jax.comparison._cka import CKA
from semrsm_jax.comparison.grouping import (
    KEEP,
    SampleGroups,
    carried_groups,
    check_groups,
    check_testable,
    sample_groups,
)
from semrsm_jax.comparison.inference._resampling import (
    Key,
    Resampled,
    as_key,
    check_confidence,
    check_jackknife,
    resample,
    warn_of_units,
)
from semrsm_jax.comparison.inference._signs import (
    MOST,
    sign_interval,
    sign_null,
    standard_error,
)
from semrsm_jax.comparison.inference.interval import Interval
from semrsm_jax.comparison.inference.statistic import (
    Statistic,
    before_counts,
    by_groups,
    check_arguments,
    compare_counted,
    entries_of_counts,
)
from semrsm_jax.comparison.narrowing import where_known


def bootstrap_interval(
    K: ArrayLike,
    L: ArrayLike,
    statistic: Statistic = CKA(),
    *,
    key: Key,
    resamples: int = 2000,
    confidence: float = 0.95,
    groups: ArrayLike | None = None,
    within_groups: str = KEEP,
) -> Interval:
    """The interval in which the statistic of the population lies.

    Samples are left out and drawn, not pairs: pairs share samples and so are not
    independent. What each sample adds to the estimate is its mean change without this
    sample, times N - 1 (the jackknife's influence). The ends are those of Student's t
    of these, transformed by Hall against skewness, whose distribution is that under
    random signs: no normal distribution is assumed, and heavy tails are met. Where the
    value and all others lie within (-1, 1), as of a correlation, that is done on the
    scale of Fisher's z, so that the ends lie there too.

    Assumed is that samples, or groups, are independent of each other. The guide's table
    says how often the interval covers in simulations. Biased CKA is off by more than
    its width, see `CKA`.

    Args:
      K: RSM (N, N).
      L: RSM (N, N) of the same samples in the same order.
      statistic: `CKA`, `RSA` or any other hashable function of two RSMs and counts.
      key: a seed or a JAX key.
      resamples: B.
      confidence: of the interval, in (0, 1).
      groups: (N,) integers or text, equal for samples that depend on each other, as
        frames of one video do: whole groups are left out and drawn. None: those that K
        or L carries, as an opened RSM does; otherwise samples are independent.
      within_groups: ``"keep"`` counts pairs within a group, each as often as the group
        is drawn; ``"drop"`` leaves them out, so that the value is that of samples of
        different groups.

    Returns:
      The `Interval`, with the statistic (B,) of each of B resamples, drawn with
      replacement; pairs of a sample, or group, with its own copy are left out, since
      they are perfectly similar for any network.

    Raises:
      TypeError: an array is not real, groups are neither integers nor text, a
        confidence that is not a number, or `key` is neither a seed nor a key.
      ValueError: as `cka`; fewer than 2 resamples, or more than memory holds; fewer
        than 2 samples or groups; a confidence outside (0, 1), a statistic that is NaN,
        or one that cannot leave out pairs within groups.

    Warns:
      UserWarning: fewer than 15 samples or groups, one that is more than a third of the
        spread, or a kurtosis of their influences above 8, for which intervals may cover
        less than they state and differences be missed; or a statistic of nearest
        neighbors, whose intervals are too wide.

    References:
      Hall, "On the removal of skewness by transformation", 1992; Efron and Stein, "The
      jackknife estimate of variance", 1981.

    Examples:
      >>> import numpy as np
      >>> from semrsm_jax import bootstrap_interval
      >>> X = np.random.default_rng(0).normal(size=(40, 5))
      >>> Y = X + 0.5 * np.random.default_rng(1).normal(size=(40, 5))
      >>> interval = bootstrap_interval(X @ X.T, Y @ Y.T, key=0, resamples=500)
      >>> bool(interval.low < interval.estimate < interval.high)
      True
    """
    confidence = check_confidence(confidence)
    settings: dict[str, Any] = {"key": key, "resamples": resamples}
    rsms = {"K": K, "L": L}
    resampled = resample_rsms(statistic, rsms, groups, within_groups, **settings)
    check_jackknife(resampled)
    warn_of_units(resampled.influence, statistic)
    return _studentized(resampled, as_key(key), confidence)


def resample_rsms(
    statistic: Statistic,
    rsms: Mapping[str, ArrayLike],
    groups: ArrayLike | None,
    within_groups: str,
    **settings: Any,
) -> Resampled:
    """A statistic of two named RSMs; of four, the values (3,) of a `difference_test`.

    Raises as these; `settings` are those of `resample`.
    """
    rsms = same_samples(rsms)
    groups = carried_groups(groups, *rsms.values())
    K, L, *others = rsms.values()
    pairs = [check_arguments(statistic, *each) for each in ((K, L), others) if each]
    samples, last = pairs[0][0], pairs[-1][0]
    if len(samples) != len(last):
        raise ValueError(
            "first and second must be over the same samples, got shapes "
            f"{samples.shape} and {last.shape}"
        )
    counted = sample_groups(groups, len(samples), within_groups)
    by_groups(statistic, counted)
    if others:
        units = check_groups(groups, len(samples))[1]
        check_testable(units, 2.0 ** (1 - units), "their signs")
    of_rsms = _OfRSMs(statistic)
    return resample(
        of_rsms,
        tuple(of_rsms.data(*each, counted) for each in pairs),
        len(samples),
        groups=groups,
        values=3 if others else 1,
        entries=entries_of_counts(statistic, samples),
        **settings,
    )


@dataclass(frozen=True)
class _OfRSMs:
    """A statistic of two RSMs, or its difference and that of each two of four (3,)."""

    statistic: Statistic

    @partial(jax.jit, static_argnums=0)
    def data(self, K: Array, L: Array, groups: SampleGroups | None) -> tuple[Any, ...]:
        """What a call takes of each two: all that resamples do not change."""
        first, second = (before_counts(self.statistic, each, groups) for each in (K, L))
        # Sorting would hide a NaN.
        known = where_known(jnp.ones((), K.dtype), K, L)
        return first, second, groups, known

    def __call__(self, pairs: tuple[tuple[Any, ...], ...], counts: Array) -> Array:
        """The statistic, each sample counting so often."""
        values = [
            known * compare_counted(self.statistic, first, second, counts, groups)
            for first, second, groups, known in pairs
        ]
        return jnp.stack([values[0] - values[1], *values]) if values[1:] else values[0]


def _studentized(resampled: Resampled, key: jax.Array, confidence: float) -> Interval:
    """The interval by signs of the influences, of Fisher's z where it exists."""
    bounded, estimate, influence = _on_scale(resampled)
    null = sign_null(influence, key, len(resampled.values), MOST)
    low, high, _ = sign_interval(estimate, influence, null, confidence)
    return _interval(resampled, bounded, low, high)


@jax.jit
def _on_scale(resampled: Resampled) -> tuple[Array, Array, Array]:
    """Whether the scale is Fisher's, and on it the estimate and the influences."""
    estimate, values, without = resampled
    most = 1 - jnp.finfo(without.dtype).eps
    bounded = (jnp.abs(estimate) < most) & jnp.all(~(jnp.abs(without) > 1))

    def scaled(x: Array) -> Array:
        return jnp.where(bounded, jnp.arctanh(jnp.clip(x, -most, most)), x)

    on_scale = Resampled(scaled(estimate), values, scaled(without))
    return bounded, on_scale.estimate, on_scale.influence


@jax.jit
def _interval(resampled: Resampled, bounded: Array, *ends: Array) -> Interval:
    """The interval whose ends are given on the scale."""
    low, high = (jnp.where(bounded, jnp.tanh(end), end) for end in ends)
    error = standard_error(resampled.influence)
    return Interval(resampled.estimate, low, high, error, resampled.values)
