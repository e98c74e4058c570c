"""Statistics of two RSMs, to be tested or given an interval.

Any hashable function of two RSMs and counts is one. A `Measure` is one that says more:
how each argument is prepared once for many comparisons, and whether it takes features
in place of RSMs. What follows from that is decided here.
"""

import inspect
from dataclasses import dataclass
from functools import partial
from typing import Any, Protocol

import jax
from jax.typing import ArrayLike
from jaxtyping import Array, Float, Int

from semrsm_jax import _checks
from semrsm_jax.comparison._cka import cka
from semrsm_jax.comparison._hsic import check_rsms, hsic
from semrsm_jax.comparison._rsa import METHODS, OF_ORIGIN, pair_ranks, rsa
from semrsm_jax.comparison.grouping import DROP, SampleGroups
from semrsm_jax.comparison.measure import Measure


class Statistic(Protocol):
    """A number that two RSMs over the same samples have: a pure, hashable function.

    One that compares by value, as a frozen dataclass does, is compiled once. One that
    also takes ``groups``, a `SampleGroups` or None, can leave out the pairs within
    groups, and counts them once for each time that their group is drawn.
    """

    def __call__(
        self, K: ArrayLike, L: ArrayLike, *, counts: ArrayLike | None = None
    ) -> Float[Array, ""]:
        """The statistic, each sample counting so often; permutations give no counts."""
        ...


def takes_groups(statistic: Statistic) -> bool:
    """Whether a statistic takes the groups of the samples."""
    return "groups" in inspect.signature(statistic).parameters


def by_groups(statistic: Statistic, groups: SampleGroups | None) -> dict[str, Any]:
    """The argument by which a statistic gets the groups; none where it needs none.

    Raises:
      ValueError: pairs within groups are to be left out, and it cannot.
    """
    if groups is None:
        return {}
    if takes_groups(statistic):
        return {"groups": groups}
    if groups.within == DROP:
        raise ValueError(
            f"within_groups='drop' needs a statistic that takes groups, as CKA(), "
            f"RSA(), MutualKNN() and LinearPredictivity() do, got {statistic!r}"
        )
    return {}


@dataclass(frozen=True)
class CKA:
    """Centered kernel alignment, see `cka`.

    Attributes:
      estimator: of HSIC. The unbiased one is the default, other than in `cka`: an
        interval around an estimate that is biased by more than its width covers
        nothing.

    References:
      Kornblith et al., "Similarity of neural network representations revisited",
      2019; the unbiased HSIC is that of Song et al., 2012.
    """

    estimator: str = "unbiased"

    def __call__(
        self,
        K: ArrayLike,
        L: ArrayLike,
        *,
        counts: ArrayLike | None = None,
        groups: ArrayLike | SampleGroups | None = None,
    ) -> Float[Array, ""]:
        """The CKA of K and L."""
        return cka(K, L, self.estimator, counts=counts, groups=groups)


@dataclass(frozen=True)
class HSIC:
    """The Hilbert-Schmidt independence criterion, see `hsic`; it has no interval.

    Attributes:
      estimator: ``"unbiased"`` or ``"biased"``.

    References:
      Gretton et al., "Measuring statistical dependence with Hilbert-Schmidt norms",
      2005; the unbiased one is that of Song et al., 2012.
    """

    estimator: str = "unbiased"

    def __call__(
        self, K: ArrayLike, L: ArrayLike, *, counts: ArrayLike | None = None
    ) -> Float[Array, ""]:
        """The HSIC of K and L; ValueError with counts."""
        if counts is not None:
            raise ValueError("HSIC has no scale and no interval; take CKA for one")
        return hsic(K, L, self.estimator)


@dataclass(frozen=True)
class RSA:
    """A correlation of the off-diagonals, see `rsa`.

    With a matrix of Jensen-Shannon divergences as L and ``"pearson"`` it is the
    correlation of similarity with output similarity.

    Attributes:
      method: ``"pearson"``, ``"spearman"``, ``"kendall_tau_a"``, ``"kendall_tau_b"``,
        ``"cosine"``, ``"whitened_cosine"`` or ``"whitened_pearson"``, see `rsa`.

    References:
      Kriegeskorte et al., "Representational similarity analysis", 2008.
    """

    method: str = "spearman"

    def __post_init__(self) -> None:
        """Raises ValueError for an unknown method."""
        _checks.one_of("method", self.method, tuple(METHODS))

    def __call__(
        self,
        K: ArrayLike,
        L: ArrayLike,
        *,
        counts: ArrayLike | None = None,
        groups: ArrayLike | SampleGroups | None = None,
    ) -> Float[Array, ""]:
        """The correlation of K and L."""
        return rsa(K, L, self.method, counts=counts, groups=groups)


def is_of_features(statistic: Statistic) -> bool:
    """Whether a statistic takes features (N, ...) in place of RSMs."""
    return isinstance(statistic, Measure) and statistic.of_features


def is_distance(statistic: Statistic) -> bool:
    """Whether it is smaller where both arguments are more similar."""
    return isinstance(statistic, Measure) and statistic.is_distance


def check_arguments(
    statistic: Statistic, K: ArrayLike, L: ArrayLike
) -> tuple[Array, Array]:
    """Converts the arguments of a statistic; raises as it does."""
    if isinstance(statistic, Measure):
        return statistic.checked(K, L)
    return check_rsms(K, L, **freedoms(statistic))


def freedoms(statistic: Statistic) -> dict[str, Any]:
    """Which changes of an RSM do not change the statistic, as `to_device` takes it."""
    if isinstance(statistic, Measure):
        return {"shift": statistic.shifts, "scale": statistic.scales}
    of_origin = isinstance(statistic, RSA) and statistic.method in OF_ORIGIN
    shift = isinstance(statistic, CKA | HSIC | RSA) and not of_origin
    return {"shift": shift, "scale": isinstance(statistic, CKA | RSA)}


def prepared(
    statistic: Statistic,
    K: Float[Array, "*R N N"] | Float[Array, "N C"],
    groups: SampleGroups | None = None,
) -> Float[Array, "*P"]:
    """An argument, or a stack of RSMs, as `compare_prepared` takes it."""
    if statistic == RSA("spearman"):
        # A permutation of samples permutes the ranks of their pairs.
        return pair_ranks(K, groups)
    if not isinstance(statistic, Measure):
        return K
    prepare = partial(statistic.prepared, **by_groups(statistic, groups))
    return jax.vmap(prepare)(K) if K.ndim == 3 else prepare(K)


def compare_prepared(
    statistic: Statistic, P: Array, Q: Array, groups: SampleGroups | None = None
) -> Float[Array, ""]:
    """The statistic of two prepared arguments."""
    if isinstance(statistic, Measure):
        return statistic.between(P, Q, **by_groups(statistic, groups))
    of_ranks = statistic == RSA("spearman")
    compared = RSA("pearson") if of_ranks else statistic
    return compared(P, Q, **by_groups(compared, groups))


def permuted(
    statistic: Statistic, Q: Float[Array, "*Q"], order: Int[Array, " N"]
) -> Float[Array, "*Q"]:
    """A prepared argument with its samples in another order."""
    if is_of_features(statistic):
        return Q[order]
    return Q[..., order[:, None], order[None, :]]
