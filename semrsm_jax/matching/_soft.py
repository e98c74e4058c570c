"""The soft matching of two samples that are held whole, as a differentiable function.

Both samples are centred first. That takes the same from every plan with the right row
and column sums, so the plan stays what it is, while the affinities that are left are as
small as can be: at a small epsilon float32 needs all its digits for them.
"""

from functools import partial
from typing import NamedTuple

import jax
import jax.numpy as jnp
from jax.ad_checkpoint import checkpoint_name
from jaxtyping import Array, Float

from semrsm_jax._affinity import token_products
from semrsm_jax._representations import accumulation_dtype, squared_token_norms
from semrsm_jax.matching import _implicit, _sinkhorn
from semrsm_jax.matching._sinkhorn import Limits, Problem, Solution
from semrsm_jax.matching.base import (
    Mask,
    SoftMatching,
    Statistics,
    Tokens,
    matched_tokens,
)
from semrsm_jax.matching.bounds import top_sum


class Settings(NamedTuple):
    """What of a soft matcher is fixed when it is compiled."""

    relative: bool
    tolerance: float
    max_iterations: int
    implicit_diff: bool


class Strength(NamedTuple):
    """Epsilon, and where its annealing starts, in standard deviations."""

    epsilon: float
    anneal: float


class Centred(NamedTuple):
    """Tokens without their mean; ``x_offset_i + y_offset_j`` is what affinity lost."""

    x: Float[Array, "*batch S C"]
    y: Float[Array, "*batch T C"]
    difference: Float[Array, "*batch C"]  # of the means
    x_offset: Float[Array, "*batch S"]
    y_offset: Float[Array, "*batch T"]
    rows: Float[Array, "*batch S"]  # sums of the plan's rows
    columns: Float[Array, "*batch T"]


class _Solved(NamedTuple):
    centred: Centred
    epsilon: Float[Array, "*batch"]
    problem: Problem
    solution: Solution
    plan: Float[Array, "*batch S T"]


@partial(jax.jit, static_argnames="settings")
def match_softly(
    x: Tokens,
    y: Tokens,
    x_mask: Mask,
    y_mask: Mask,
    strength: Strength,
    settings: Settings,
) -> SoftMatching:
    """The matching of checked arrays, not rounded: its permutation is empty."""
    solved = _solve(x, y, x_mask, y_mask, strength, settings)
    problem, log_scaling = solved.problem, solved.solution.log_scaling
    value = _value(solved)
    partner = mean_partner(solved.plan @ y.astype(solved.plan.dtype), problem.rows)
    f, g = _potentials(solved)
    return SoftMatching(
        jnp.full(x.shape[:-1], -1, jnp.int32),
        value,
        _upper_bound(solved, value),
        solved.plan,
        partner,
        f,
        g,
        solved.epsilon,
        regularised_cost(
            solved.centred, solved.epsilon, _implicit.dual_value(*problem, log_scaling)
        ),
        solved.solution.converged,
        solved.solution.n_iters,
    )


@partial(jax.jit, static_argnames="settings")
def soft_statistics(
    x: Tokens,
    y: Tokens,
    x_mask: Mask,
    y_mask: Mask,
    strength: Strength,
    settings: Settings,
) -> Statistics:
    """What an RSM takes from the matching of checked arrays."""
    solved = _solve(x, y, x_mask, y_mask, strength, settings)
    value = _value(solved)
    return Statistics(value, _sq_dist(solved), _upper_bound(solved, value))


def _solve(
    x: Tokens,
    y: Tokens,
    x_mask: Mask,
    y_mask: Mask,
    strength: Strength,
    settings: Settings,
) -> _Solved:
    centred = center(x, y, x_mask, y_mask)
    epsilon, hottest = temperatures(centred, strength, settings)
    scores = token_products(centred.x / epsilon[..., None, None], centred.y)
    problem = Problem(scores, centred.rows, centred.columns)
    largest = jnp.max(jnp.abs(jax.lax.stop_gradient(scores)), axis=(-2, -1))
    limits = Limits(attainable(settings, largest), settings.max_iterations)
    if settings.implicit_diff:
        solution = _sinkhorn.solve(jax.lax.stop_gradient(problem), limits, hottest)
        # Named, so that a backward pass which recomputes the rest keeps it.
        found = checkpoint_name(solution.log_scaling, "matching")
        log_scaling = _implicit.differentiable(*problem, found)
        solution = solution._replace(log_scaling=log_scaling)
    else:
        sums = partial(_sinkhorn.column_sums, problem)
        solution = _sinkhorn.unroll(sums, problem.columns, limits, hottest)
    plan = _sinkhorn.plan(problem, solution.log_scaling)
    return _Solved(centred, epsilon, problem, solution, plan)


def center(x: Tokens, y: Tokens, x_mask: Mask, y_mask: Mask) -> Centred:
    """Takes each sample's mean token from its tokens; masked ones become zero."""
    dtype = accumulation_dtype(jnp.promote_types(x.dtype, y.dtype))
    x, y = x.astype(dtype), y.astype(dtype)
    (x_centred, x_mean, x_share), (y_centred, y_mean, y_share) = (
        _center(tokens, mask) for tokens, mask in ((x, x_mask), (y, y_mask))
    )
    # As many pairs as a hard matching has.
    mass = 1 / jnp.maximum(x_share.max(-1), y_share.max(-1))[..., None]
    return Centred(
        x_centred,
        y_centred,
        x_mean - y_mean,
        token_products(x_centred, y_mean[..., None, :])[..., 0],
        token_products(y, x_mean[..., None, :])[..., 0],
        mass * x_share,
        mass * y_share,
    )


def _center(tokens: Array, mask: Mask) -> tuple[Array, Array, Array]:
    """Centred tokens, their mean, and what each one counts for in it."""
    if mask is None:
        mask = jnp.ones(tokens.shape[:-1], bool)
    present = mask[..., None]
    mean = jnp.mean(tokens, axis=-2, keepdims=True, where=present)
    share = mask / jnp.sum(mask, axis=-1, keepdims=True)
    centred = jnp.where(present, tokens - mean, 0)
    return centred, mean[..., 0, :], share.astype(tokens.dtype)


def temperatures(
    centred: Centred, strength: Strength, settings: Settings
) -> tuple[Float[Array, "*batch"], Float[Array, "*batch"]]:
    """Epsilon in units of the affinity, and how many times it the annealing starts at.

    They carry no gradient, as in OTT.
    """
    centred = jax.lax.stop_gradient(centred)
    spread, largest = _spread(centred)
    epsilon = jnp.full_like(spread, strength.epsilon)
    if settings.relative:
        # Equal tokens have no spread but that of rounding errors, which says nothing.
        noise = 8 * jnp.finfo(spread.dtype).eps * largest
        epsilon = jnp.maximum(epsilon * spread, noise)
        epsilon = jnp.where(epsilon == 0, 1, epsilon)
    return epsilon, jnp.maximum(strength.anneal * spread / epsilon, 1)


def _spread(
    centred: Centred,
) -> tuple[Float[Array, "*batch"], Float[Array, "*batch"]]:
    """The standard deviation of the affinity of unmasked tokens, and a bound on it.

    That of centred tokens follows from their second moments; what centring took varies
    with one side alone and not with the rest, so that the variances add.
    """
    largest = [
        jnp.sqrt(jnp.max(squared_token_norms(tokens), axis=-1))
        for tokens in (centred.x, centred.y)
    ]
    # By the largest, lest squares leave float32's range.
    x, y = (
        tokens / jnp.where(length > 0, length, 1)[..., None, None]
        for tokens, length in zip((centred.x, centred.y), largest, strict=True)
    )
    moments = [
        jnp.einsum("...sc,...sd->...cd", a, a, precision=jax.lax.Precision.HIGHEST)
        for a in (x, y)
    ]
    counts = [jnp.sum(side > 0, -1) for side in (centred.rows, centred.columns)]
    variance = jnp.sum(moments[0] * moments[1], axis=(-2, -1)) / counts[0] / counts[1]
    product = largest[0] * largest[1]
    spread = product * jnp.sqrt(jnp.maximum(variance, 0))
    for offset, side in (
        (centred.x_offset, centred.rows),
        (centred.y_offset, centred.columns),
    ):
        deviation, peak = _deviation(offset, side > 0)
        spread, product = jnp.hypot(spread, deviation), product + peak
    return spread, product


def _deviation(values: Array, present: Array) -> tuple[Array, Array]:
    """The standard deviation of those present, and the largest absolute value."""
    peak = jnp.max(jnp.where(present, jnp.abs(values), 0), axis=-1)
    scaled = values / jnp.where(peak > 0, peak, 1)[..., None]
    return peak * jnp.std(scaled, axis=-1, where=present), peak


def attainable(
    settings: Settings, largest: Float[Array, "*batch"]
) -> Float[Array, "*batch"]:
    """The tolerance, where rounding errors of the largest score allow it."""
    rounding = jnp.finfo(largest.dtype).eps * largest
    return jnp.maximum(settings.tolerance, rounding)


def _value(solved: _Solved) -> Float[Array, "*batch"]:
    plan = solved.plan
    inner = jnp.sum(plan * solved.problem.scores, axis=(-2, -1)) * solved.epsilon
    return whole_value(solved.centred, inner, plan.sum(-1), plan.sum(-2))


def whole_value(
    centred: Centred,
    inner: Float[Array, "*batch"],
    row_sums: Float[Array, "*batch S"],
    column_sums: Float[Array, "*batch T"],
) -> Float[Array, "*batch"]:
    """The sum of plan and affinity, given that of plan and products of centred tokens.

    What centring took meets the plan's row and column sums alone, which do not change
    with the tokens: they are held fixed.
    """
    row_sums, column_sums = jax.lax.stop_gradient((row_sums, column_sums))
    inner += jnp.sum(row_sums * centred.x_offset, axis=-1)
    return inner + jnp.sum(column_sums * centred.y_offset, axis=-1)


def _sq_dist(solved: _Solved) -> Float[Array, "*batch"]:
    centred = solved.centred
    products = solved.problem.scores * solved.epsilon[..., None, None]
    return mean_sq_dist(solved.plan, products, centred.x, centred.y, centred.difference)


def mean_sq_dist(
    plan: Float[Array, "*batch S T"],
    products: Float[Array, "*batch S T"],
    x: Float[Array, "*batch S C"],
    y: Float[Array, "*batch T C"],
    difference: Float[Array, "*batch C"],
) -> Float[Array, "*batch"]:
    """The squared distance under some rows of a plan.

    Distances from inner products are good to rounding errors of the squared norms. Only
    the heaviest partner of a token may be nearer than that, as where a sample meets
    itself: its distance is taken from the difference.

    Args:
      plan: the rows.
      products: of centred tokens.
      x: centred tokens of these rows.
      y: centred tokens of the columns.
      difference: of the means that centring took from x and y.
    """
    difference = difference[..., None, :]
    x_squares = squared_token_norms(x + difference)
    y_squares = squared_token_norms(y) - 2 * jnp.sum(y * difference, axis=-1)
    distances = x_squares[..., None] + y_squares[..., None, :] - 2 * products
    heaviest = jnp.argmax(plan, axis=-1)
    nearest = squared_token_norms(x + difference - matched_tokens(y, heaviest))
    here = jnp.arange(plan.shape[-1]) == heaviest[..., None]
    distances = jnp.where(here, nearest[..., None], jnp.maximum(distances, 0))
    return jnp.sum(plan * distances, axis=(-2, -1))


def _potentials(
    solved: _Solved,
) -> tuple[Float[Array, "*batch S"], Float[Array, "*batch T"]]:
    """Both potentials of the whole affinity."""
    rows = _sinkhorn.row_log_scaling(solved.problem, solved.solution.log_scaling)
    return balanced(solved.centred, solved.epsilon, rows, solved.solution.log_scaling)


def balanced(
    centred: Centred,
    epsilon: Float[Array, "*batch"],
    row_logs: Float[Array, "*batch S"],
    column_logs: Float[Array, "*batch T"],
) -> tuple[Float[Array, "*batch S"], Float[Array, "*batch T"]]:
    """Potentials in units of the affinity, of one mean, 0 where a token is masked."""
    f = epsilon[..., None] * row_logs - centred.x_offset
    g = epsilon[..., None] * column_logs - centred.y_offset
    x_present, y_present = centred.rows > 0, centred.columns > 0
    means = (
        jnp.mean(f, axis=-1, where=x_present, keepdims=True),
        jnp.mean(g, axis=-1, where=y_present, keepdims=True),
    )
    shift = (means[0] - means[1]) / 2
    return jnp.where(x_present, f - shift, 0), jnp.where(y_present, g + shift, 0)


def regularised_cost(
    centred: Centred,
    epsilon: Float[Array, "*batch"],
    dual_value: Float[Array, "*batch"],
) -> Float[Array, "*batch"]:
    """OTT's ``reg_ot_cost`` for the cost -affinity, times the plan's mass.

    Args:
      centred: the tokens.
      epsilon: strength of the entropy.
      dual_value: the sum of log potentials over the plan's row and column sums.
    """
    rows, columns = centred.rows, centred.columns
    # The uniform plan has the same entry everywhere.
    mass = jnp.sum(rows, axis=-1)
    uniform = jnp.max(rows, axis=-1) * jnp.max(columns, axis=-1) / mass
    cost = epsilon * (dual_value - mass * jnp.log(uniform))
    cost -= jnp.sum(rows * centred.x_offset, axis=-1)
    return cost - jnp.sum(columns * centred.y_offset, axis=-1)


def _upper_bound(
    solved: _Solved, value: Float[Array, "*batch"]
) -> Float[Array, "*batch"]:
    """The dual bound of the potentials, made feasible by two c-transforms."""
    centred, epsilon, problem, solution, _ = jax.lax.stop_gradient(solved)
    profits = best_bids(problem, solution.log_scaling)
    bids = problem.scores - profits[..., None]
    present = centred.rows[..., None] > 0
    prices = jnp.max(jnp.where(present, bids, -jnp.inf), axis=-2)
    return dual_bound(centred, epsilon, profits, prices, value)


def best_bids(
    problem: Problem, log_scaling: Float[Array, "*batch T"]
) -> Float[Array, "*batch S"]:
    """The c-transform of the columns' potentials: each row's best score with them."""
    present = problem.columns[..., None, :] > 0
    bids = problem.scores + log_scaling[..., None, :]
    return jnp.max(jnp.where(present, bids, -jnp.inf), axis=-1)


def dual_bound(
    centred: Centred,
    epsilon: Float[Array, "*batch"],
    profits: Float[Array, "*batch S"],
    prices: Float[Array, "*batch T"],
    value: Float[Array, "*batch"],
) -> Float[Array, "*batch"]:
    """Bounds every matching, given profits_i + prices_j >= scores_ij.

    With k pairs it is worth at most the k largest of either; see `DualBound`.
    """
    bound, size = jnp.zeros_like(epsilon), jnp.zeros_like(epsilon)
    sides = (
        (profits, centred.x_offset, centred.rows),
        (prices, centred.y_offset, centred.columns),
    )
    counts = [jnp.sum(sums > 0, axis=-1) for _, _, sums in sides]
    for scores, offset, sums in sides:
        worth = epsilon[..., None] * scores + offset
        bound += top_sum(worth, sums > 0, jnp.minimum(*counts))
        size += jnp.sum(jnp.where(sums > 0, jnp.abs(worth), 0), axis=-1)
    # What a few rounding errors of each term may have taken from it.
    bound += 4 * jnp.finfo(bound.dtype).eps * size
    return jnp.maximum(bound, jax.lax.stop_gradient(value))


def mean_partner(
    matched: Float[Array, "*batch S C"], rows: Float[Array, "*batch S"]
) -> Float[Array, "*batch S C"]:
    """The plan's rows times tokens, as means; 0 for a masked row."""
    present = rows[..., None] > 0
    return jnp.where(present, matched / jnp.where(present, rows[..., None], 1), 0)
