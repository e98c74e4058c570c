"""Statistics of two RSMs, to be tested or given an interval.

Any hashable function of two RSMs and counts is one. A `Measure` is one that says more:
how each argument is prepared once for many comparisons, and whether it takes features
in place of RSMs. What follows from that is decided here.
"""

import inspect
from dataclasses import dataclass
from typing import Any, Protocol, TypeGuard

import jax
import jax.numpy as jnp
from jax.typing import ArrayLike
from jaxtyping import Array, Float, Int

from semrsm_jax import _checks
from semrsm_jax.comparison._cka import checked_groups, cka, counted_cka, normalized
from semrsm_jax.comparison._hsic import check_rsms, hsic, inner_product, unit_scale
from semrsm_jax.comparison._rsa import (
    METHODS,
    OF_ORIGIN,
    UNIT_METHODS,
    rsa,
    symmetric_pairs,
    unit_pairs,
)
from semrsm_jax.comparison.correlation import order_of, spearman_of_orders
from semrsm_jax.comparison.grouping import DROP, SampleGroups, pair_counts
from semrsm_jax.comparison.measure import Measure
from semrsm_jax.comparison.narrowing import where_known


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
    """Centered kernel alignment, see `cka` (Kornblith et al. 2019).

    Attributes:
      estimator: of HSIC. The unbiased one is the default, other than in `cka`: an
        interval around an estimate that is biased by more than its width covers
        nothing.
    """

    estimator: str = "unbiased"

    def __post_init__(self) -> None:
        """Raises ValueError for an unknown estimator."""
        _checks.estimator(self.estimator)

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
    """The Hilbert-Schmidt independence criterion (Gretton et al. 2005), see `hsic`.

    It has no scale, and so no interval.

    Attributes:
      estimator: ``"unbiased"`` or ``"biased"``.
    """

    estimator: str = "unbiased"

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


@dataclass(frozen=True)
class RSA:
    """A correlation of the off-diagonals, see `rsa` (Kriegeskorte et al. 2008).

    With a matrix of Jensen-Shannon divergences as L and ``"pearson"`` it is the
    correlation of similarity with output similarity.

    Attributes:
      method: ``"pearson"``, ``"spearman"``, ``"kendall_tau_a"``, ``"kendall_tau_b"``,
        ``"cosine"``, ``"whitened_cosine"`` or ``"whitened_pearson"``, see `rsa`.
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
    of_hsic = isinstance(statistic, CKA | HSIC)
    estimator = statistic.estimator if of_hsic else "biased"
    return check_rsms(K, L, estimator, **freedoms(statistic))


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
    """An argument, or a stack of RSMs, as `compare_prepared` takes it.

    A permutation of the samples permutes those of what is prepared.
    """
    if K.ndim == 3 and not is_of_features(statistic):
        return jax.vmap(lambda each: prepared(statistic, each, groups))(K)
    if isinstance(statistic, CKA):
        groups = checked_groups(groups, len(K), statistic.estimator)
        return where_known(normalized(K, statistic.estimator, groups), K)
    if _is_product(statistic):
        return unit_pairs(K, statistic.method, groups)
    if isinstance(statistic, Measure):
        of_groups = by_groups(statistic, groups)
        return statistic.prepared(statistic.before_counts(K), **of_groups)
    return K


def compare_prepared(
    statistic: Statistic, P: Array, Q: Array, groups: SampleGroups | None = None
) -> Float[Array, ""]:
    """The statistic of two prepared arguments."""
    if isinstance(statistic, CKA):
        return inner_product(P, Q, statistic.estimator)
    if _is_product(statistic):
        return jnp.sum(P * Q)
    of_groups = by_groups(statistic, groups)
    if isinstance(statistic, Measure):
        return statistic.between(P, Q, **of_groups)
    return statistic(P, Q, **of_groups)


def _is_product(statistic: Statistic) -> TypeGuard[RSA]:
    return isinstance(statistic, RSA) and statistic.method in UNIT_METHODS


def before_counts(
    statistic: Statistic, K: Array, groups: SampleGroups | None = None
) -> Any:
    """An argument as `compare_counted` takes it, computed once for all counts."""
    if isinstance(statistic, CKA):
        groups = checked_groups(groups, len(K), statistic.estimator)
        return unit_scale(K, statistic.estimator, groups)[0]
    if isinstance(statistic, Measure):
        return statistic.before_counts(K)
    return order_of(symmetric_pairs(K)) if statistic == RSA("spearman") else K


def compare_counted(
    statistic: Statistic,
    P: Any,
    Q: Any,
    counts: Float[Array, " N"],
    groups: SampleGroups | None = None,
) -> Float[Array, ""]:
    """The statistic of two such arguments, each sample counting so often."""
    if isinstance(statistic, CKA):
        groups = checked_groups(groups, len(P), statistic.estimator)
        return counted_cka(P, Q, counts, groups, statistic.estimator)
    of_groups = by_groups(statistic, groups)
    if isinstance(statistic, Measure):
        P, Q = (statistic.prepared(each, counts, **of_groups) for each in (P, Q))
        return statistic.between(P, Q, counts, **of_groups)
    if statistic == RSA("spearman"):
        return spearman_of_orders(P, Q, pair_counts(counts, groups))
    return statistic(P, Q, counts=counts, **of_groups)


def entries_of_counts(statistic: Statistic, K: Array) -> int:
    """How many entries `compare_counted` computes with for each of many counts."""
    # Quadratic forms in the counts become products of matrices.
    return len(K) if isinstance(statistic, CKA) else K.size


def permuted(
    statistic: Statistic, Q: Float[Array, "*Q"], order: Int[Array, " N"]
) -> Float[Array, "*Q"]:
    """A prepared argument with its samples in another order."""
    if is_of_features(statistic):
        return Q[order]
    # Rows, then columns: half the time of both at once on a CPU.
    return Q[..., order, :][..., order]
