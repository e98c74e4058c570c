"""TopK-Greedy matching, Appendix F."""

from dataclasses import dataclass
from functools import partial
from typing import ClassVar

import jax
import jax.numpy as jnp
from jaxtyping import Array

from semrsm_jax import _checks
from semrsm_jax._affinity import token_products
from semrsm_jax._representations import squared_token_norms
from semrsm_jax.matching.assignment import check_solver, solve
from semrsm_jax.matching.base import (
    Mask,
    Matcher,
    Matching,
    Shape,
    Tokens,
    hard_matching,
    matched_tokens,
    norm_bound,
    placed,
)
from semrsm_jax.matching.greedy import take_in_order


@dataclass(frozen=True)
class TopKGreedy(Matcher[Matching]):
    """The k highest norms of each side matched exactly, the rest greedily, App. F.2.

    The upper bound is that of the token norms.

    Attributes:
      k: how many tokens of each side are matched exactly, at most S and T.
      tolerance: of that exact matching, as in `Exact`.
      solver: of that exact matching, as in `Exact`.
    """

    scale_free: ClassVar[bool] = True

    k: int = 128
    tolerance: float = 1e-6
    solver: str = "auction"

    def __post_init__(self) -> None:
        """Raises TypeError or ValueError for a setting out of range."""
        _checks.at_least("k", self.k, 1)
        tolerance = check_solver(self.solver, self.tolerance)
        object.__setattr__(self, "tolerance", tolerance)

    def pair(self, x: Tokens, y: Tokens, x_mask: Mask, y_mask: Mask) -> Matching:
        """Solves the block of the highest norms, then serves the other rows."""
        rows, row_present, x_top, rest = _top(x, x_mask, self.k)
        columns, column_present, y_top, _ = _top(y, y_mask, self.k)
        block, _, _ = solve(
            token_products(x_top, y_top),
            row_present,
            column_present,
            tolerance=self.tolerance,
            solver=self.solver,
        )
        permutation = _serve_rest(x, y, x_mask, y_mask, rows, columns, block, rest)
        return hard_matching(x, y, permutation, norm_bound(x, y, x_mask, y_mask))

    def validate(self, x_shape: Shape, y_shape: Shape) -> None:
        """Raises ValueError where k exceeds the tokens of a sample."""
        fewest = min(x_shape[-2], y_shape[-2])
        if self.k > fewest:
            raise ValueError(
                f"k must be at most the number of tokens, got k={self.k} for "
                f"samples of {fewest} tokens; Exact() matches all of them"
            )


@partial(jax.jit, static_argnames="k")
def _top(
    x: Array, mask: Array | None, k: int
) -> tuple[Array, Array | None, Array, Array]:
    x = jax.lax.stop_gradient(x)
    norms = squared_token_norms(x, mask)
    if mask is not None:
        # A masked token must not take the place of a zero one.
        norms = jnp.where(mask, norms, -1)
    order = jnp.argsort(norms, axis=-1, stable=True, descending=True)
    top, rest = order[..., :k], order[..., k:]
    present = None if mask is None else jnp.take_along_axis(mask, top, axis=-1)
    return top, present, matched_tokens(x, top), rest


@jax.jit
def _serve_rest(
    x: Array,
    y: Array,
    x_mask: Array | None,
    y_mask: Array | None,
    rows: Array,
    columns: Array,
    block: Array,
    rest: Array,
) -> Array:
    x, y = jax.lax.stop_gradient((x, y))
    partner = jnp.take_along_axis(columns, jnp.maximum(block, 0), axis=-1)
    partner = jnp.where(block < 0, -1, partner).astype(jnp.int32)
    permutation = jnp.full(x.shape[:-1], -1, jnp.int32)
    permutation = placed(permutation, rows, partner)
    taken = placed(jnp.zeros(y.shape[:-1], bool), partner, True)
    free = ~taken if y_mask is None else ~taken & y_mask
    # A row of the block stays unmatched only where fewer than k tokens of y are
    # present, and then the block has taken all of them: nothing is left to serve it
    # with.
    return take_in_order(token_products(x, y), rest, permutation, free, x_mask)
