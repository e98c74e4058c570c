"""Sinkhorn's iteration, which moves the plan's column sums to what they should be."""

from typing import NamedTuple

import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, Float, Int

from semrsm_jax.matching._scores import CYCLE, Scores, log_ratio

# Temperature falls by this factor from cycle to cycle while it is annealed.
_COOLING = 0.5


class Limits(NamedTuple):
    """When to stop: at this error of a pair, or after so many iterations."""

    tolerance: Float[Array, "*batch"]
    max_iterations: int


class Solution(NamedTuple):
    """What the iteration ended with."""

    log_scaling: Float[Array, "*batch T"]
    converged: Bool[Array, "*batch"]
    n_iters: Int[Array, "*batch"]
    error: Float[Array, "*batch"]  # of the column sums, as a share of the plan's mass


def solve(
    scores: Scores,
    limits: Limits,
    hottest: Float[Array, "*batch"],
    *,
    unrolled: bool = False,
) -> Solution:
    """Iterates until each pair's column sums are right; converged pairs stay fixed.

    Args:
      scores: held ones may be a batch.
      limits: when to stop.
      hottest: temperature of the first cycle, at least 1; it falls to 1, where the
        problem is the one asked for.
      unrolled: plain iterations in logarithms, differentiable step by step: all cycles
        that the limits allow are laid out, and those after convergence do nothing. The
        backward pass keeps the potentials of each cycle and forms the rest again.
        False: not differentiable.
    """
    column_mass, batch = scores.column_mass, hottest.shape
    stride = CYCLE if unrolled else scores.stride

    def unfinished(state):
        _, running, _, count = state
        return jnp.any(running) & (count < limits.max_iterations)

    def step(state):
        log_scaling, running, n_iters, count = state
        cooling = jnp.asarray(_COOLING, hottest.dtype) ** (count // CYCLE)
        temperature = jnp.maximum(hottest * cooling, 1)
        if unrolled:
            sums, moved = _plain_cycle(scores, log_scaling, temperature)
        else:
            sums, moved = scores.advance(log_scaling, temperature)
        wrong = _error(column_mass, sums) > limits.tolerance
        running &= (temperature > 1) | wrong
        log_scaling = jnp.where(running[..., None], moved, log_scaling)
        return log_scaling, running, n_iters + stride * running, count + stride

    state = (
        jnp.zeros_like(column_mass),
        jnp.ones(batch, bool),
        jnp.zeros(batch, jnp.int32),
        jnp.array(0),
    )
    if unrolled:
        recomputed = jax.checkpoint(step)

        def cycle(state, _):
            return jax.lax.cond(unfinished(state), recomputed, lambda s: s, state), None

        cycles = -(-limits.max_iterations // CYCLE)
        state, _ = jax.lax.scan(cycle, state, length=cycles)
    else:
        state = jax.lax.while_loop(unfinished, step, state)
    log_scaling, _, n_iters, _ = state
    sums = scores.column_sums(jax.lax.stop_gradient(log_scaling))
    error = _error(column_mass, sums)
    return Solution(log_scaling, error <= limits.tolerance, n_iters, error)


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
