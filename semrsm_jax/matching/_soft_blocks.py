"""Passes over a plan that is never held: its rows are formed block by block.

All functions here are of one pair. JAX differentiates every pass block by block too: of
a block nothing is kept but its tokens, the rest is formed again going back.
"""

from collections.abc import Callable
from functools import partial
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

from semrsm_jax._affinity import token_products
from semrsm_jax.matching import _sinkhorn
from semrsm_jax.matching._implicit import divide, solve_laplacian
from semrsm_jax.matching._sinkhorn import Problem
from semrsm_jax.matching.bounds import row_blocks


class Factors(NamedTuple):
    """A `Problem` with the tokens whose products the scores are, in place of these."""

    x: Float[Array, "S C"]  # in units of epsilon
    y: Float[Array, "T C"]
    rows: Float[Array, " S"]
    columns: Float[Array, " T"]


def stream(
    function: Callable[..., tuple[Any, Any]],
    factors: Factors,
    size: int,
    *by_row: Float[Array, "S ..."],
) -> tuple[Any, Any]:
    """Goes over all rows, `size` of them at a time.

    Args:
      function: of the `Problem` of a block, and of `by_row` there; it returns arrays to
        be summed over blocks and, with a first axis of rows, arrays to be joined. Rows
        that fill the last block up have sum 0.
      factors: the pair.
      size: rows a block.
      *by_row: what else there is of every row.

    Returns:
      The sums and the joined arrays.
    """

    @partial(jax.checkpoint, prevent_cse=False)
    def of_block(x, rows, *by_row):
        scores = token_products(x, factors.y)
        return function(Problem(scores, rows, factors.columns), *by_row)

    def step(total, block):
        sums, joined = of_block(*block)
        return jax.tree.map(jnp.add, total, sums), joined

    everything = (factors.x, factors.rows, *by_row)
    blocks = tuple(row_blocks(array, size, 0) for array in everything)
    shapes, _ = jax.eval_shape(of_block, *(array[0] for array in blocks))
    zeros = jax.tree.map(lambda a: jnp.zeros(a.shape, a.dtype), shapes)
    sums, joined = jax.lax.scan(step, zeros, blocks)
    count = factors.x.shape[0]
    return sums, jax.tree.map(lambda a: a.reshape(-1, *a.shape[2:])[:count], joined)


def column_sums(
    factors: Factors,
    size: int,
    log_scaling: Float[Array, " T"],
    temperature: Float[Array, ""] | float = 1.0,
) -> Float[Array, " T"]:
    """The sums of the plan's columns."""

    def of_block(problem):
        return _sinkhorn.column_sums(problem, log_scaling, temperature), ()

    return stream(of_block, factors, size)[0]


def largest_score(factors: Factors, size: int) -> Float[Array, ""]:
    """The largest absolute value of the scores."""

    def of_block(problem):
        return (), jnp.max(jnp.abs(problem.scores), axis=-1)

    return jnp.max(stream(of_block, factors, size)[1])


def best_offers(
    factors: Factors, size: int, profits: Float[Array, " S"]
) -> Float[Array, " T"]:
    """The c-transform of the rows' profits: what a row offers at most for a column."""
    profits = jnp.where(factors.rows > 0, profits, jnp.inf)

    def highest(prices, block):
        x, profit = block
        offers = token_products(x, factors.y) - profit[:, None]
        return jnp.maximum(prices, jnp.max(offers, axis=0)), None

    start = jnp.full_like(factors.columns, -jnp.inf)
    blocks = row_blocks(factors.x, size, 0), row_blocks(profits, size, jnp.inf)
    return jax.lax.scan(highest, start, blocks)[0]


@partial(jax.custom_jvp, nondiff_argnums=(0,))
def differentiable(
    size: int, factors: Factors, log_scaling: Float[Array, " T"]
) -> Float[Array, " T"]:
    """Converged potentials, as a differentiable function of the tokens.

    The rule is that of `_implicit.differentiable`. A step of its conjugate gradients is
    one pass over the blocks.
    """
    del size, factors
    return log_scaling


@differentiable.defjvp
def _differentiable_jvp(size, primals, tangents):
    factors, _ = primals
    # Itself differentiable, for derivatives of higher order.
    log_scaling = differentiable(size, *primals)

    def moved_sums(x, y):
        return column_sums(factors._replace(x=x, y=y), size, log_scaling)

    sums, change = jax.jvp(moved_sums, factors[:2], tangents[0][:2])

    def walk(z):
        def of_block(problem):
            plan = _sinkhorn.plan(problem, log_scaling)
            return divide(plan @ z, problem.rows) @ plan, ()

        return stream(of_block, factors, size)[0]

    return log_scaling, -solve_laplacian(walk, sums, change)


@partial(jax.custom_jvp, nondiff_argnums=(0,))
def dual_value(
    size: int, factors: Factors, log_scaling: Float[Array, " T"]
) -> Float[Array, ""]:
    """`_implicit.dual_value`; its derivative is that at fixed potentials (Danskin)."""

    def of_block(problem):
        left = _sinkhorn.row_log_scaling(problem, log_scaling)
        return jnp.sum(problem.rows * left), ()

    left, _ = stream(of_block, factors, size)
    return left + jnp.sum(factors.columns * log_scaling)


@dual_value.defjvp
def _dual_value_jvp(size, primals, tangents):
    factors, log_scaling = primals
    moved_x, moved_y, *_ = tangents[0]

    def of_block(problem, x, moved):
        change = token_products(moved, factors.y) + token_products(x, moved_y)
        return -jnp.sum(_sinkhorn.plan(problem, log_scaling) * change), ()

    tangent, _ = stream(of_block, factors, size, factors.x, moved_x)
    return dual_value(size, *primals), tangent
