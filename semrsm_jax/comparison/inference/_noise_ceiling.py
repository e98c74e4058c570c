"""How well any model can do: the agreement of repeats with each other."""

from dataclasses import dataclass
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax.typing import ArrayLike
from jaxtyping import Array, Float

from semrsm_jax.comparison import correlation
from semrsm_jax.comparison._cka import CKA
from semrsm_jax.comparison._hsic import centered, weighted_product
from semrsm_jax.comparison._rsa import OF_ORIGIN, RSA, symmetric, symmetric_pairs
from semrsm_jax.comparison.grouping import (
    DROP,
    KEEP,
    SampleGroups,
    pair_counts,
    sample_groups,
)
from semrsm_jax.comparison.inference._resampling import (
    Key,
    bca_interval,
    check_confidence,
    check_defined,
    of_all,
    resample,
)
from semrsm_jax.comparison.inference.interval import Interval
from semrsm_jax.comparison.inference.permutation import check_stacks


class NoiseCeiling(NamedTuple):
    """The range in which the best possible model lies (Nili et al. 2014).

    Attributes:
      lower: mean agreement of each repeat with the mean of all others: too low, since
        that mean is noisy.
      upper: mean agreement of each repeat with the mean of all, itself included: too
        high, since it is fitted to the noise of each.
      interval: of (lower, upper), arrays (2,); None where none was asked for.
    """

    lower: Float[Array, ""]
    upper: Float[Array, ""]
    interval: Interval | None = None


def noise_ceiling(
    rsms: ArrayLike,
    measure: RSA | CKA = RSA(),
    *,
    key: Key | None = None,
    resamples: int = 2000,
    confidence: float = 0.95,
    groups: ArrayLike | None = None,
    within_groups: str = KEEP,
) -> NoiseCeiling:
    """The agreement that the noise of repeats allows a model to reach, lower and upper.

    Repeats are RSMs of the same samples: of networks trained with several seeds, of
    subjects, of augmented views. Their mean is that of their z-scores for Pearson, of
    ranks for rank correlations, and else at unit norm, as rsatoolbox's ``pool_rdm``
    takes it; for CKA, of centered RSMs at unit norm.

    Args:
      rsms: (R, N, N), R repeats of an RSM, or of a matrix of dissimilarities.
      measure: `RSA` with any method, or `CKA`.
      key: a seed or a JAX key, for an interval over samples. None: no interval.
      resamples: of the samples, for the interval.
      confidence: of the interval, in (0, 1).
      groups: (N,) integers or text, equal for samples that depend on each other, see
        `bootstrap_interval`.
      within_groups: ``"keep"`` counts pairs within a group; ``"drop"`` leaves them out.

    Returns:
      The `NoiseCeiling`.

    Raises:
      TypeError: an array is not real, or another measure.
      ValueError: fewer than 2 repeats, or as `bootstrap_interval`.

    References:
      Nili et al., "A toolbox for representational similarity analysis", 2014.

    Examples:
      >>> import numpy as np
      >>> from semrsm_jax import noise_ceiling
      >>> rng = np.random.default_rng(0)
      >>> X = rng.normal(size=(20, 4)) + 0.3 * rng.normal(size=(5, 20, 4))
      >>> ceiling = noise_ceiling(X @ X.swapaxes(1, 2))
      >>> bool(0.5 < ceiling.lower < ceiling.upper < 1)
      True
    """
    if not isinstance(measure, RSA | CKA):
        raise TypeError(f"measure must be RSA(...) or CKA(...), got {measure!r}")
    shape = np.shape(rsms)
    if len(shape) != 3 or shape[0] < 2:
        raise ValueError(f"rsms must be at least 2 RSMs (R, N, N), got shape {shape}")
    stack, _ = check_stacks(measure, rsms, rsms)
    both = _Ceiling(measure)
    data = stack, sample_groups(groups, shape[1], within_groups)
    # Each sample counted once, kept pairs within groups count as all others.
    once = data if within_groups == DROP else (stack, None)
    # Compiled, so that values without a scale come back as NaN, which is named here.
    ends = of_all((once, None), both, shape[1], stack.dtype)
    check_defined("noise_ceiling", ends)
    interval = None
    if key is not None:
        confidence = check_confidence(confidence)
        resampled = resample(
            both, data, shape[1], key=key, resamples=resamples, groups=groups, values=2
        )
        interval = bca_interval(resampled, confidence)
    return NoiseCeiling(ends[0], ends[1], interval)


@dataclass(frozen=True)
class _Ceiling:
    """Both ends (2,), of the repeats, their groups, and how often samples count."""

    measure: RSA | CKA

    def __call__(
        self, data: tuple[Array, SampleGroups | None], counts: Array
    ) -> Float[Array, "2"]:
        rsms, groups = data
        scaled = jax.vmap(lambda K: _scaled(self.measure, K, counts, groups))(rsms)
        total = jnp.sum(scaled, axis=0)

        def agreement(K: Array, pooled: Array) -> Array:
            return self.measure(K, pooled, counts=counts, groups=groups)

        lower = jax.vmap(agreement)(rsms, total - scaled)
        upper = jax.vmap(agreement, (0, None))(rsms, total)
        return jnp.stack([jnp.mean(lower), jnp.mean(upper)])


def _scaled(
    measure: RSA | CKA,
    K: Float[Array, "N N"],
    counts: Float[Array, " N"],
    groups: SampleGroups | None,
) -> Float[Array, "N N"]:
    """An RSM on the scale on which several are averaged."""
    if isinstance(measure, CKA):
        groups = measure.checked_groups(groups, len(K))
        K = centered(K, measure.estimator, groups)
        norm = weighted_product(K, K, counts, measure.estimator, groups)
        return K / jnp.sqrt(norm)
    values, weights = symmetric_pairs(K), pair_counts(counts, groups)
    if measure.method in ("spearman", "kendall_tau_a", "kendall_tau_b"):
        return symmetric(correlation.average_ranks(values, weights), len(K))
    of_origin = measure.method in OF_ORIGIN
    unit = correlation.of_cosine if of_origin else correlation.of_pearson
    return symmetric(unit(values, weights), len(K))
