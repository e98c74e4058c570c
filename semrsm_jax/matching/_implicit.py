"""The derivative of Sinkhorn's potentials, without going through the iteration."""

from collections.abc import Callable

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

from semrsm_jax.matching import _sinkhorn
from semrsm_jax.matching._sinkhorn import Problem

# Steps of conjugate gradients at most. Where the plan is nearly a permutation the
# system is nearly singular, and what is left unsolved multiplies entries near zero.
_MOST_STEPS = 500


@jax.custom_jvp
def differentiable(
    scores: Float[Array, "*batch S T"],
    rows: Float[Array, "*batch S"],
    columns: Float[Array, "*batch T"],
    log_scaling: Float[Array, "*batch T"],
) -> Float[Array, "*batch T"]:
    """Converged potentials, as a differentiable function of the scores.

    The column sums of the plan stay what they are when the scores move by d: that is
    L dh = -m, where L = diag(columns) - P' diag(1 / rows) P is symmetric and m holds
    the column sums of the change of the plan at fixed potentials. The rule is linear in
    d and solves by conjugate gradients, so that JAX transposes it to the
    vector-Jacobian product, and both differentiate again: either mode, any order.
    """
    del scores, rows, columns
    return log_scaling


@differentiable.defjvp
def _differentiable_jvp(primals, tangents):
    scores, rows, columns, _ = primals
    # Itself differentiable, for derivatives of higher order.
    log_scaling = differentiable(*primals)
    plan = _sinkhorn.plan(Problem(scores, rows, columns), log_scaling)
    change = plan * tangents[0]
    row_change = divide(jnp.sum(change, axis=-1), rows)
    column_change = jnp.sum(change, axis=-2) - jnp.einsum(
        "...st,...s->...t", plan, row_change
    )
    return log_scaling, -_solve(plan, rows, column_change)


@jax.custom_jvp
def dual_value(
    scores: Float[Array, "*batch S T"],
    rows: Float[Array, "*batch S"],
    columns: Float[Array, "*batch T"],
    log_scaling: Float[Array, "*batch T"],
) -> Float[Array, "*batch"]:
    """The sum of both potentials over the marginals, least at the solution.

    By Danskin's theorem its derivative is that at fixed potentials: minus the plan.
    """
    problem = Problem(scores, rows, columns)
    left = _sinkhorn.row_log_scaling(problem, log_scaling)
    return jnp.sum(rows * left, axis=-1) + jnp.sum(columns * log_scaling, axis=-1)


@dual_value.defjvp
def _dual_value_jvp(primals, tangents):
    scores, rows, columns, log_scaling = primals
    plan = _sinkhorn.plan(Problem(scores, rows, columns), log_scaling)
    return dual_value(*primals), -jnp.sum(plan * tangents[0], axis=(-2, -1))


def _solve(plan: Array, rows: Array, right: Array) -> Array:
    """`solve_laplacian` of a batch of plans."""

    def one(plan, rows, right):
        return solve_laplacian(
            lambda z: divide(plan @ z, rows) @ plan, jnp.sum(plan, 0), right
        )

    batch = plan.shape[:-2]
    operands = (plan, rows, right)
    flat = [a.reshape(-1, *a.shape[len(batch) :]) for a in operands]
    return jax.vmap(one)(*flat).reshape(right.shape)


def solve_laplacian(
    walk: Callable[[Array], Array],
    columns: Float[Array, " T"],
    right: Float[Array, " T"],
) -> Float[Array, " T"]:
    """Solves (diag(columns) - P' diag(1 / rows) P) z = right for one plan P.

    Constants are its null space: they are taken out of both sides. A ridge of some
    units in the last place keeps what is nearly null, where the plan falls into blocks,
    from growing out of rounding errors.

    Args:
      walk: P' diag(1 / rows) P z, given z: to the rows and back.
      columns: the plan's column sums.
      right: the right side.
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
            operator, right / size, tol=epsilon**0.75, maxiter=_MOST_STEPS
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


def divide(numerator: Array | float, denominator: Array) -> Array:
    """The quotient, and 0 where a token is masked."""
    present = denominator > 0
    return jnp.where(present, numerator / jnp.where(present, denominator, 1), 0)
