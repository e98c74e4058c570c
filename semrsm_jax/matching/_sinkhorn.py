"""Sinkhorn's iteration on a batch of scores, and what its potentials say.

Scores are affinities in units of epsilon. One set of potentials, `log_scaling` (..., T)
of the columns, says all: the plan is ``rows * softmax(scores + log_scaling)``, whose
row sums are right whatever the rounding, and the iteration moves the column sums to
theirs.
"""

from collections.abc import Callable
from functools import partial
from typing import NamedTuple

import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, Float, Int

# Iterations between two looks at the error; in between they run on one kernel matrix.
CYCLE = 10

# Temperature falls by this factor from cycle to cycle while it is annealed.
_COOLING = 0.5

# How far, in logarithms, a scaling may go within a cycle: what the kernel matrix lost
# to underflow (below e^-87) then still weighs nothing.
_FARTHEST = 40.0


class Problem(NamedTuple):
    """Scores and the sums that the plan's rows and columns are to have; 0: masked."""

    scores: Float[Array, "*batch S T"]
    rows: Float[Array, "*batch S"]
    columns: Float[Array, "*batch T"]


class Limits(NamedTuple):
    """When to stop: at this error of a pair, or after so many iterations."""

    tolerance: Float[Array, "*batch"]
    max_iterations: int


# The plan's column sums, given potentials and temperature.
ColumnSums = Callable[[Array, Array | float], Array]


class Solution(NamedTuple):
    """What the iteration ended with."""

    log_scaling: Float[Array, "*batch T"]
    converged: Bool[Array, "*batch"]
    n_iters: Int[Array, "*batch"]


def plan(
    problem: Problem,
    log_scaling: Float[Array, "*batch T"],
    temperature: Float[Array, "*batch"] | float = 1.0,
) -> Float[Array, "*batch S T"]:
    """The plan of these potentials; its rows sum to what they should."""
    exponents = _exponents(problem, log_scaling, temperature)
    peak = jax.lax.stop_gradient(jnp.max(exponents, axis=-1, keepdims=True))
    weights = jnp.exp(exponents - peak)
    total = jnp.sum(weights, axis=-1, keepdims=True)
    return weights * (problem.rows[..., None] / total)


def column_sums(
    problem: Problem,
    log_scaling: Float[Array, "*batch T"],
    temperature: Float[Array, "*batch"] | float = 1.0,
) -> Float[Array, "*batch T"]:
    """The sums of the plan's columns."""
    return jnp.sum(plan(problem, log_scaling, temperature), axis=-2)


def row_log_scaling(
    problem: Problem, log_scaling: Float[Array, "*batch T"]
) -> Float[Array, "*batch S"]:
    """The rows' potentials, log(plan) = scores + both; 0 for a masked row."""
    logs = jax.nn.logsumexp(_exponents(problem, log_scaling, 1.0), axis=-1)
    present = problem.rows > 0
    return jnp.where(present, jnp.log(jnp.where(present, problem.rows, 1)) - logs, 0)


def _exponents(problem: Problem, log_scaling: Array, temperature: Array | float):
    exponents = problem.scores + log_scaling[..., None, :]
    exponents = exponents / jnp.asarray(temperature)[..., None, None]
    return jnp.where(problem.columns[..., None, :] > 0, exponents, -jnp.inf)


def solve(
    problem: Problem, limits: Limits, hottest: Float[Array, "*batch"]
) -> Solution:
    """Iterates until each pair's column sums are right; not differentiable.

    Each cycle forms the plan of the potentials so far, anew and in logarithms, and runs
    on it as a kernel matrix: two products with a vector an iteration instead of two
    passes of exponentials (stabilised scaling, Schmitzer 2019). Pairs that have
    converged stay as they are.

    Args:
      problem: the batch.
      limits: when to stop.
      hottest: temperature of the first cycle, at least 1; it falls to 1, where the
        problem is the one asked for.
    """
    state = (*_start(problem.columns), jnp.array(0))

    def unfinished(state):
        _, running, _, cycle = state
        return jnp.any(running) & (cycle * CYCLE < limits.max_iterations)

    def step(state):
        log_scaling, running, n_iters, cycle = state
        temperature = _temperature(hottest, cycle)
        kernel = plan(problem, log_scaling, temperature)
        sums = jnp.sum(kernel, axis=-2)
        wrong = error(problem.columns, sums) > limits.tolerance
        running &= (temperature > 1) | wrong
        moved = log_scaling + temperature[..., None] * _scalings(problem, kernel, sums)
        log_scaling = jnp.where(running[..., None], moved, log_scaling)
        return log_scaling, running, n_iters + CYCLE * running, cycle + 1

    log_scaling, _, n_iters, _ = jax.lax.while_loop(unfinished, step, state)
    sums = partial(column_sums, problem)
    return _solution(sums, problem.columns, limits, log_scaling, n_iters)


def iterate(
    sums: ColumnSums,
    columns: Float[Array, "*batch T"],
    limits: Limits,
    hottest: Float[Array, "*batch"],
) -> Solution:
    """The same by plain iterations in logarithms, for plans that are not held.

    One look at the plan gives both the error and the next potentials, so that it ends
    with the first iteration that is right.
    """

    def unfinished(state):
        _, running, n_iters = state
        return jnp.any(running & (n_iters < limits.max_iterations))

    def step(state):
        log_scaling, running, n_iters = state
        # All that still run have made as many.
        temperature = _temperature(hottest, jnp.max(n_iters) // CYCLE)
        found = sums(log_scaling, temperature)
        running &= (temperature > 1) | (error(columns, found) > limits.tolerance)
        moved = log_scaling + temperature[..., None] * _log_ratio(columns, found)
        log_scaling = jnp.where(running[..., None], moved, log_scaling)
        return log_scaling, running, n_iters + running

    log_scaling, _, n_iters = jax.lax.while_loop(unfinished, step, _start(columns))
    return _solution(sums, columns, limits, log_scaling, n_iters)


def unroll(
    sums: ColumnSums,
    columns: Float[Array, "*batch T"],
    limits: Limits,
    hottest: Float[Array, "*batch"],
) -> Solution:
    """The same by plain iterations in logarithms, differentiable step by step.

    As many cycles as `max_iterations` allows are laid out, those after convergence do
    nothing; the backward pass keeps the potentials of each cycle and recomputes the
    rest.
    """

    @jax.checkpoint
    def cool(log_scaling, temperature):
        for _ in range(CYCLE):
            found = sums(log_scaling, temperature)
            log_scaling += temperature[..., None] * _log_ratio(columns, found)
        return log_scaling

    def step(state, cycle):
        log_scaling, running, n_iters = state
        temperature = _temperature(hottest, cycle)
        found = sums(jax.lax.stop_gradient(log_scaling), 1.0)
        wrong = error(columns, found) > limits.tolerance
        running &= (temperature > 1) | wrong
        moved = jax.lax.cond(
            jnp.any(running), cool, lambda h, _: h, log_scaling, temperature
        )
        log_scaling = jnp.where(running[..., None], moved, log_scaling)
        return (log_scaling, running, n_iters + CYCLE * running), None

    cycles = jnp.arange(-(-limits.max_iterations // CYCLE))
    state, _ = jax.lax.scan(step, _start(columns), cycles)
    return _solution(sums, columns, limits, state[0], state[2])


def error(
    columns: Float[Array, "*batch T"], sums: Float[Array, "*batch T"]
) -> Float[Array, "*batch"]:
    """How wrong column sums are, in all, as a share of the plan's mass."""
    wrong = jnp.sum(jnp.abs(sums - columns), axis=-1)
    return jax.lax.stop_gradient(wrong / jnp.sum(columns, axis=-1))


def _start(columns: Array) -> tuple[Array, Array, Array]:
    batch = columns.shape[:-1]
    running, n_iters = jnp.ones(batch, bool), jnp.zeros(batch, jnp.int32)
    return jnp.zeros_like(columns), running, n_iters


def _temperature(hottest: Array, cycle: Array) -> Array:
    return jnp.maximum(hottest * _COOLING**cycle, 1)


def _solution(
    sums: ColumnSums, columns: Array, limits: Limits, log_scaling: Array, n_iters: Array
) -> Solution:
    found = sums(jax.lax.stop_gradient(log_scaling), 1.0)
    return Solution(log_scaling, error(columns, found) <= limits.tolerance, n_iters)


def _log_ratio(wanted: Array, sums: Array) -> Array:
    # A column that no row wants yet may sum to zero: it then rises as far as one can.
    tiny = jnp.finfo(sums.dtype).tiny
    present = wanted > 0
    wanted = jnp.where(present, wanted, 1)
    sums = jnp.where(present, jnp.maximum(sums, tiny), 1)
    return jnp.log(wanted / sums)


def _scalings(problem: Problem, kernel: Array, sums: Array) -> Array:
    """The logarithm of the column scalings after a cycle on one kernel matrix."""
    rows, columns = problem.rows, problem.columns
    first = _log_ratio(columns, sums)

    def iterate(_, scaling):
        left = _ratio(rows, jnp.einsum("...st,...t->...s", kernel, scaling))
        return _ratio(columns, jnp.einsum("...st,...s->...t", kernel, left))

    scaling = jax.lax.fori_loop(1, CYCLE, iterate, jnp.exp(first))
    logs = jnp.log(scaling)
    safe = jnp.all(jnp.abs(logs) < _FARTHEST, axis=-1, keepdims=True)
    # Where a scaling went too far for the kernel matrix, one iteration is all there is.
    return jnp.where(safe, logs, first)


def _ratio(wanted: Array, sums: Array) -> Array:
    return jnp.where(wanted > 0, wanted / sums, 1)
