"""An assignment solver in plain JAX: no callback, batched over pairs by `vmap`.

A forward auction in which a block of rows bids at a time, with epsilon scaling; where
it has not proven its answer, by rounding or because equal tokens outbid each other,
shortest augmenting paths finish from its prices. Works on a shifted affinity, see
`_dual`.
"""

from typing import NamedTuple

import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, Float, Int

# Rows that bid at a time: few enough that the last unassigned ones cost little, enough
# to fill an accelerator once pairs are batched.
_BIDDERS = 32

# Epsilon of the first phase, as a share of the range, and its ratio from phase to
# phase.
_FIRST_EPSILON, _SHRINK = 0.01, 0.2

# Rounds a phase, each of `_BIDDERS` bids, for every such block of rows. Equal tokens
# bid in steps of epsilon and would need far more; augmenting paths need one.
_ROUNDS_PER_BLOCK = 40


class _State(NamedTuple):
    prices: Float[Array, " n"]
    partner: Int[Array, " n"]  # the column of each row, -1: none
    owner: Int[Array, " n"]  # the row of each column, -1: none


def solve(
    shifted: Float[Array, "S T"], offset: Float[Array, ""], tolerance: float
) -> tuple[Int[Array, " S"], Float[Array, ""], Float[Array, " T"], Int[Array, ""]]:
    """Matches the rows of one shifted affinity, no entry negative, with its columns.

    Returns the permutation (S,), -1 for surplus rows; the bound on the shifted value;
    the prices (T,) that prove it; how many rounds of bids and steps of augmenting paths
    followed each other. `tolerance` is the relative gap at which to stop: of the value
    without `offset`, what the shift added to a complete matching.
    """
    rows, columns = shifted.shape
    size = max(rows, columns)
    # Rows or columns of zeros take what the other side has left over.
    square = jnp.pad(shifted, ((0, size - rows), (0, size - columns)))
    state, proven, rounds = _auction(square, offset, tolerance)
    state, steps = jax.lax.cond(
        proven, lambda s: (s, jnp.array(0)), lambda s: _augment(square, s), state
    )
    bound = _profits(square, state.prices).sum() + state.prices.sum()
    partner = state.partner[:rows]
    permutation = jnp.where(partner < columns, partner, -1)
    return permutation.astype(jnp.int32), bound, state.prices[:columns], rounds + steps


def _profits(affinity: Array, prices: Array) -> Array:
    return jnp.max(affinity - prices, axis=1)


def _auction(
    affinity: Array, offset: Array, tolerance: float
) -> tuple[_State, Bool[Array, ""], Int[Array, ""]]:
    """Phases of falling epsilon until the prices prove the matching, or cannot."""
    size = affinity.shape[0]
    spread = jnp.max(affinity) - jnp.min(affinity)
    # Below a few units in the last place, bids no longer raise a price.
    floor = 4 * jnp.finfo(affinity.dtype).eps * jnp.max(affinity)

    def phase(carry):
        state, epsilon, _, _, before = carry
        unmatched = jnp.full(size, -1, jnp.int32)
        start = _State(state.prices, unmatched, unmatched)
        state, rounds = _bidding(affinity, start, epsilon)
        complete = jnp.all(state.partner >= 0)
        value = jnp.take_along_axis(affinity, state.partner[:, None], axis=1).sum()
        bound = _profits(affinity, state.prices).sum() + state.prices.sum()
        proven = complete & (bound - value <= tolerance * jnp.abs(value - offset))
        return state, epsilon * _SHRINK, proven, complete, before + rounds

    def unfinished(carry):
        _, epsilon, proven, complete, _ = carry
        return ~proven & complete & (epsilon > floor)

    unmatched = jnp.full(size, -1, jnp.int32)
    # All columns are as good for the mean row then: what all want needs no bids.
    means = jnp.mean(affinity, axis=0)
    start = _State(means - jnp.min(means), unmatched, unmatched)
    carry = phase((start, _FIRST_EPSILON * spread, False, True, jnp.array(0)))
    state, _, proven, _, rounds = jax.lax.while_loop(unfinished, phase, carry)
    return state, proven, rounds


def _bidding(
    affinity: Array, state: _State, epsilon: Array
) -> tuple[_State, Int[Array, ""]]:
    """One phase: unassigned rows bid until none is left, or for so many rounds."""
    size = affinity.shape[0]
    bidders = min(_BIDDERS, size)
    most = _ROUNDS_PER_BLOCK * -(-size // bidders)

    def unfinished(carry):
        state, count = carry
        return jnp.any(state.partner < 0) & (count < most)

    def round_(carry):
        (prices, partner, owner), count = carry
        rows = jnp.nonzero(partner < 0, size=bidders, fill_value=size)[0]
        present = rows < size
        scores = affinity[jnp.minimum(rows, size - 1)] - prices
        best = jnp.argmax(scores, axis=1)
        first = jnp.max(scores, axis=1)
        rivals = jnp.where(jnp.arange(size) == best[:, None], -jnp.inf, scores)
        # A single column has no rival: its price need only rise by epsilon.
        second = jnp.where(size > 1, jnp.max(rivals, axis=1), first)
        bid = prices[best] + (first - second) + epsilon
        column = jnp.where(present, best, size)
        raised = prices.at[column].max(bid, mode="drop")
        # Of equal bids the first row's wins, so that the answer is unique.
        highest = present & (bid == raised[best])
        claim = (
            jnp.full(size, size)
            .at[column]
            .min(jnp.where(highest, rows, size), mode="drop")
        )
        won = highest & (claim[best] == rows)
        gained = jnp.where(won, best, size)
        evicted = owner[jnp.minimum(gained, size - 1)]
        evicted = jnp.where(won & (evicted >= 0), evicted, size)
        partner = partner.at[evicted].set(-1, mode="drop")
        winner = jnp.where(won, rows, size)
        partner = partner.at[winner].set(best.astype(jnp.int32), mode="drop")
        owner = owner.at[gained].set(rows.astype(jnp.int32), mode="drop")
        return _State(raised, partner, owner), count + 1

    return jax.lax.while_loop(unfinished, round_, (state, jnp.array(0)))


def _augment(affinity: Array, state: _State) -> tuple[_State, Int[Array, ""]]:
    """Shortest augmenting paths from prices and the pairs that they make tight.

    Jonker and Volgenant 1987; distances are reduced costs u_i + p_j - A_ij >= 0.
    """
    size = affinity.shape[0]
    profits = _profits(affinity, state.prices)
    chosen = jnp.take_along_axis(
        affinity, jnp.maximum(state.partner, 0)[:, None], axis=1
    )[:, 0]
    slack = profits - (chosen - state.prices[jnp.maximum(state.partner, 0)])
    tight = (state.partner >= 0) & (slack <= 0)
    partner = jnp.where(tight, state.partner, -1)
    row = jnp.arange(size, dtype=jnp.int32)
    owner = jnp.full(size, -1, jnp.int32)
    owner = owner.at[jnp.where(tight, partner, size)].set(row, mode="drop")

    def path(carry):
        (prices, partner, owner), profits, steps = carry
        # Under vmap a pair that is complete still runs along: nothing to search then.
        searching = jnp.any(partner < 0)
        source = jnp.argmax(partner < 0).astype(jnp.int32)

        def reach(search):
            distance, before, scanned, _, _, count = search
            near = jnp.argmin(jnp.where(scanned, jnp.inf, distance)).astype(jnp.int32)
            scanned = scanned.at[near].set(True)
            via = owner[near]
            through = distance[near] + profits[via] + prices - affinity[via]
            shorter = ~scanned & (through < distance) & (via >= 0)
            distance = jnp.where(shorter, through, distance)
            before = jnp.where(shorter, via, before)
            return distance, before, scanned, near, via >= 0, count + 1

        distance, before, scanned, sink, _, steps = jax.lax.while_loop(
            lambda search: searching & search[-2],
            reach,
            (
                profits[source] + prices - affinity[source],
                jnp.full(size, source),
                jnp.zeros(size, bool),
                jnp.int32(0),
                jnp.array(True),
                steps,
            ),
        )
        # Scanned columns rise so that the path becomes tight; owners' profits fall.
        rise = jnp.where(scanned, jnp.maximum(distance[sink] - distance, 0), 0)
        payer = jnp.where(scanned & (owner >= 0), owner, size)
        profits = profits.at[payer].add(-rise, mode="drop")
        profits = profits.at[source].add(-distance[sink])

        def turn(walk):
            partner, owner, column, _ = walk
            via = before[column]
            following = partner[via]
            partner, owner = partner.at[via].set(column), owner.at[column].set(via)
            return partner, owner, following, via != source

        partner, owner, _, _ = jax.lax.while_loop(
            lambda walk: searching & walk[-1],
            turn,
            (partner, owner, sink, jnp.array(True)),
        )
        return _State(prices + rise, partner, owner), profits, steps

    start = (_State(state.prices, partner, owner), profits, jnp.array(0))
    state, _, steps = jax.lax.while_loop(
        lambda carry: jnp.any(carry[0].partner < 0), path, start
    )
    return state, steps
