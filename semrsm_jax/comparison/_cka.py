"""Centered kernel alignment of two RSMs, Eq. 2, and as measures CKA and HSIC."""

from dataclasses import dataclass
from typing import ClassVar

import jax.numpy as jnp
from jax.typing import ArrayLike
from jaxtyping import Array, Float

from semrsm_jax import _checks
from semrsm_jax.comparison._hsic import (
    check_rsms,
    hsic,
    inner_product,
    unit_scale,
    weighted_product,
)
from semrsm_jax.comparison.grouping import DROP, SampleGroups, groups_apart
from semrsm_jax.comparison.measure import GroupedMeasure, Measure


def cka(
    K: ArrayLike,
    L: ArrayLike,
    estimator: str = "biased",
    *,
    counts: ArrayLike | None = None,
    groups: ArrayLike | SampleGroups | None = None,
) -> Float[Array, ""]:
    """How similar two similarity structures over the same samples are, Eq. 2.

    HSIC(K, L) / sqrt(HSIC(K, K) HSIC(L, L)). Neither a positive factor of K or L nor a
    constant added to them changes it.

    Args:
      K: RSM (N, N); it need be neither symmetric nor positive semi-definite.
      L: RSM (N, N) of the same samples in the same order. What `load_rsm` and
        `open_similarity` of `semrsm_jax.store` return is brought into one order by ids.
      estimator: of HSIC, ``"biased"`` or ``"unbiased"``, see `hsic`.
      counts: (N,), how often each sample counts, as in a bootstrap. Biased: whole
        counts give the CKA of both RSMs with their samples repeated. Unbiased: a sample
        paired with a copy of itself is left out, which keeps the estimate unbiased.
      groups: (N,) integers or text, equal for samples that depend on each other, as
        crops of one photograph do: pairs within a group are left out, which needs the
        unbiased estimator. None: each sample is alone. Resamples give a `SampleGroups`.

    Returns:
      A scalar; 1 for equal structures, 0 where an RSM is constant and so has none. It
      is never clamped: an unbiased estimate may leave [-1, 1], and is NaN where the
      estimate of HSIC(K, K) or HSIC(L, L) is negative, which an RSM that is not
      symmetric can cause.

    Raises:
      TypeError: an RSM is not real, or groups are neither integers nor text.
      ValueError: as `hsic`, counts that are negative or of another shape, or groups
        with the biased estimator, of another shape, or fewer than 4.

    References:
      Kornblith et al., "Similarity of neural network representations revisited", 2019.

    Examples:
      >>> import numpy as np
      >>> from semrsm_jax import cka
      >>> X = np.random.default_rng(0).normal(size=(50, 8))
      >>> K, rescaled = X @ X.T, 3 * X @ X.T + 1
      >>> print(f"{cka(K, rescaled):.4f}")
      1.0000
      >>> noise = np.random.default_rng(1).normal(size=(50, 200))
      >>> L = noise @ noise.T  # unrelated, of more features than samples
      >>> bool(cka(K, L) > 0.3), bool(abs(cka(K, L, "unbiased")) < 0.1)
      (True, True)
    """
    return CKA(estimator)(K, L, counts=counts, groups=groups)


@dataclass(frozen=True)
class CKA(GroupedMeasure):
    """Centered kernel alignment, see `cka` (Kornblith et al. 2019).

    Attributes:
      estimator: of HSIC. The unbiased one is the default, other than in `cka`: an
        interval around an estimate that is biased by more than its width covers
        nothing.
    """

    estimator: str = "unbiased"

    undefined: ClassVar[None] = None

    def __post_init__(self) -> None:
        """Raises ValueError for an unknown estimator."""
        _checks.estimator(self.estimator)

    def checked(self, K: ArrayLike, L: ArrayLike) -> tuple[Array, Array]:
        """Converts both RSMs; raises as `cka`."""
        return check_rsms(K, L, self.estimator, shift=True, scale=True)

    def checked_groups(
        self, groups: ArrayLike | SampleGroups | None, samples: int
    ) -> SampleGroups | None:
        """Groups whose pairs are left out, by the unbiased estimator; as `cka`."""
        groups = groups_apart(groups, samples, 4, " for the unbiased estimator")
        if groups is None or self.estimator == "unbiased":
            return groups
        if groups.within == DROP:
            raise ValueError(
                "estimator must be 'unbiased' where pairs within groups are left out, "
                "got 'biased', which counts each sample with itself"
            )
        # A biased estimate repeats samples, and so counts all pairs.
        return None

    def before_counts(
        self, K: Float[Array, "N N"], groups: SampleGroups | None = None
    ) -> Float[Array, "N N"]:
        """The centered RSM."""
        groups = self.checked_groups(groups, len(K))
        return unit_scale(K, self.estimator, groups)[0]

    def counted_entries(self, K: Float[Array, "N N"]) -> int:
        """One row: quadratic forms in the counts become products of matrices."""
        return len(K)

    def prepared(
        self,
        K: Float[Array, "N N"],
        counts: Float[Array, " N"] | None = None,
        groups: SampleGroups | None = None,
    ) -> Float[Array, "N N"]:
        """The centered RSM, of norm 1 where each sample counts once; 0 if constant."""
        del groups
        if counts is not None:
            return K
        own = inner_product(K, K, self.estimator)
        return jnp.where(own != 0, K / jnp.sqrt(jnp.where(own != 0, own, 1)), 0)

    def between(
        self,
        P: Float[Array, "N N"],
        Q: Float[Array, "N N"],
        counts: Float[Array, " N"] | None = None,
        groups: SampleGroups | None = None,
    ) -> Float[Array, ""]:
        """The inner product, divided by the norms where samples are counted."""
        if counts is None:
            return inner_product(P, Q, self.estimator)
        groups = self.checked_groups(groups, len(P))
        return counted_cka(P, Q, counts, groups, self.estimator)


@dataclass(frozen=True)
class HSIC(Measure):
    """The Hilbert-Schmidt independence criterion (Gretton et al. 2005), see `hsic`.

    It has no scale, and so no interval.

    Attributes:
      estimator: ``"unbiased"`` or ``"biased"``.
    """

    estimator: str = "unbiased"

    scales: ClassVar[bool] = False

    def __post_init__(self) -> None:
        """Raises ValueError for an unknown estimator."""
        _checks.estimator(self.estimator)

    def __call__(
        self, K: ArrayLike, L: ArrayLike, *, counts: ArrayLike | None = None
    ) -> Float[Array, ""]:
        """The HSIC of K and L; ValueError with counts."""
        if counts is not None:
            raise ValueError("HSIC has no scale and no interval; take CKA for one")
        return hsic(K, L, self.estimator)

    def checked(self, K: ArrayLike, L: ArrayLike) -> tuple[Array, Array]:
        """Converts both RSMs; raises as `hsic`."""
        return check_rsms(K, L, self.estimator, shift=True)

    def between(
        self,
        P: Float[Array, "N N"],
        Q: Float[Array, "N N"],
        counts: Float[Array, " N"] | None = None,
    ) -> Float[Array, ""]:
        """The HSIC; ValueError with counts."""
        return self(P, Q, counts=counts)


def counted_cka(
    K: Float[Array, "N N"],
    L: Float[Array, "N N"],
    counts: Float[Array, " N"],
    groups: SampleGroups | None,
    estimator: str,
) -> Float[Array, ""]:
    """CKA of centered RSMs, each sample counting so often."""
    pairs = (K, L), (K, K), (L, L)
    return ratio(*(weighted_product(a, b, counts, estimator, groups) for a, b in pairs))


def inner_products(
    K: Float[Array, "N N"], L: Float[Array, "N N"], estimator: str
) -> tuple[Float[Array, ""], Float[Array, ""], Float[Array, ""]]:
    """<K, L'>, <K, K'> and <L, L'> of centered RSMs."""
    cross, own_k, own_l = (
        inner_product(a, b, estimator) for a, b in ((K, L), (K, K), (L, L))
    )
    return cross, own_k, own_l


def ratio(
    cross: Float[Array, ""], own_k: Float[Array, ""], own_l: Float[Array, ""]
) -> Float[Array, ""]:
    """CKA from its three parts; 0 where an RSM is constant, and so its own part 0."""
    structured = (own_k != 0) & (own_l != 0)
    own_k, own_l = (jnp.where(structured, own, 1) for own in (own_k, own_l))
    return jnp.where(structured, cross / (jnp.sqrt(own_k) * jnp.sqrt(own_l)), 0)
