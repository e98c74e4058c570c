"""Linear programming duality of the assignment problem, on the device.

Both functions work on the *shifted* affinity: a constant is added so that every pair of
present tokens scores above zero and every pair with an absent one scores zero. The
constant adds the same to every complete matching, so the best one stays the best; and
as an absent token adds nothing, a mask, or a rectangle, needs no case of its own.
"""

import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, Float, Int


def shift(
    affinity: Float[Array, "S T"],
    row_mask: Bool[Array, " S"],
    column_mask: Bool[Array, " T"],
) -> tuple[Float[Array, "S T"], Float[Array, ""]]:
    """The shifted affinity and what the shift adds to a complete matching."""
    present = row_mask[:, None] & column_mask[None, :]
    low = jnp.min(jnp.where(present, affinity, jnp.inf))
    high = jnp.max(jnp.where(present, affinity, -jnp.inf))
    # Half the range above zero: a pair at the minimum must still beat an absent one. A
    # single value stands for its own range, and zero for any.
    half = jnp.where(high > low, 0.5 * (high - low), jnp.abs(high))
    offset = jnp.where(half > 0, half, 1) - low
    offset = jnp.where(jnp.isfinite(offset), offset, 0)
    count = jnp.minimum(row_mask.sum(), column_mask.sum())
    shifted = jnp.where(present, affinity + offset, 0)
    return shifted, offset * count


def prove(
    shifted: Float[Array, "S T"],
    permutation: Int[Array, " S"],
    tolerance: float,
    max_rounds: int = 256,
) -> tuple[Float[Array, ""], Float[Array, " T"]]:
    """Bounds every matching of a shifted affinity, given one that may be the best.

    For an optimal permutation, prices that prove it are the longest paths of its
    exchange graph (Bellman-Ford): p_j = max_i (A_ij - u_i) with the profit u_i =
    A_i,perm(i) - p_perm(i), from zero prices. Any prices p >= 0 bound the optimum by
    sum_i max(0, max_j (A_ij - p_j)) + sum_j p_j, so stopping early is safe; rounds, of
    S * T operations each, end when the bound meets the permutation's value within
    `tolerance`, relative. Returns the bound and the prices of the columns that prove
    it.
    """
    matched = permutation >= 0
    partner = jnp.maximum(permutation, 0)
    scores = jnp.where(
        matched, jnp.take_along_axis(shifted, partner[:, None], axis=1)[:, 0], 0
    )
    value = scores.sum()

    def round_(state):
        prices, best, proof, _, count = state
        profits = jnp.where(matched, scores - prices[partner], 0)
        raised = jnp.maximum(jnp.max(shifted - profits[:, None], axis=0), prices)
        row_best = jnp.maximum(jnp.max(shifted - raised, axis=1), 0)
        bound = row_best.sum() + raised.sum()
        proof = jnp.where(bound < best, raised, proof)
        moved = jnp.any(raised > prices)
        return raised, jnp.minimum(best, bound), proof, moved, count + 1

    def unfinished(state):
        _, best, _, moved, count = state
        tight = best - value <= tolerance * jnp.abs(value)
        return moved & ~tight & (count < max_rounds)

    zero = jnp.zeros(shifted.shape[1], shifted.dtype)
    start = (zero, jnp.max(shifted, axis=1).sum(), zero, jnp.array(True), jnp.array(0))
    _, bound, prices, _, _ = jax.lax.while_loop(unfinished, round_, start)
    return bound, prices
