"""Refinement of a matching at linear cost: sweeps of windows of similar pairs."""

import math
from functools import partial

import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, Float, Int

from semrsm_jax._representations import accumulation_dtype
from semrsm_jax.matching._windows import (
    Windows,
    cut,
    gather_tokens,
    scatter,
    solve_windows,
)
from semrsm_jax.matching.base import matched_tokens, placed

# Sweeps go through this many principal directions, two a sweep, and then again. Against
# random directions, or one a sweep, this left a third less to the optimum after 12
# sweeps.
_DIRECTIONS = 12

# Enough for an order of the directions; their exact angle does not matter.
_POWER_STEPS = 8


@jax.jit
def principal_directions(
    x: Float[Array, "*batch S C"],
    y: Float[Array, "*batch T C"],
    x_mask: Bool[Array, "*batch S"] | None,
    y_mask: Bool[Array, "*batch T"] | None,
) -> Float[Array, "*batch D C"]:
    """The leading directions in which the tokens of both samples spread.

    By subspace iteration from a fixed start, which needs products with the tokens
    alone: no C x C matrix and no eigendecomposition of one.
    """
    channels = x.shape[-1]
    spreads = []
    for tokens, mask in ((x, x_mask), (y, y_mask)):
        tokens = tokens.astype(accumulation_dtype(tokens.dtype))
        present = None if mask is None else mask[..., None]
        mean = jnp.mean(tokens, axis=-2, keepdims=True, where=present)
        spread = tokens - mean
        spreads.append(spread if present is None else jnp.where(present, spread, 0))
    start = jax.random.normal(
        jax.random.key(0), (channels, min(_DIRECTIONS, channels)), spreads[0].dtype
    )
    start = jnp.broadcast_to(start, (*x.shape[:-2], *start.shape))

    def step(_, basis):
        images = [jnp.einsum("...sc,...sd->...cd", s, s @ basis) for s in spreads]
        return jnp.linalg.qr(images[0] + images[1])[0]

    return jax.lax.fori_loop(0, _POWER_STEPS, step, start).mT


def refine(
    x: Float[Array, "*batch S C"],
    y: Float[Array, "*batch T C"],
    x_mask: Bool[Array, "*batch S"] | None,
    y_mask: Bool[Array, "*batch T"] | None,
    permutation: Int[Array, "*batch S"],
    directions: Float[Array, "*batch D C"],
    *,
    size: int,
    sweep: int,
    tolerance: float,
    solver: str,
) -> Int[Array, "*batch S"]:
    """Gathers similar matched pairs in windows and matches those anew.

    Windows are cut, at a random offset, from pairs sorted by the projection of
    (x + matched y) on two of the `directions`, other ones each sweep. A window keeps
    its pairs where the new ones are no better, so the value never falls. Cost is linear
    in the number of tokens.
    """
    windows = _projected_windows(
        x, y, x_mask, y_mask, permutation, directions, size, sweep
    )
    local, _ = solve_windows(x, y, windows, tolerance=tolerance, solver=solver)
    return _keep_better(x, y, windows, local)


@jax.jit
def _keep_better(x: Array, y: Array, windows: Windows, local: Array) -> Array:
    dtype = accumulation_dtype(x.dtype)
    x_tokens = gather_tokens(x, windows.x_index).astype(dtype)
    y_tokens = gather_tokens(y, windows.y_index).astype(dtype)
    place = jnp.arange(local.shape[-1], dtype=jnp.int32)
    current = jnp.broadcast_to(place, local.shape)
    for present in (windows.x_present, windows.y_present):
        if present is not None:
            current = jnp.where(present, current, -1)

    def value(choice):
        partner = matched_tokens(y_tokens, choice)
        return jnp.sum(jnp.sum(x_tokens * partner, axis=-1), axis=-1)

    better = value(local) > value(current)
    return scatter(windows, jnp.where(better[..., None], local, current), x[..., 0])


@partial(jax.jit, static_argnames="size")
def _projected_windows(
    x: Array,
    y: Array,
    x_mask: Array | None,
    y_mask: Array | None,
    permutation: Array,
    directions: Array,
    size: int,
    sweep: int,
) -> Windows:
    dtype = accumulation_dtype(x.dtype)
    x, y = x.astype(dtype), y.astype(dtype)
    x_index, x_present, y_index, y_present = _slots(
        x.shape[-2], y.shape[-2], x_mask, y_mask, permutation
    )
    x_part = matched_tokens(x, jnp.where(x_present, x_index, -1))
    y_part = matched_tokens(y, jnp.where(y_present, y_index, -1))
    number = x_present.astype(dtype) + y_present.astype(dtype)
    # A token without a partner represents its slot alone.
    mean = (x_part + y_part) / jnp.maximum(number, 1)[..., None]
    slots, available = mean.shape[-2], directions.shape[-2]
    two = directions[..., (2 * sweep + jnp.arange(2)) % available, :]
    scores = jnp.einsum("...sc,...dc->d...s", mean, two)
    scores = jnp.where(number > 0, scores, jnp.inf)
    # Windows near in one direction, cut from stretches that are near in another: a
    # stretch holds the square root of the number of windows.
    stretch = max(2, round(math.sqrt(slots / size)))
    shift = jax.random.randint(
        jax.random.fold_in(jax.random.key(0), sweep), (), 0, stretch * size
    )
    order = jnp.argsort(scores[0], axis=-1, stable=True)
    number_of = (jnp.arange(slots) + shift) // (stretch * size)
    within = jnp.take_along_axis(scores[1], order, axis=-1)
    number_of = jnp.broadcast_to(number_of, within.shape)
    finer = jnp.lexsort((within, number_of), axis=-1)
    order = jnp.take_along_axis(order, finer, axis=-1)
    edges = jnp.arange(-(-slots // size) + 2) * size - shift % size
    edges = jnp.broadcast_to(jnp.clip(edges, 0, slots), (*order.shape[:-1], edges.size))
    place, filled = cut(order, edges, size)

    def at(values):
        flat = place.reshape(*values.shape[:-1], -1)
        return jnp.take_along_axis(values, flat, axis=-1).reshape(place.shape)

    return Windows(
        at(x_index), at(y_index), at(x_present) & filled, at(y_present) & filled
    )


def _slots(
    rows: int,
    columns: int,
    x_mask: Array | None,
    y_mask: Array | None,
    permutation: Array,
) -> tuple[Array, Array, Array, Array]:
    """All tokens in max(S, T) slots: pairs together, the others in what is free."""
    batch, slots = permutation.shape[:-1], max(rows, columns)
    x_index = jnp.broadcast_to(jnp.arange(slots, dtype=jnp.int32), (*batch, slots))
    x_present = x_index < rows
    if x_mask is not None:
        x_present = x_present.at[..., :rows].set(x_mask)
    x_index = jnp.minimum(x_index, rows - 1)
    pad = [(0, 0)] * len(batch) + [(0, slots - rows)]
    partner = jnp.pad(permutation, pad, constant_values=-1)
    taken = placed(jnp.zeros((*batch, columns), bool), partner, True)
    # The k-th free column goes to the k-th free slot.
    free_slots = jnp.argsort(partner >= 0, axis=-1, stable=True)[..., :columns]
    free_columns = jnp.argsort(taken, axis=-1, stable=True).astype(jnp.int32)
    is_free = jnp.arange(columns) < (~taken).sum(-1, keepdims=True)
    here = jnp.take_along_axis(partner, free_slots, axis=-1)
    partner = placed(partner, free_slots, jnp.where(is_free, free_columns, here))
    y_present = partner >= 0
    y_index = jnp.maximum(partner, 0)
    if y_mask is not None:
        y_present &= jnp.take_along_axis(y_mask, y_index, axis=-1)
    return x_index, x_present, y_index, y_present
