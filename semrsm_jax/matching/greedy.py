"""Greedy breadth-first matching, Appendix F."""

from dataclasses import dataclass
from typing import ClassVar

import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, Float, Int

from semrsm_jax._affinity import token_products
from semrsm_jax._representations import squared_token_norms
from semrsm_jax.matching.base import (
    Mask,
    Matcher,
    Matching,
    Tokens,
    hard_matching,
    norm_bound,
    placed,
)


@dataclass(frozen=True)
class Greedy(Matcher[Matching]):
    """Tokens in descending norm take the best token still free, Appendix F.1.

    It is not symmetric: the first sample chooses. The upper bound is that of the token
    norms.
    """

    scale_free: ClassVar[bool] = True

    def pair(self, x: Tokens, y: Tokens, x_mask: Mask, y_mask: Mask) -> Matching:
        """Serves the rows of the affinity one after the other."""
        permutation = _greedy(x, y, x_mask, y_mask)
        return hard_matching(x, y, permutation, norm_bound(x, y, x_mask, y_mask))


@jax.jit
def _greedy(x: Array, y: Array, x_mask: Array | None, y_mask: Array | None) -> Array:
    x, y = jax.lax.stop_gradient((x, y))
    norms = squared_token_norms(x, x_mask)
    order = jnp.argsort(norms, axis=-1, stable=True, descending=True)
    free = jnp.ones(y.shape[:-1], bool) if y_mask is None else y_mask
    start = jnp.full(x.shape[:-1], -1, jnp.int32)
    return take_in_order(token_products(x, y), order, start, free, x_mask)


def take_in_order(
    affinity: Float[Array, "*batch S T"],
    order: Int[Array, "*batch K"],
    permutation: Int[Array, "*batch S"],
    free: Bool[Array, "*batch T"],
    row_mask: Bool[Array, "*batch S"] | None,
) -> Int[Array, "*batch S"]:
    """Each row, in the order (..., K), takes its best free column, if its mask allows.

    Returns the permutation (..., S), what was matched already, with the new pairs.
    """
    if order.shape[-1] == 0:
        return permutation
    columns = jnp.arange(affinity.shape[-1], dtype=jnp.int32)

    def serve(step, state):
        permutation, free = state
        row = order[..., step, None]
        scores = jnp.take_along_axis(affinity, row[..., None], axis=-2)[..., 0, :]
        scores = jnp.where(free, scores, -jnp.inf)
        best = jnp.argmax(scores, axis=-1, keepdims=True).astype(jnp.int32)
        served = free.any(axis=-1, keepdims=True)
        if row_mask is not None:
            served &= jnp.take_along_axis(row_mask, row, axis=-1)
        choice = jnp.where(served, best, -1)
        return placed(permutation, row, choice), free & (columns != choice)

    return jax.lax.fori_loop(0, order.shape[-1], serve, (permutation, free))[0]
