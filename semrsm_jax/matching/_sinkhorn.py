"""Sinkhorn's iteration, which moves the plan's column sums to what they should be."""

from typing import NamedTuple

import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, Float, Int

from semrsm_jax.matching._centered import SoftSettings
from semrsm_jax.matching._implicit import solve_laplacian
from semrsm_jax.matching._scores import CYCLE, Scores, log_ratio

# Temperature falls by this factor from cycle to cycle while it is annealed.
_COOLING = 0.5


# Steps of conjugate gradients of a Newton step; so many count as iterations.
_STEPS = 50

# With fewer Newton steps than this, plain iterations are of more use.
_FEWEST = 12

# The farthest that a Newton step goes, in logarithms; the error from which on the next
# temperature is near; and the first of them.
_FARTHEST, _NEAR, _REHEATED = 2.0, 0.05, 32.0

# The largest potential that is not moved into the anchor: its digits suffice.
_LARGEST = 1.0


class Solution(NamedTuple):
    """What the iteration ended with."""

    anchor: Float[Array, "*batch T"]
    log_scaling: Float[Array, "*batch T"]
    converged: Bool[Array, "*batch"]
    n_iters: Int[Array, "*batch"]
    error: Float[Array, "*batch"]  # of the column sums, as a share of the plan's mass


def solve(
    settings: SoftSettings, scores: Scores, hottest: Float[Array, "*batch"]
) -> Solution:
    """Iterates until each pair's column sums are right; converged pairs stay fixed.

    Held scores may be a batch. The temperature falls from the hottest, at least 1, to
    1, where the problem is the one asked for. Without `implicit_diff`, iterations are
    plain ones in logarithms, differentiable step by step: all cycles that the settings
    allow are laid out, and those after convergence do nothing. The backward pass keeps
    the potentials of each cycle and forms the rest again.
    """
    column_mass, batch = scores.column_mass, hottest.shape
    unrolled = not settings.implicit_diff
    stride = CYCLE if unrolled else scores.stride
    newton = settings.max_iterations // (2 * _STEPS)
    newton = 0 if unrolled or newton < _FEWEST else newton
    plain = settings.max_iterations - newton * _STEPS
    # What is smaller is rounding, and no iteration changes it.
    enough = max(settings.tolerance, 4 * float(jnp.finfo(column_mass.dtype).eps))

    def unfinished(state):
        _, _, running, _, count = state
        return jnp.any(running) & (count < plain)

    def step(state):
        anchor, log_scaling, running, n_iters, count = state
        here = scores.at(anchor)
        cooling = jnp.asarray(_COOLING, hottest.dtype) ** (count // CYCLE)
        temperature = jnp.maximum(hottest * cooling, 1)
        if unrolled:
            sums, moved = _plain_cycle(here, log_scaling, temperature)
        else:
            sums, moved = here.advance(log_scaling, temperature)
        wrong = _error(column_mass, sums) > enough
        running &= (temperature > 1) | wrong
        log_scaling = jnp.where(running[..., None], moved, log_scaling)
        anchor, log_scaling = _absorbed(anchor, log_scaling)
        n_iters += stride * running
        return anchor, log_scaling, running, n_iters, count + stride

    state = (
        jnp.zeros_like(column_mass),
        jnp.zeros_like(column_mass),
        jnp.ones(batch, bool),
        jnp.zeros(batch, jnp.int32),
        jnp.array(0),
    )
    if unrolled:
        recomputed = jax.checkpoint(step)

        def cycle(state, _):
            return jax.lax.cond(unfinished(state), recomputed, lambda s: s, state), None

        cycles = -(-settings.max_iterations // CYCLE)
        state, _ = jax.lax.scan(cycle, state, length=cycles)
    else:
        state = jax.lax.while_loop(unfinished, step, state)
    anchor, log_scaling, running, n_iters, _ = state
    if newton:
        anchor, log_scaling, n_iters = _finish(
            scores, (anchor, log_scaling, running, n_iters), enough, newton
        )
    anchor = jax.lax.stop_gradient(anchor)
    sums = scores.at(anchor).column_sums(jax.lax.stop_gradient(log_scaling))
    error = _error(column_mass, sums)
    converged = error <= settings.tolerance
    return Solution(anchor, log_scaling, converged, n_iters, error)


def _finish(
    scores: Scores, state: tuple[Array, ...], enough: float, most: int
) -> tuple[Array, Array, Array]:
    """Newton steps on pairs whose iteration is slow, as it is at a small epsilon.

    The potentials are those of a convex problem, whose Hessian is the operator behind
    their derivatives; conjugate gradients take its square root of the iterations. It is
    annealed once more: Newton's method needs a start near the solution, and that of one
    temperature is near that of half of it.
    """
    column_mass = scores.column_mass

    def step_of_pair(scores, log_scaling, temperature):
        sums = scores.column_sums(log_scaling, temperature)
        lacking = scores.column_mass - sums
        walk = scores.walk(log_scaling, temperature)
        step = solve_laplacian(walk, sums, lacking, _STEPS)
        step = jnp.where(scores.column_mass > 0, step, 0)
        farthest = jnp.max(jnp.abs(step))
        return step * (_FARTHEST / jnp.maximum(farthest, _FARTHEST))

    def step(state):
        anchor, log_scaling, running, n_iters, temperature, count = state
        here = scores.at(anchor)
        newton = step_of_pair if running.ndim == 0 else jax.vmap(step_of_pair)
        change = newton(here, log_scaling, temperature)
        tried = log_scaling + temperature[..., None] * change
        before, after = (
            _error(column_mass, here.column_sums(each, temperature))
            for each in (log_scaling, tried)
        )
        better = after < before
        # Where a step was no use, a cycle of iterations goes on from where it was.
        _, moved = here.advance(log_scaling, temperature)
        moved = jnp.where(better[..., None], tried, moved)
        log_scaling = jnp.where(running[..., None], moved, log_scaling)
        anchor, log_scaling = _absorbed(anchor, log_scaling)
        n_iters += _STEPS * running
        running &= ~(better & (after <= enough) & (temperature <= 1))
        temperature = jnp.where(after < _NEAR, _COOLING, 1) * temperature
        # The last steps are at the end of the annealing, come what may.
        latest = jnp.asarray(1 / _COOLING, temperature.dtype) ** (most - 5 - count)
        temperature = jnp.maximum(jnp.minimum(temperature, latest), 1)
        return anchor, log_scaling, running, n_iters, temperature, count + 1

    def unfinished(state):
        return jnp.any(state[2]) & (state[-1] < most)

    hot = jnp.full(state[2].shape, _REHEATED, column_mass.dtype)
    final = jax.lax.while_loop(unfinished, step, (*state, hot, jnp.array(0)))
    # Where there were too few steps, the start may be nearer.
    errors = (
        _error(column_mass, scores.at(anchor).column_sums(log_scaling))
        for anchor, log_scaling, *_ in (state, final)
    )
    better = (next(errors) >= next(errors))[..., None]
    anchor, log_scaling = (
        jnp.where(better, new, old)
        for new, old in zip(final[:2], state[:2], strict=True)
    )
    return anchor, log_scaling, final[3]


def _absorbed(anchor: Array, log_scaling: Array) -> tuple[Array, Array]:
    """Moves large potentials into the anchor, but for what their sum would lose."""
    fixed = jax.lax.stop_gradient(log_scaling)
    shift = jnp.where(jnp.abs(fixed) > _LARGEST, anchor + fixed - anchor, 0)
    return anchor + shift, log_scaling - shift


def _plain_cycle(
    scores: Scores, log_scaling: Array, temperature: Array
) -> tuple[Array, Array]:
    """The column sums, and the potentials after a cycle of iterations in logarithms."""
    first = sums = scores.column_sums(log_scaling, temperature)
    for iteration in range(CYCLE):
        if iteration:
            sums = scores.column_sums(log_scaling, temperature)
        change = log_ratio(scores.column_mass, sums)
        log_scaling = log_scaling + temperature[..., None] * change
    return first, log_scaling


def _error(column_mass: Array, sums: Array) -> Array:
    """How wrong column sums are, in all, as a share of the plan's mass."""
    wrong = jnp.sum(jnp.abs(sums - column_mass), axis=-1)
    return jax.lax.stop_gradient(wrong / jnp.sum(column_mass, axis=-1))
