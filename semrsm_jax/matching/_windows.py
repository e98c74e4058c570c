"""Windows of tokens, matched one by one: a whole matching at linear cost."""

from functools import partial
from typing import NamedTuple

import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, Float, Int

from semrsm_jax.affinity import token_products
from semrsm_jax.matching.assignment import solve
from semrsm_jax.matching.base import matched_tokens
from semrsm_jax.representations import accumulation_dtype, squared_token_norms


class Windows(NamedTuple):
    """W windows of b tokens of each side; tokens of one window are matched together.

    Attributes:
      x_index: (..., W, b), tokens of the first sample.
      y_index: (..., W, b), tokens of the second.
      x_present: (..., W, b), False where a window is not full; None: all are.
      y_present: likewise.
    """

    x_index: Int[Array, "*batch W b"]
    y_index: Int[Array, "*batch W b"]
    x_present: Bool[Array, "*batch W b"] | None
    y_present: Bool[Array, "*batch W b"] | None


@partial(jax.jit, static_argnames="size")
def norm_windows(
    x: Float[Array, "*batch S C"],
    y: Float[Array, "*batch T C"],
    x_mask: Bool[Array, "*batch S"] | None,
    y_mask: Bool[Array, "*batch T"] | None,
    size: int,
) -> Windows:
    """Consecutive windows of both sides, each sorted by token norm, ascending.

    The short last window holds the highest norms. The side with fewer present tokens
    gives each window its share of them.
    """
    rows, columns = x.shape[-2], y.shape[-2]
    longest = max(rows, columns)
    size = min(size, longest)
    edges = jnp.minimum(jnp.arange(-(-longest // size) + 1) * size, longest)
    x_count, y_count = _count(x, x_mask), _count(y, y_mask)
    most = jnp.maximum(x_count, y_count)
    full = rows == columns and rows % size == 0 and x_mask is None and y_mask is None
    sides = []
    for tokens, mask, count in ((x, x_mask, x_count), (y, y_mask, y_count)):
        norms = squared_token_norms(tokens)
        if mask is not None:
            norms = jnp.where(mask, norms, jnp.inf)
        order = jnp.argsort(norms, axis=-1, stable=True)
        share = _share(jnp.minimum(edges, most), count, most)
        sides.append(_cut(order, share, size))
    (x_index, x_present), (y_index, y_present) = sides
    if full:
        x_present = y_present = None
    return Windows(x_index, y_index, x_present, y_present)


def _count(tokens: Array, mask: Array | None) -> Array:
    """Present tokens, (..., 1)."""
    if mask is None:
        return jnp.full((*tokens.shape[:-2], 1), tokens.shape[-2])
    return mask.sum(-1, keepdims=True)


def _share(edges: Array, count: Array, most: Array) -> Array:
    """Takes ``edges * count // most`` within int32, up to 2^23 tokens."""
    most = jnp.maximum(most, 1)
    high, low = count // 256, count % 256
    quotient, rest = edges * high // most, edges * high % most
    return quotient * 256 + (rest * 256 + edges * low) // most


def _cut(
    order: Int[Array, "*batch S"], edges: Int[Array, "*batch W+1"], size: int
) -> tuple[Int[Array, "*batch W b"], Bool[Array, "*batch W b"]]:
    """The tokens between each two edges of an order, filled up to the window size."""
    place = edges[..., :-1, None] + jnp.arange(size)
    present = place < edges[..., 1:, None]
    place = jnp.clip(place, 0, order.shape[-1] - 1)
    index = jnp.take_along_axis(order, place.reshape(*order.shape[:-1], -1), axis=-1)
    return index.reshape(present.shape), present


def solve_windows(
    x: Float[Array, "*batch S C"],
    y: Float[Array, "*batch T C"],
    windows: Windows,
    *,
    tolerance: float,
    solver: str,
) -> tuple[Int[Array, "*batch W b"], Float[Array, "*batch W"]]:
    """Matches within each window: places in the window, and each window's bound."""
    x, y = _tokens(x, windows.x_index), _tokens(y, windows.y_index)
    local, bound, _ = solve(
        token_products(x, y),
        windows.x_present,
        windows.y_present,
        tolerance=tolerance,
        solver=solver,
    )
    return local, bound


def refine(
    x: Float[Array, "*batch S C"],
    y: Float[Array, "*batch T C"],
    x_mask: Bool[Array, "*batch S"] | None,
    y_mask: Bool[Array, "*batch T"] | None,
    permutation: Int[Array, "*batch S"],
    *,
    size: int,
    sweep: int,
    tolerance: float,
    solver: str,
) -> Int[Array, "*batch S"]:
    """Gathers matched pairs that look alike in windows and matches those anew.

    Pairs are sorted by the projection of (x + matched y) on a random direction, drawn
    in proportion to the spread of the pairs, and cut at a random offset. A window keeps
    its pairs where the new ones are no better, so the value never falls. Cost is linear
    in the number of tokens.
    """
    windows = _projected_windows(x, y, x_mask, y_mask, permutation, size, sweep)
    local, _ = solve_windows(x, y, windows, tolerance=tolerance, solver=solver)
    return _keep_better(x, y, windows, local)


@jax.jit
def scatter(windows: Windows, local: Array, like: Array) -> Int[Array, "*batch S"]:
    """The permutation of whole samples, shaped as the mask or norms `like` (..., S)."""
    rows = like.shape[-1]
    partner = jnp.take_along_axis(windows.y_index, jnp.maximum(local, 0), axis=-1)
    # Absent and unmatched places write to one more row at the end, which is dropped.
    target = jnp.where(local < 0, rows, windows.x_index)
    flat = (*like.shape[:-1], -1)
    permutation = jnp.full((*like.shape[:-1], rows + 1), -1, jnp.int32)
    return jnp.put_along_axis(
        permutation,
        target.reshape(flat),
        partner.reshape(flat).astype(jnp.int32),
        axis=-1,
        inplace=False,
    )[..., :-1]


@jax.jit
def _tokens(
    x: Float[Array, "*batch S C"], index: Int[Array, "*batch W b"]
) -> Float[Array, "*batch W b C"]:
    flat = index.reshape(*x.shape[:-2], -1, 1)
    return jnp.take_along_axis(x, flat, axis=-2).reshape(*index.shape, x.shape[-1])


@jax.jit
def _keep_better(x, y, windows, local):
    dtype = accumulation_dtype(x.dtype)
    x_tokens = _tokens(x, windows.x_index).astype(dtype)
    y_tokens = _tokens(y, windows.y_index).astype(dtype)
    place = jnp.arange(local.shape[-1], dtype=jnp.int32)
    current = jnp.where(windows.x_present & windows.y_present, place, -1)

    def value(choice):
        partner = matched_tokens(y_tokens, choice)
        return jnp.sum(jnp.sum(x_tokens * partner, axis=-1), axis=-1)

    better = value(local) > value(current)
    return scatter(windows, jnp.where(better[..., None], local, current), x[..., 0])


@partial(jax.jit, static_argnames="size")
def _projected_windows(x, y, x_mask, y_mask, permutation, size, sweep):
    dtype = accumulation_dtype(x.dtype)
    x, y = x.astype(dtype), y.astype(dtype)
    x_index, x_present, y_index, y_present = _slots(
        x.shape[-2], y.shape[-2], x_mask, y_mask, permutation
    )
    x_part = matched_tokens(x, jnp.where(x_present, x_index, -1))
    y_part = matched_tokens(y, jnp.where(y_present, y_index, -1))
    number = x_present.astype(dtype) + y_present.astype(dtype)
    present = number > 0
    # A lone token stands for its pair.
    mean = (x_part + y_part) / jnp.maximum(number, 1)[..., None]
    slots = mean.shape[-2]
    direction_key, offset_key = jax.random.split(
        jax.random.fold_in(jax.random.key(0), sweep)
    )
    centre = mean.sum(-2, keepdims=True) / present.sum(-1)[..., None, None]
    spread = jnp.where(present[..., None], mean - centre, 0)
    # The covariance times a draw: directions in which pairs differ are drawn more
    # often, and padding or the order of the tokens change nothing.
    draw = jax.random.normal(direction_key, mean.shape[-1:], mean.dtype)
    direction = jnp.einsum("...sc,...s->...c", spread, spread @ draw)
    score = jnp.einsum("...sc,...c->...s", mean, direction)
    order = jnp.argsort(jnp.where(present, score, jnp.inf), axis=-1, stable=True)
    offset = jax.random.randint(offset_key, (), 0, size)
    edges = jnp.clip(jnp.arange(-(-slots // size) + 2) * size - offset, 0, slots)
    edges = jnp.broadcast_to(edges, (*order.shape[:-1], edges.size))
    place, filled = _cut(order, edges, size)

    def at(values):
        flat = place.reshape(*values.shape[:-1], -1)
        return jnp.take_along_axis(values, flat, axis=-1).reshape(place.shape)

    return Windows(
        at(x_index), at(y_index), at(x_present) & filled, at(y_present) & filled
    )


def _slots(rows, columns, x_mask, y_mask, permutation):
    """All tokens in max(S, T) slots: pairs together, the others where there is room."""
    batch, slots = permutation.shape[:-1], max(rows, columns)
    x_index = jnp.broadcast_to(jnp.arange(slots, dtype=jnp.int32), (*batch, slots))
    x_present = x_index < rows
    if x_mask is not None:
        x_present = x_present.at[..., :rows].set(x_mask)
    x_index = jnp.minimum(x_index, rows - 1)
    pad = [(0, 0)] * len(batch) + [(0, slots - rows)]
    partner = jnp.pad(permutation, pad, constant_values=-1)
    taken = jnp.zeros((*batch, columns + 1), bool)
    taken = jnp.put_along_axis(
        taken, jnp.where(partner < 0, columns, partner), True, axis=-1, inplace=False
    )[..., :-1]
    # The k-th free column goes to the k-th free slot.
    free_slots = jnp.argsort(partner >= 0, axis=-1, stable=True)[..., :columns]
    free_columns = jnp.argsort(taken, axis=-1, stable=True).astype(jnp.int32)
    is_free = jnp.arange(columns) < (~taken).sum(-1, keepdims=True)
    here = jnp.take_along_axis(partner, free_slots, axis=-1)
    partner = jnp.put_along_axis(
        partner,
        free_slots,
        jnp.where(is_free, free_columns, here),
        axis=-1,
        inplace=False,
    )
    y_present = partner >= 0
    y_index = jnp.maximum(partner, 0)
    if y_mask is not None:
        y_present &= jnp.take_along_axis(y_mask, y_index, axis=-1)
    return x_index, x_present, y_index, y_present
