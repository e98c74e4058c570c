"""The derivatives of Sinkhorn's potentials, without going through the iteration."""

from collections.abc import Callable
from functools import partial

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

from semrsm_jax.matching._scores import Scores, divide

# Steps of conjugate gradients at most. Where the plan is nearly a permutation the
# system is nearly singular, and what is left unsolved multiplies entries near zero.
_MOST_STEPS = 500


@jax.custom_jvp
def differentiable(
    scores: Scores, log_scaling: Float[Array, " T"]
) -> Float[Array, " T"]:
    """Converged potentials of one pair, as a differentiable function of its scores.

    The column sums of the plan stay what they are when the scores move: that is
    L dh = -m, where L = diag(columns) - P' diag(1 / rows) P is symmetric and m holds
    the column sums of the change of the plan at fixed potentials. The rule is linear in
    the change of the scores and solves by conjugate gradients, so that JAX transposes
    it to the vector-Jacobian product, and both differentiate again: either mode, any
    order.
    """
    del scores
    return log_scaling


@differentiable.defjvp
def _differentiable_jvp(primals, tangents):
    scores, _ = primals
    # Itself differentiable, for derivatives of higher order.
    log_scaling = differentiable(*primals)

    def column_sums(scores):
        return scores.column_sums(log_scaling)

    sums, change = jax.jvp(column_sums, (scores,), tangents[:1])
    return log_scaling, -solve_laplacian(scores.walk(log_scaling), sums, change)


@jax.custom_jvp
def dual_value(scores: Scores, log_scaling: Float[Array, " T"]) -> Float[Array, ""]:
    """The sum of both potentials over the marginals, least at the solution.

    By Danskin's theorem its derivative is that at fixed potentials: minus the plan.
    """
    return _dual_sum(scores, log_scaling)


@dual_value.defjvp
def _dual_value_jvp(primals, tangents):
    scores, log_scaling = primals
    fixed = partial(_dual_sum, log_scaling=log_scaling)
    _, tangent = jax.jvp(fixed, (scores,), tangents[:1])
    return dual_value(*primals), tangent


def _dual_sum(scores: Scores, log_scaling: Array) -> Array:
    def of_rows(rows):
        return jnp.sum(rows.row_mass * rows.log_scaling(log_scaling)), ()

    own = scores.column_mass * (scores.anchor + log_scaling)
    return scores.over_rows(of_rows)[0] + jnp.sum(own)


def solve_laplacian(
    walk: Callable[[Array], Array],
    columns: Float[Array, " T"],
    right: Float[Array, " T"],
    most_steps: int = _MOST_STEPS,
) -> Float[Array, " T"]:
    """Solves (diag(columns) - P' diag(1 / rows) P) z = right for one plan P.

    `walk` is z -> P' diag(1 / rows) P z, `columns` the plan's column sums. Constants
    are its null space: they are taken out of both sides. A ridge of some units in the
    last place keeps what is nearly null, where the plan falls into blocks, from growing
    out of rounding errors.
    """
    epsilon = float(jnp.finfo(right.dtype).eps)
    # Scaled so that the diagonal is one: the rows and columns of a random walk.
    # A masked column has no root whose derivative is finite.
    present = columns > 0
    root = jnp.where(present, jnp.sqrt(jnp.where(present, columns, 1)), 0)
    scale = divide(1.0, root)
    null = root / jnp.sqrt(jnp.sum(columns))

    def operator(w):
        stays = (1 + 8 * epsilon) * w + null * jnp.vdot(null, w)
        return stays - scale * walk(scale * w)

    right = scale * right

    def conjugate_gradients(operator, right):
        # A pair that hardly counts has a right side whose square would underflow.
        largest = jnp.max(jnp.abs(right))
        size = jnp.where(largest > 0, largest, 1)
        solution, _ = jax.scipy.sparse.linalg.cg(
            operator, right / size, tol=epsilon**0.75, maxiter=most_steps
        )
        return solution * size

    # Around JAX's own solver, which cannot be transposed once differentiated.
    solution = jax.lax.custom_linear_solve(
        operator,
        right - null * jnp.vdot(null, right),
        conjugate_gradients,
        symmetric=True,
    )
    return scale * (solution - null * jnp.vdot(null, solution))
