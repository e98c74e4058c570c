"""Windows of tokens, matched one by one: a matching at linear cost."""

from functools import partial
from typing import NamedTuple

import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, Float, Int

from semrsm_jax._affinity import token_products
from semrsm_jax._representations import squared_token_norms
from semrsm_jax.matching.assignment import solve
from semrsm_jax.matching.base import placed


class Windows(NamedTuple):
    """W windows of b tokens of each side; tokens of one window are matched together.

    Tokens are not present where a window lacks one; None: all windows are full.
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
        sides.append(cut(order, share, size))
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
    """``edges * count // most`` in int32, for up to 2^23 tokens and count <= most."""
    most = jnp.maximum(most, 1)
    # Long division by digits of 7 bits: no product exceeds 2^31.
    quotient = rest = jnp.zeros_like(edges * count)
    for shift in (21, 14, 7, 0):
        rest = rest * 128 + edges * (count >> shift & 127)
        quotient, rest = quotient * 128 + rest // most, rest % most
    return quotient


def cut(
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
    x, y = gather_tokens(x, windows.x_index), gather_tokens(y, windows.y_index)
    local, bound, _ = solve(
        token_products(x, y),
        windows.x_present,
        windows.y_present,
        tolerance=tolerance,
        solver=solver,
    )
    return local, bound


@jax.jit
def scatter(windows: Windows, local: Array, like: Array) -> Int[Array, "*batch S"]:
    """The permutation of all tokens, shaped as the mask or norms `like` (..., S)."""
    partner = jnp.take_along_axis(windows.y_index, jnp.maximum(local, 0), axis=-1)
    target = jnp.where(local < 0, -1, windows.x_index)
    flat = (*like.shape[:-1], -1)
    permutation = jnp.full(like.shape, -1, jnp.int32)
    partner = partner.reshape(flat).astype(jnp.int32)
    return placed(permutation, target.reshape(flat), partner)


@jax.jit
def gather_tokens(
    x: Float[Array, "*batch S C"], index: Int[Array, "*batch W b"]
) -> Float[Array, "*batch W b C"]:
    """The tokens of each window."""
    flat = index.reshape(*x.shape[:-2], -1, 1)
    return jnp.take_along_axis(x, flat, axis=-2).reshape(*index.shape, x.shape[-1])
