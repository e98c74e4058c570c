"""Statistics of two RSMs, to be tested or given an interval.

Any hashable function of two RSMs and counts is one. A `Measure` is one that says more:
how each argument is prepared once for many comparisons, and whether it takes features
in place of RSMs. What follows from that is decided here.
"""

import inspect
from typing import Any, Protocol

import jax
from jax.typing import ArrayLike
from jaxtyping import Array, Float, Int

from semrsm_jax.comparison._hsic import check_rsms
from semrsm_jax.comparison.grouping import DROP, SampleGroups
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
    return check_rsms(K, L)


def freedoms(statistic: Statistic) -> dict[str, bool]:
    """Which changes of an RSM do not change the statistic, as `to_device` takes it."""
    if isinstance(statistic, Measure):
        return {"shift": statistic.shifts, "scale": statistic.scales}
    return {"shift": False, "scale": False}


def prepared(
    statistic: Statistic,
    K: Float[Array, "*R N N"] | Float[Array, "N C"],
    groups: SampleGroups | None = None,
) -> Float[Array, "*P"]:
    """An argument, or a stack of RSMs, as `compare_prepared` takes it.

    A permutation of the samples permutes those of what is prepared.
    """
    if not isinstance(statistic, Measure):
        return K
    if K.ndim == 3 and not statistic.of_features:
        return jax.vmap(lambda each: prepared(statistic, each, groups))(K)
    of_groups = by_groups(statistic, groups)
    before = statistic.before_counts(K, **of_groups)
    return where_known(statistic.prepared(before, **of_groups), K)


def compare_prepared(
    statistic: Statistic, P: Array, Q: Array, groups: SampleGroups | None = None
) -> Float[Array, ""]:
    """The statistic of two prepared arguments."""
    compare = statistic.between if isinstance(statistic, Measure) else statistic
    return compare(P, Q, **by_groups(statistic, groups))


def before_counts(
    statistic: Statistic, K: Array, groups: SampleGroups | None = None
) -> Any:
    """An argument as `compare_counted` takes it, computed once for all counts."""
    if not isinstance(statistic, Measure):
        return K
    return statistic.before_counts(K, **by_groups(statistic, groups))


def compare_counted(
    statistic: Statistic,
    P: Any,
    Q: Any,
    counts: Float[Array, " N"],
    groups: SampleGroups | None = None,
) -> Float[Array, ""]:
    """The statistic of two such arguments, each sample counting so often."""
    of_groups = by_groups(statistic, groups)
    if not isinstance(statistic, Measure):
        return statistic(P, Q, counts=counts, **of_groups)
    P, Q = (statistic.prepared(each, counts, **of_groups) for each in (P, Q))
    return statistic.between(P, Q, counts, **of_groups)


def entries_of_counts(statistic: Statistic, K: Array) -> int:
    """How many entries `compare_counted` computes with for each of many counts."""
    return statistic.counted_entries(K) if isinstance(statistic, Measure) else K.size


def permuted(
    statistic: Statistic, Q: Float[Array, "*Q"], order: Int[Array, " N"]
) -> Float[Array, "*Q"]:
    """A prepared argument with its samples in another order."""
    if is_of_features(statistic):
        return Q[order]
    # Rows, then columns: half the time of both at once on a CPU.
    return Q[..., order, :][..., order]
