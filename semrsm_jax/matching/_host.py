"""The one bridge from JAX to solvers that run on the host."""

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Bool, Float

from semrsm_jax import _checks
from semrsm_jax._resources import cores
from semrsm_jax.matching.base import HostSolver


def call(
    solver: HostSolver,
    affinity: Float[Array, "*batch S T"],
    row_mask: Bool[Array, "*batch S"] | None,
    column_mask: Bool[Array, "*batch T"] | None,
) -> tuple[Any, Any, Any]:
    """Runs a host solver on a batch: directly where values are known, else as callback.

    A callback copies its operands twice, which costs as much as the affinity product
    itself (2.4 ms a pair at S=1024); outside of jit the solver reads XLA's buffer, or
    the NumPy array, and then gives NumPy arrays.
    """
    operands = [affinity] + [m for m in (row_mask, column_mask) if m is not None]
    run = partial(_flat, solver, row_mask is not None, column_mask is not None)
    if isinstance(affinity, np.ndarray):
        return run(*operands)
    operands[0] = jax.lax.stop_gradient(affinity)
    if not _checks.is_traced(*operands):
        return jax.tree.map(jnp.asarray, run(*operands))
    *batch, rows, columns = affinity.shape
    wide = affinity.dtype == jnp.float64
    ends, real = ((2,), jnp.uint32) if wide else ((), affinity.dtype)
    shapes = (
        jax.ShapeDtypeStruct((*batch, rows), jnp.int32),
        jax.ShapeDtypeStruct((*batch, *ends), real),
        jax.ShapeDtypeStruct((*batch, columns, *ends), real),
    )
    if wide:
        # JAX calls back in a thread of its own, in which `jax.enable_x64` as a context
        # does not hold, and rounds float64 to float32 there; integers keep their bits.
        operands[0] = jax.lax.bitcast_convert_type(operands[0], jnp.uint32)
        run = partial(_of_bits, run)
    permutation, bound, prices = jax.pure_callback(
        run, shapes, *operands, vmap_method="broadcast_all"
    )
    if wide:
        bound, prices = (
            jax.lax.bitcast_convert_type(each, jnp.float64) for each in (bound, prices)
        )
    return permutation, bound, prices


def _of_bits(run: Callable[..., Any], affinity: Array, *masks: Array) -> Any:
    """Calls with float64 values whose halves are the last axis, and returns such."""
    bits = np.ascontiguousarray(affinity)
    permutation, *reals = run(bits.view(np.float64)[..., 0], *masks)
    return permutation, *(each[..., None].view(np.uint32) for each in reals)


def _flat(
    solver: HostSolver, has_row_mask: bool, has_column_mask: bool, *operands: Array
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    # np.asarray first: a JAX operation inside a callback can deadlock.
    affinity, *masks = (np.asarray(operand) for operand in operands)
    *batch, rows, columns = affinity.shape
    flat_row_mask = masks.pop(0).reshape(-1, rows) if has_row_mask else None
    flat_column_mask = masks.pop(0).reshape(-1, columns) if has_column_mask else None
    flat = affinity.reshape(-1, rows, columns)
    permutation, bound, prices = solver(flat, flat_row_mask, flat_column_mask)
    # A sum that the dtype cannot hold becomes infinite, which `assignment` rejects.
    with np.errstate(over="ignore"):
        return (
            permutation.astype(np.int32, copy=False).reshape(*batch, rows),
            bound.astype(affinity.dtype).reshape(batch),
            prices.astype(affinity.dtype).reshape(*batch, columns),
        )


def auction(tolerance: float) -> HostSolver:
    """The package's own solver, see `_auction`; it keeps its workspace for the next."""
    from semrsm_jax.matching import _auction

    spaces: list[np.ndarray] = []

    def run(affinity, row_mask, column_mask):
        return _auction.solve(
            affinity, row_mask, column_mask, tolerance=tolerance, spaces=spaces
        )

    return run


def scipy() -> HostSolver:
    """SciPy's modified Jonker-Volgenant algorithm, in float64."""
    from scipy.optimize import linear_sum_assignment

    def solve_one(affinity):
        return linear_sum_assignment(affinity, maximize=True)

    return partial(_threads, solve_one)


def ortools() -> HostSolver:
    """OR-Tools' cost-scaling push-relabel algorithm on integer costs."""
    from ortools.graph.python.linear_sum_assignment import SimpleLinearSumAssignment

    def solve_one(affinity):
        rows, columns = affinity.shape
        size = max(rows, columns)
        affinity = affinity.astype(np.float64)
        low, high = affinity.min(), affinity.max()
        # The solver multiplies costs by size + 1 and sums size of them in 64 bits; more
        # than the 52 bits of a float64 would be noise.
        levels = min(2.0**52, 2.0**61 / (size + 1) ** 2)
        scale = levels / (high - low) if high > low else 0.0
        # A rectangle is filled up with the lowest affinity, which attracts no one.
        costs = np.full((size, size), round(levels * (high > low)), np.int64)
        costs[:rows, :columns] = np.rint((high - affinity) * scale)
        solver = SimpleLinearSumAssignment()
        left, right = np.indices((size, size), np.int32).reshape(2, -1)
        # Its type stubs name the element type where NumPy now has the shape.
        arcs: tuple[Any, Any, Any] = (left, right, costs.ravel())
        solver.add_arcs_with_cost(*arcs)
        if solver.solve() != solver.OPTIMAL:
            raise RuntimeError("OR-Tools found no assignment")
        mate = np.array([solver.right_mate(i) for i in range(rows)])
        matched = mate < columns
        return np.arange(rows)[matched], mate[matched]

    return partial(_threads, solve_one)


def _threads(
    solve_one: Callable[[np.ndarray], tuple[np.ndarray, np.ndarray]],
    affinity: np.ndarray,
    row_mask: np.ndarray | None,
    column_mask: np.ndarray | None,
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    batch, rows, columns = affinity.shape
    permutation = np.full((batch, rows), -1, np.int32)
    bound = np.full(batch, np.nan)

    def one(b: int) -> None:
        row = np.arange(rows) if row_mask is None else np.flatnonzero(row_mask[b])
        col = (
            np.arange(columns)
            if column_mask is None
            else np.flatnonzero(column_mask[b])
        )
        part = affinity[b]
        if row.size < rows or col.size < columns:
            part = part[np.ix_(row, col)]
        if not np.isfinite(part).all():
            return
        bound[b] = np.inf
        if part.size:
            matched_rows, matched_columns = solve_one(part)
            permutation[b, row[matched_rows]] = col[matched_columns]

    with ThreadPoolExecutor(cores()) as pool:
        list(pool.map(one, range(batch)))
    return permutation, bound, np.zeros((batch, columns))
