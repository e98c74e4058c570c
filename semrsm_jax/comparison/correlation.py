"""Correlations of two vectors, each entry with a weight where one is given.

All of them take vectors (P,) of one real dtype, checked by the caller. A weight is how
often an entry counts; without weights each counts once, and the values are SciPy's. A
vector that is constant up to rounding has no correlation: NaN, as in SciPy.
"""

from functools import partial
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, Float, Int

Vector = Float[Array, " P"]


class Order(NamedTuple):
    """The order of the entries of a vector; no weights change it."""

    ascending: Int[Array, " P"]  # the places of the entries, from the smallest
    before: Int[Array, " P"]  # how many entries are smaller than each
    through: Int[Array, " P"]  # how many are smaller or equal


def pearson(a: Vector, b: Vector, weights: Vector | None = None) -> Float[Array, ""]:
    """Pearson's product-moment correlation."""
    return _total(of_pearson(a, weights) * of_pearson(b, weights), weights)


def spearman(a: Vector, b: Vector, weights: Vector | None = None) -> Float[Array, ""]:
    """Spearman's correlation: Pearson's of the ranks, ties given their mean rank."""
    return _total(of_spearman(a, weights) * of_spearman(b, weights), weights)


@jax.custom_batching.sequential_vmap
def spearman_of_orders(a: Order, b: Order, weights: Vector) -> Float[Array, ""]:
    """Spearman's correlation of vectors whose order is known.

    Under `jax.vmap` one after another: side by side they do not stay in a cache.
    """
    one, other = (_of_ranks(ranks_in(order, weights), weights) for order in (a, b))
    return _total(one * other, weights)


def cosine(a: Vector, b: Vector, weights: Vector | None = None) -> Float[Array, ""]:
    """Cosine of the angle between both vectors; NaN where one is zero."""
    return _total(of_cosine(a, weights) * of_cosine(b, weights), weights)


def of_pearson(v: Vector, weights: Vector | None = None) -> Vector:
    """The vector of weighted norm 1 whose product with another one is Pearson's."""
    return _unit(_centered(_scaled(v, weights), weights), weights)


def of_spearman(v: Vector, weights: Vector | None = None) -> Vector:
    """The vector of weighted norm 1 whose product with another one is Spearman's."""
    return _of_ranks(average_ranks(v, weights), weights)


def of_cosine(v: Vector, weights: Vector | None = None) -> Vector:
    """The vector, of weighted norm 1."""
    return _unit(_scaled(v, weights), weights)


def _of_ranks(ranks: Vector, weights: Vector | None) -> Vector:
    # Squares of ranks stay in the range of float32 as they are.
    return _unit(_centered(ranks, weights), weights)


def _scaled(v: Vector, weights: Vector | None) -> Vector:
    """Largest entry that counts 1, so that squares stay in the range of float32."""
    v = v if weights is None else jnp.where(weights > 0, v, 0)
    return v / jax.lax.stop_gradient(jnp.max(jnp.abs(v)))


def _unit(v: Vector, weights: Vector | None) -> Vector:
    return v / jnp.sqrt(_total(v * v, weights))


def kendall_tau_a(
    a: Vector, b: Vector, weights: Vector | None = None
) -> Float[Array, ""]:
    """Kendall's tau-a: concordant less discordant pairs, as a share of all pairs.

    It is not corrected for ties, so that a vector with ties stays below 1; a constant
    vector gives 0.
    """
    difference, total, _, _ = _kendall(a, b, weights)
    return difference / total


def kendall_tau_b(
    a: Vector, b: Vector, weights: Vector | None = None
) -> Float[Array, ""]:
    """Kendall's tau-b, corrected for ties, as in SciPy."""
    difference, total, tied_a, tied_b = _kendall(a, b, weights)
    untied = jnp.sqrt(total - tied_a) * jnp.sqrt(total - tied_b)
    return jnp.where(untied > 0, difference / untied, jnp.nan)


def average_ranks(v: Vector, weights: Vector | None = None) -> Vector:
    """Ranks from 1/2 up, each tied entry with the mean rank of its group."""
    return ranks_in(order_of(v), _weights(v, weights))


def order_of(v: Vector) -> Order:
    """The order of the entries of a vector."""
    ascending = jnp.argsort(v)
    before, through = _runs(_differs(v[ascending]))
    places = jnp.arange(v.size)
    place = jnp.zeros_like(places).at[ascending].set(places, unique_indices=True)
    return Order(ascending, before[place], through[place])


def ranks_in(order: Order, weights: Vector) -> Vector:
    """Ranks of the entries in this order, as `average_ranks`."""
    total = _running_sum(weights[order.ascending])
    return (total[order.before] + total[order.through]) / 2


def _running_sum(weights: Vector) -> Float[Array, " P+1"]:
    """The weight of the first p entries, p from 0 to P."""
    # On a CPU much faster than `jax.numpy.cumsum`.
    sums = jax.lax.associative_scan(jnp.add, weights)
    return jnp.concatenate([jnp.zeros(1, sums.dtype), sums])


def _differs(v: Vector) -> Bool[Array, " P-1"]:
    """Whether each entry but the first differs from the one before."""
    return v[1:] != v[:-1]


def _runs(differs: Bool[Array, " P-1"]) -> tuple[Int[Array, " P"], Int[Array, " P"]]:
    """Where the run of equal neighbors that holds each entry begins, and its end."""
    size, end = differs.size + 1, jnp.ones(1, bool)
    places = jnp.arange(size)
    starts, ends = jnp.concatenate([end, differs]), jnp.concatenate([differs, end])
    before = jax.lax.cummax(jnp.where(starts, places, 0))
    through = jax.lax.cummin(jnp.where(ends, places + 1, size), reverse=True)
    return before, through


def _weights(v: Vector, weights: Vector | None) -> Vector:
    return jnp.ones_like(v) if weights is None else weights


def _total(v: Vector, weights: Vector | None) -> Float[Array, ""]:
    return jnp.sum(v if weights is None else weights * v)


def _centered(v: Vector, weights: Vector | None) -> Vector:
    """The vector less its mean; NaN where only rounding is left of it."""
    raw, share = jnp.max(jnp.abs(v)), _weights(v, weights)
    # Twice: the second time takes off the rounding of the first mean.
    for _ in range(2):
        v = v - _total(v, weights) / jnp.sum(share)
    left = jnp.max(jnp.abs(v), where=share > 0, initial=0)
    constant = left <= 8 * jnp.finfo(v.dtype).eps * raw
    return jnp.where(constant, jnp.nan, v)


@partial(jax.jit, inline=True)
def _kendall(
    a: Vector, b: Vector, weights: Vector | None
) -> tuple[Float[Array, ""], ...]:
    """Concordant less discordant pairs, all pairs, and those tied in a and in b.

    Each pair of entries counts with the product of its weights. In order of a (ties in
    order of b) the discordant pairs are the inversions of b: Knight 1966.
    """
    order, size = jnp.lexsort((b, a)), a.size
    a, b = a[order], b[order]
    of_b, new_a, new_b = order_of(b), _differs(a), _differs(b)
    if weights is None:
        # Places are exact, where a sum in float32 stops at 2^24.
        ordered = by_b = jnp.arange(size + 1)
        weights = jnp.ones_like(a)
    else:
        weights = weights[order]
        ordered = _running_sum(weights)
        by_b = _running_sum(weights[of_b.ascending])

    def tied(sums: Vector, before: Any, through: Any) -> Float[Array, ""]:
        """The weight of all pairs of equal entries."""
        return jnp.sum(weights * (sums[through] - sums[before] - weights)) / 2

    total, tied_a, tied_both = (
        tied(ordered, *ends) for ends in ((0, size), _runs(new_a), _runs(new_a | new_b))
    )
    tied_b = tied(by_b, of_b.before, of_b.through)
    discordant = _inversions(of_b.before, weights)
    difference = total - tied_a - tied_b + tied_both - 2 * discordant
    return difference, total, tied_a, tied_b


def _inversions(ranks: Int[Array, " P"], weights: Vector) -> Float[Array, ""]:
    """Total weight of the pairs p < q with ranks[p] > ranks[q], in O(P log P).

    From the highest bit of the ranks down, entries stand sorted by the bits above it,
    else in their given order. Two entries of a group, alike in those bits, are inverted
    by this bit where a one comes before a zero; then each group is parted by the bit.
    """
    size = ranks.size
    bits = max(1, (size - 1).bit_length())
    # below[v]: how many ranks are less than v; where the group of v begins.
    counts = jnp.zeros(2**bits, int).at[ranks].add(1)
    below = jnp.concatenate([jnp.zeros(1, int), jnp.cumsum(counts)])
    places = jnp.arange(size)

    def part(step: int, state: tuple[Array, Array, Array]):
        ranks, weights, total = state
        bit = bits - 1 - step
        one = (ranks >> bit) & 1
        group = ranks >> (bit + 1)
        start, middle = below[group << (bit + 1)], below[((group << 1) | 1) << bit]

        def before(values: Array) -> Array:
            """Sums of the values of earlier entries of the same group."""
            sums = jnp.concatenate([jnp.zeros(1, values.dtype), jnp.cumsum(values)])
            return sums[:-1] - sums[start]

        total = total + jnp.sum(weights * (1 - one) * before(weights * one))
        ones = before(one)
        to = jnp.where(one == 1, middle + ones, places - ones)
        ranks, weights = (
            jnp.zeros_like(v).at[to].set(v, unique_indices=True)
            for v in (ranks, weights)
        )
        return ranks, weights, total

    state = ranks, weights, jnp.zeros((), weights.dtype)
    return jax.lax.fori_loop(0, bits, part, state)[2]
