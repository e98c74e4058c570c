"""Measures of nearest neighbors: whether two RSMs agree on which samples are close.

The neighbors of a sample are the k others of largest similarity. Where several tie for
the last places, each has its share of them: `MutualKNN` is the mean over all orders in
which the ties of both RSMs could be broken, and of an RSM of equal entries at chance;
`Jaccard` takes the mean number of common neighbors.
Crops of one photograph are each other's neighbors in any network: with their groups,
neighbors are taken from other groups, or counted once where a group is drawn twice.
"""

from abc import abstractmethod
from dataclasses import dataclass
from typing import ClassVar, NamedTuple

import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, Float, Int

from semrsm_jax import _checks
from semrsm_jax.comparison.grouping import KEEP, SampleGroups
from semrsm_jax.comparison.measure import GroupedMeasure, Measure


class OrderedRows(NamedTuple):
    """An RSM and the order of the entries of each row."""

    values: Float[Array, "N N"]
    descending: Int[Array, "N N"]  # the columns of each row, from the largest entry


@dataclass(frozen=True)
class _Neighborhoods(Measure):
    k: int = 10

    is_smooth: ClassVar[bool] = False
    undefined: ClassVar[str] = (
        "a sample has fewer than k others that count, of other groups"
    )

    def __post_init__(self) -> None:
        """Raises TypeError or ValueError for a `k` that is not a positive integer."""
        _checks.at_least("k", self.k, 1)

    def check_size(self, samples: int) -> None:
        """Raises ValueError where a sample has fewer than k others."""
        if samples <= self.k:
            raise ValueError(
                f"k must be less than the number of samples, got k {self.k} and "
                f"{samples} samples"
            )

    def before_counts(
        self, K: Array, groups: SampleGroups | None = None
    ) -> OrderedRows:
        """The RSM, and for each sample all others from the nearest on."""
        del groups
        return OrderedRows(K, jnp.argsort(K, axis=1, descending=True))

    def prepared(
        self,
        K: OrderedRows,
        counts: Array | None = None,
        groups: SampleGroups | None = None,
    ) -> Array:
        """(N, N), the share of sample j that is among the k nearest of sample i."""
        return neighbor_shares(K, self.k, counts, groups)


@dataclass(frozen=True)
class _NeighborSets(_Neighborhoods, GroupedMeasure):
    def between(
        self,
        P: Array,
        Q: Array,
        counts: Array | None = None,
        groups: SampleGroups | None = None,
    ) -> Array:
        """The mean over samples of the share that their common neighbors are."""
        times = _multiplicity(len(P), P.dtype, counts, groups)
        return _mean(self._share(jnp.sum(P * Q * times, axis=1)), counts)

    @abstractmethod
    def _share(self, common: Float[Array, " N"]) -> Float[Array, " N"]:
        """Of samples with so many neighbors that are neighbors in both RSMs."""


@dataclass(frozen=True)
class MutualKNN(_NeighborSets):
    """The share of the k nearest neighbors that two RSMs have in common.

    The mean over samples of |N_k(i) and M_k(i)| / k, in [0, 1]; unrelated RSMs have
    about k / (N - 1). A similarity is largest where samples are closest: take the
    negative of a distance.

    Attributes:
      k: nearest neighbors of each sample, itself left out; less than N.

    References:
      Huh et al., "The platonic representation hypothesis", 2024.

    Examples:
      >>> import numpy as np
      >>> from semrsm_jax import MutualKNN
      >>> X = np.random.default_rng(0).normal(size=(30, 4))
      >>> print(MutualKNN(k=5)(X @ X.T, 2 * X @ X.T))
      1.0
    """

    def _share(self, common: Array) -> Array:
        return common / self.k


@dataclass(frozen=True)
class Jaccard(_NeighborSets):
    """The Jaccard similarity of the sets of k nearest neighbors in two RSMs.

    The mean over samples of the share of N_k(i) or M_k(i) that is in both, in [0, 1].
    The ReSi benchmark takes neighbors by cosine: there, pass RSMs of that kernel.

    Attributes:
      k: nearest neighbors of each sample, itself left out; less than N.

    References:
      Wang et al., "Towards understanding the instability of network embedding", 2022;
      Klabunde et al., "ReSi: a comprehensive benchmark for representational similarity
      measures", 2024.
    """

    def _share(self, common: Array) -> Array:
        return common / (2 * self.k - common)


@dataclass(frozen=True)
class CKNNA(_Neighborhoods):
    """Centered kernel nearest-neighbor alignment: CKA of the common neighbors alone.

    CKA by the HSIC of Song et al. 2012, Eq. 5, of both RSMs with all entries set to 0
    but those (i, j) with j among the k nearest of i in both. This is what the authors'
    code computes, without the 1e-6 that it adds to the denominator, which would make
    the value depend on the scale of the features. With k = N - 1 it is unbiased CKA. A
    constant added to an RSM changes it.

    Attributes:
      k: nearest neighbors of each sample, itself left out; from 2, less than N.

    References:
      Huh et al., "The platonic representation hypothesis", 2024.
    """

    is_symmetric: ClassVar[bool] = False
    shifts: ClassVar[bool] = False
    undefined: ClassVar[str] = (
        "the alignment of one of them with itself is not positive; take a larger k"
    )

    def __post_init__(self) -> None:
        """Raises TypeError or ValueError for a `k` that is not an integer from 2."""
        _checks.at_least("k", self.k, 2)

    def check_size(self, samples: int) -> None:
        """Raises ValueError for fewer than 4 samples, or k others."""
        super().check_size(samples)
        if samples < 4:
            raise ValueError(f"{self} needs at least 4 samples, got {samples}")

    def prepared(self, K: OrderedRows, counts: Array | None = None) -> Array:
        """(2, N, N), the shares of neighbors, and the RSM."""
        return jnp.stack([super().prepared(K, counts), K.values])

    def between(self, P: Array, Q: Array, counts: Array | None = None) -> Array:
        """The aligned HSIC, divided by those of each RSM with itself."""
        (near_k, K), (near_l, L) = P, Q
        counts = jnp.ones(len(K), K.dtype) if counts is None else counts
        both = near_k * near_l
        cross, own_k, own_l = (
            _song_hsic(a, b, counts)
            for a, b in (
                (both * K, both * L),
                (near_k * K, near_k * K),
                (near_l * L, near_l * L),
            )
        )
        defined = (own_k > 0) & (own_l > 0)
        own = jnp.sqrt(jnp.where(defined, own_k, 1) * jnp.where(defined, own_l, 1))
        return jnp.where(defined, cross / own, jnp.nan)


def neighbor_shares(
    K: OrderedRows,
    k: int,
    counts: Float[Array, " N"] | None = None,
    groups: SampleGroups | None = None,
) -> Float[Array, "N N"]:
    """The share of sample j that is among the k nearest of sample i, in [0, 1].

    A sample that counts c times is c samples, none of which is a neighbor of its own
    copies. NaN for a sample with fewer than k others.
    """
    values, descending = K
    weights = _multiplicity(len(values), values.dtype, counts, groups)
    last, reached = _last_of_nearest(descending, k, jax.lax.stop_gradient(weights))
    threshold = jnp.take_along_axis(values, last[:, None], axis=1)
    above, tied = values > threshold, values == threshold
    inside, mass = (
        jnp.sum(jnp.where(each, weights, 0), axis=1, keepdims=True)
        for each in (above, tied)
    )
    shares = jnp.where(tied, (k - inside) / jnp.where(mass > 0, mass, 1), 0)
    shares = jnp.where(weights > 0, jnp.where(above, 1, shares), 0)
    return jnp.where(reached[:, None], shares, jnp.nan)


def _last_of_nearest(
    descending: Int[Array, "N N"], k: int, weights: Float[Array, "N N"]
) -> tuple[Int[Array, " N"], Bool[Array, " N"]]:
    """The sample that completes the k nearest of each, and whether there is one.

    From the nearest on, until all have k: a few steps, where sums of whole rows would
    be N.
    """
    n = len(descending)
    rows = jnp.arange(n)

    def step(state: tuple[Array, Array, Array]) -> tuple[Array, Array, Array]:
        place, total, last = state
        near = descending[:, place]
        last = jnp.where(total < k, near, last)
        return place + 1, total + weights[rows, near], last

    def unfinished(state: tuple[Array, Array, Array]) -> Array:
        place, total, _ = state
        return (place < n) & jnp.any(total < k)

    start = jnp.array(0), jnp.zeros(n, weights.dtype), descending[:, 0]
    _, total, last = jax.lax.while_loop(unfinished, step, start)
    return last, total >= k


def _multiplicity(
    n: int,
    dtype: jnp.dtype,
    counts: Float[Array, " N"] | None,
    groups: SampleGroups | None,
) -> Float[Array, "N N"]:
    """How often sample j may be a neighbor of sample i; 0 of itself.

    Within a group, that is once, for each copy of the group is apart, or never.
    """
    counts = jnp.ones(n, dtype) if counts is None else counts
    times = jnp.broadcast_to(counts, (n, n))
    if groups is not None:
        same = groups.members[:, None] == groups.members
        times = jnp.where(same, float(groups.within == KEEP), times)
    return jnp.where(jnp.eye(n, dtype=bool), 0, times)


def _mean(values: Float[Array, " N"], counts: Float[Array, " N"] | None) -> Array:
    """The mean over samples; one that does not count may be NaN."""
    if counts is None:
        return jnp.mean(values)
    return jnp.sum(jnp.where(counts > 0, counts * values, 0)) / jnp.sum(counts)


def _song_hsic(
    K: Float[Array, "N N"], L: Float[Array, "N N"], counts: Float[Array, " N"]
) -> Float[Array, ""]:
    """Song et al. 2012, Eq. 5, times n (n - 3), of zero diagonals; not symmetric."""
    n = jnp.sum(counts)
    with jax.default_matmul_precision("highest"):
        cross = counts @ ((K * L.T) @ counts)
        rows_k, rows_l, columns_k = K @ counts, L @ counts, counts @ K
        total = (counts @ rows_k) * (counts @ rows_l)
        middle = jnp.sum(counts * columns_k * rows_l)
    return cross + total / ((n - 1) * (n - 2)) - 2 * middle / (n - 2)
