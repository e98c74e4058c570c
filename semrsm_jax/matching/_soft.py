"""The soft matching of two samples, as a differentiable function of their tokens."""

from functools import partial
from typing import NamedTuple

import jax
import jax.numpy as jnp
from jax.ad_checkpoint import checkpoint_name
from jaxtyping import Array, Float

from semrsm_jax._affinity import token_products
from semrsm_jax._representations import squared_token_norms
from semrsm_jax.matching import _implicit, _sinkhorn
from semrsm_jax.matching._batch import flatten, one_by_one, unflatten
from semrsm_jax.matching._centered import (
    CenteredPair,
    SoftSettings,
    Strength,
    center_pair,
    temperatures,
)
from semrsm_jax.matching._scores import (
    HeldScores,
    ScoreRows,
    Scores,
    StreamedScores,
    divide,
)
from semrsm_jax.matching.base import (
    Mask,
    SoftMatching,
    Statistics,
    Tokens,
    matched_tokens,
)
from semrsm_jax.matching.bounds import top_sum


class SolvedPair(NamedTuple):
    """A pair and its potentials; any leading axis is a batch."""

    tokens: CenteredPair
    epsilon: Float[Array, "*batch"]
    scores: Scores
    log_scaling: Float[Array, "*batch T"]


@partial(jax.jit, static_argnames="settings")
def match_softly(
    x: Tokens,
    y: Tokens,
    x_mask: Mask,
    y_mask: Mask,
    strength: Strength,
    settings: SoftSettings,
) -> SoftMatching:
    """The matching of checked arrays, not rounded: its permutation is empty."""
    batch = x.shape[:-2]
    x, y, x_mask, y_mask = flatten((x, y, x_mask, y_mask), len(batch))
    pairs, solution = _solve(x, y, x_mask, y_mask, strength, settings)
    value, upper_bound, plan, partner, f, g, cost = jax.vmap(_outputs)(pairs, y)
    matching = SoftMatching(
        permutation=jnp.full(x.shape[:-1], -1, jnp.int32),
        value=value,
        upper_bound=upper_bound,
        plan=plan,
        partner=partner,
        f=f,
        g=g,
        epsilon=pairs.epsilon,
        reg_ot_cost=cost,
        converged=solution.converged,
        n_iters=solution.n_iters,
        column_error=solution.error,
    )
    return unflatten(matching, batch)


@partial(jax.jit, static_argnames="settings")
def soft_statistics(
    x: Tokens,
    y: Tokens,
    x_mask: Mask,
    y_mask: Mask,
    strength: Strength,
    settings: SoftSettings,
) -> Statistics:
    """What an RSM takes from the matching of checked arrays."""
    batch = x.shape[:-2]
    x, y, x_mask, y_mask = flatten((x, y, x_mask, y_mask), len(batch))
    pairs, solution = _solve(x, y, x_mask, y_mask, strength, settings)
    error = jax.lax.stop_gradient(jnp.where(solution.converged, 0, solution.error))
    statistics = jax.vmap(_statistics)(pairs)._replace(column_error=error)
    return unflatten(statistics, batch)


def _solve(
    x: Tokens,
    y: Tokens,
    x_mask: Mask,
    y_mask: Mask,
    strength: Strength,
    settings: SoftSettings,
) -> tuple[SolvedPair, _sinkhorn.Solution]:
    """The potentials of a batch of one axis."""
    tokens = center_pair(x, y, x_mask, y_mask)
    epsilon, hottest = temperatures(tokens, strength, settings)
    scaled, mass = tokens.x / epsilon[..., None, None], tokens[-2:]
    sides = *mass, jnp.zeros_like(tokens.column_mass)
    search = partial(_sinkhorn.solve, settings)
    if settings.block is None:
        scores = HeldScores(ScoreRows(token_products(scaled, tokens.y), *sides))
    else:
        scores = StreamedScores(scaled, tokens.y, *sides, settings.block)
        search = one_by_one(search)
    if not settings.implicit_diff:
        solution = search(scores, hottest)
        scores = scores.at(solution.anchor)
        return SolvedPair(tokens, epsilon, scores, solution.log_scaling), solution
    solution = search(jax.lax.stop_gradient(scores), hottest)
    # Named, so that a backward pass which recomputes the rest keeps them.
    anchor = checkpoint_name(solution.anchor, "matching")
    log_scaling = checkpoint_name(solution.log_scaling, "matching")
    scores = scores.at(anchor)
    # All pairs at once, as JAX's second derivatives of custom rules are wrong in loops.
    log_scaling = jax.vmap(_implicit.differentiable)(scores, log_scaling)
    return SolvedPair(tokens, epsilon, scores, log_scaling), solution


# What follows is of one pair.


def _outputs(pair: SolvedPair, y: Tokens) -> tuple:
    """Value, bound, plan or None, mean partners, both potentials and cost."""
    tokens, epsilon, scores, log_scaling = pair
    y = y.astype(tokens.y.dtype)

    def of_rows(rows):
        plan = rows.plan(log_scaling)
        held = plan if isinstance(scores, HeldScores) else None
        sums, by_row = _value_terms(rows, plan, log_scaling)
        partner = divide(plan @ y, rows.row_mass[:, None])
        return sums, (by_row, held, partner, rows.log_scaling(log_scaling))

    sums, (by_row, plan, partner, left) = scores.over_rows(of_rows)
    value, upper_bound = _value_and_bound(pair, *sums, *by_row)
    right = scores.anchor + log_scaling
    f, g = _balanced_potentials(tokens, epsilon, left, right)
    cost = _regularized_cost(tokens, epsilon, _implicit.dual_value(scores, log_scaling))
    return value, upper_bound, plan, partner, f, g, cost


def _statistics(pair: SolvedPair) -> Statistics:
    tokens, epsilon, scores, log_scaling = pair

    def of_rows(rows, x):
        plan = rows.plan(log_scaling)
        sums, by_row = _value_terms(rows, plan, log_scaling)
        sq_dist = _mean_sq_dist(
            plan, rows.scores * epsilon, x, tokens.y, tokens.difference
        )
        return (sums, sq_dist), by_row

    (sums, sq_dist), by_row = scores.over_rows(of_rows, tokens.x)
    value, upper_bound = _value_and_bound(pair, *sums, *by_row)
    return Statistics(value, sq_dist, upper_bound)


def _value_terms(
    rows: ScoreRows, plan: Array, log_scaling: Array
) -> tuple[tuple[Array, Array], tuple[Array, Array]]:
    """What the value and its bound need of some rows: to be summed, and row by row."""
    inner = jnp.sum(plan * rows.scores)
    fixed, log_scaling = jax.lax.stop_gradient((rows, log_scaling))
    profits = fixed.best(log_scaling)
    return (inner, jnp.sum(plan, axis=0)), (jnp.sum(plan, axis=1), profits)


def _value_and_bound(
    pair: SolvedPair,
    inner: Float[Array, ""],
    column_sums: Float[Array, " T"],
    row_sums: Float[Array, " S"],
    profits: Float[Array, " S"],
) -> tuple[Float[Array, ""], Float[Array, ""]]:
    """The sum of plan and affinity, and the dual bound of its potentials.

    What centering took meets the plan's row and column sums alone, which do not change
    with the tokens: they are held fixed.
    """
    tokens = pair.tokens
    row_sums, column_sums = jax.lax.stop_gradient((row_sums, column_sums))
    value = inner * pair.epsilon + jnp.sum(row_sums * tokens.x_offset)
    value += jnp.sum(column_sums * tokens.y_offset)
    return value, _dual_bound(*jax.lax.stop_gradient((pair, profits, value)))


def _dual_bound(pair: SolvedPair, profits: Array, value: Array) -> Array:
    """Bounds every matching by the rows' profits and the prices that they set.

    As profits_i + prices_j >= scores_ij, k pairs are worth at most the k largest of
    either; see `DualBound`.
    """

    def of_rows(rows, profits):
        bids = rows.scores - profits[:, None]
        return jnp.max(jnp.where(rows.row_mass[:, None] > 0, bids, -jnp.inf), 0), ()

    prices, _ = pair.scores.over_rows(
        of_rows, profits, combine=jnp.maximum, start=-jnp.inf
    )
    tokens = pair.tokens
    bound = size = jnp.zeros_like(value)
    sides = (
        (profits, tokens.x_offset, tokens.row_mass),
        (prices, tokens.y_offset, tokens.column_mass),
    )
    counts = [jnp.sum(mass > 0) for _, _, mass in sides]
    for terms, offset, mass in sides:
        worth = pair.epsilon * terms + offset
        bound += top_sum(worth, mass > 0, jnp.minimum(*counts))
        size += jnp.sum(jnp.where(mass > 0, jnp.abs(worth), 0))
    # A few rounding errors of each term.
    bound += 4 * jnp.finfo(bound.dtype).eps * size
    return jnp.maximum(bound, value)


def _mean_sq_dist(
    plan: Float[Array, "R T"],
    products: Float[Array, "R T"],
    x: Float[Array, "R C"],
    y: Float[Array, "T C"],
    difference: Float[Array, " C"],
) -> Float[Array, ""]:
    """The squared distance under some rows of a plan, from products of centered tokens.

    Distances from inner products are good to rounding errors of the squared norms. Only
    the heaviest partner of a token may be nearer than that, as where a sample meets
    itself: its distance is taken from the difference. `difference` is that of the means
    that centering took from x and y.
    """
    x_squares = squared_token_norms(x + difference)
    y_squares = squared_token_norms(y) - 2 * jnp.sum(y * difference, axis=-1)
    distances = x_squares[:, None] + y_squares - 2 * products
    heaviest = jnp.argmax(plan, axis=-1)
    nearest = squared_token_norms(x + difference - matched_tokens(y, heaviest))
    is_heaviest = jnp.arange(plan.shape[-1]) == heaviest[:, None]
    distances = jnp.where(is_heaviest, nearest[:, None], jnp.maximum(distances, 0))
    return jnp.sum(plan * distances)


def _balanced_potentials(
    tokens: CenteredPair, epsilon: Array, row_logs: Array, column_logs: Array
) -> tuple[Float[Array, " S"], Float[Array, " T"]]:
    """Potentials in units of the affinity, of one mean, 0 where a token is masked."""
    f = epsilon * row_logs - tokens.x_offset
    g = epsilon * column_logs - tokens.y_offset
    x_present, y_present = tokens.row_mass > 0, tokens.column_mass > 0
    shift = (jnp.mean(f, where=x_present) - jnp.mean(g, where=y_present)) / 2
    return jnp.where(x_present, f - shift, 0), jnp.where(y_present, g + shift, 0)


def _regularized_cost(tokens: CenteredPair, epsilon: Array, dual_value: Array) -> Array:
    """OTT's ``reg_ot_cost`` for the cost -affinity, times the plan's mass."""
    rows, columns = tokens.row_mass, tokens.column_mass
    # The uniform plan has the same entry everywhere.
    mass = jnp.sum(rows)
    uniform = jnp.max(rows) * jnp.max(columns) / mass
    cost = epsilon * (dual_value - mass * jnp.log(uniform))
    cost -= jnp.sum(rows * tokens.x_offset)
    return cost - jnp.sum(columns * tokens.y_offset)
