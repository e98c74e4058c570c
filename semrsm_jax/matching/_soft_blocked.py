"""The soft matching of two samples whose plan is too large to be held.

It is `_soft` block by block: the same plan, potentials and derivatives, in memory that
is linear in the number of tokens.
"""

from collections.abc import Callable
from functools import partial
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from jax.ad_checkpoint import checkpoint_name
from jaxtyping import Array, Float

from semrsm_jax.matching import _sinkhorn
from semrsm_jax.matching._sinkhorn import Limits, Problem, Solution
from semrsm_jax.matching._soft import (
    Centred,
    Settings,
    Strength,
    attainable,
    balanced,
    best_bids,
    center,
    dual_bound,
    mean_partner,
    mean_sq_dist,
    regularised_cost,
    temperatures,
    whole_value,
)
from semrsm_jax.matching._soft_blocks import (
    Factors,
    best_offers,
    column_sums,
    differentiable,
    dual_value,
    largest_score,
    stream,
)
from semrsm_jax.matching.base import Mask, SoftMatching, Statistics, Tokens


class _Solved(NamedTuple):
    centred: Centred
    epsilon: Float[Array, "*batch"]
    factors: Factors  # with the batch's axes in front
    log_scaling: Float[Array, "*batch T"]


@partial(jax.jit, static_argnames=("settings", "size"))
def match_in_blocks(
    x: Tokens,
    y: Tokens,
    x_mask: Mask,
    y_mask: Mask,
    strength: Strength,
    settings: Settings,
    size: int,
) -> SoftMatching:
    """`match_softly`, with `size` rows of the plan held at once; it has no plan."""
    solved, solution = _solve(x, y, x_mask, y_mask, strength, settings, size)

    def one(solved, y):
        centred, epsilon, factors, log_scaling = solved
        y = y.astype(centred.y.dtype)

        def of_block(problem):
            plan = _sinkhorn.plan(problem, log_scaling)
            sums, joined = _shared(problem, plan, log_scaling)
            partner = mean_partner(plan @ y, problem.rows)
            left = _sinkhorn.row_log_scaling(problem, log_scaling)
            return sums, (joined, partner, left)

        sums, (joined, partner, left) = stream(of_block, factors, size)
        value, upper_bound = _value_and_bound(solved, size, *sums, *joined)
        f, g = balanced(centred, epsilon, left, log_scaling)
        cost = regularised_cost(
            centred, epsilon, dual_value(size, factors, log_scaling)
        )
        return value, upper_bound, partner, f, g, cost

    value, upper_bound, partner, f, g, cost = _map_pairs(one, x.shape[:-2], solved, y)
    return SoftMatching(
        jnp.full(x.shape[:-1], -1, jnp.int32),
        value,
        upper_bound,
        None,
        partner,
        f,
        g,
        solved.epsilon,
        cost,
        solution.converged,
        solution.n_iters,
    )


@partial(jax.jit, static_argnames=("settings", "size"))
def statistics_in_blocks(
    x: Tokens,
    y: Tokens,
    x_mask: Mask,
    y_mask: Mask,
    strength: Strength,
    settings: Settings,
    size: int,
) -> Statistics:
    """`soft_statistics`, with `size` rows of the plan held at once."""
    solved, _ = _solve(x, y, x_mask, y_mask, strength, settings, size)

    def one(solved):
        centred, epsilon, factors, log_scaling = solved

        def of_block(problem, x):
            plan = _sinkhorn.plan(problem, log_scaling)
            sums, joined = _shared(problem, plan, log_scaling)
            products = problem.scores * epsilon
            rest = x, centred.y, centred.difference
            return (sums, mean_sq_dist(plan, products, *rest)), joined

        (sums, sq_dist), joined = stream(of_block, factors, size, centred.x)
        value, upper_bound = _value_and_bound(solved, size, *sums, *joined)
        return Statistics(value, sq_dist, upper_bound)

    return _map_pairs(one, x.shape[:-2], solved)


def _solve(
    x: Tokens,
    y: Tokens,
    x_mask: Mask,
    y_mask: Mask,
    strength: Strength,
    settings: Settings,
    size: int,
) -> tuple[_Solved, Solution]:
    centred = center(x, y, x_mask, y_mask)
    epsilon, hottest = temperatures(centred, strength, settings)
    factors = Factors(
        centred.x / epsilon[..., None, None], centred.y, centred.rows, centred.columns
    )
    batch = x.shape[:-2]
    search = _sinkhorn.iterate if settings.implicit_diff else _sinkhorn.unroll

    def one(factors, hottest):
        largest = largest_score(jax.lax.stop_gradient(factors), size)
        limits = Limits(attainable(settings, largest), settings.max_iterations)
        sums = partial(column_sums, factors, size)
        return search(sums, factors.columns, limits, hottest)

    if settings.implicit_diff:
        fixed = jax.lax.stop_gradient((factors, hottest))
        solution = _map_pairs(one, batch, *fixed, mapped=_one_by_one)
        # Named, so that a backward pass which recomputes the rest keeps it.
        found = checkpoint_name(solution.log_scaling, "matching")
        log_scaling = _map_pairs(partial(differentiable, size), batch, factors, found)
    else:
        solution = _map_pairs(one, batch, factors, hottest, mapped=_one_by_one)
        log_scaling = solution.log_scaling
    return _Solved(centred, epsilon, factors, log_scaling), solution


def _shared(
    problem: Problem, plan: Array, log_scaling: Array
) -> tuple[tuple[Array, Array], tuple[Array, Array]]:
    """What both need of a block: to be summed, and row by row."""
    inner = jnp.sum(plan * problem.scores)
    profits = best_bids(*jax.lax.stop_gradient((problem, log_scaling)))
    return (inner, jnp.sum(plan, axis=0)), (jnp.sum(plan, axis=1), profits)


def _value_and_bound(
    solved: _Solved,
    size: int,
    inner: Array,
    column_sums: Array,
    row_sums: Array,
    profits: Array,
) -> tuple[Array, Array]:
    value = whole_value(solved.centred, inner * solved.epsilon, row_sums, column_sums)
    centred, epsilon, factors, _ = jax.lax.stop_gradient(solved)
    prices = best_offers(factors, size, profits)
    return value, dual_bound(centred, epsilon, profits, prices, value)


def _one_by_one(function: Callable[..., Any]) -> Callable[..., Any]:
    """Maps over the first axis as `jax.vmap` does, a pair after the other."""
    return lambda *operands: jax.lax.map(lambda pair: function(*pair), operands)


def _map_pairs(
    function: Callable[..., Any],
    batch: tuple[int, ...],
    *operands: Any,
    mapped: Callable[..., Any] = jax.vmap,
) -> Any:
    """Applies a function of one pair to a batch of them.

    All at once, as second derivatives of rules of our own come out wrong where JAX
    takes them through a loop.
    """
    flat = jax.tree.map(lambda a: a.reshape(-1, *a.shape[len(batch) :]), operands)
    results = mapped(function)(*flat)
    return jax.tree.map(lambda a: a.reshape(*batch, *a.shape[1:]), results)
