"""Other exact solvers, called as their users would: matrix in, permutation out.

All maximize and take a float32 matrix; none has other information.
"""

from collections.abc import Callable
from typing import Any

import numpy as np
from jaxtyping import Float, Int

Solver = Callable[[Float[np.ndarray, "S S"]], Int[np.ndarray, " S"]]

# The affinities are float32: more levels than its mantissa has would be noise, and
# OR-Tools takes longer the more there are.
_LEVELS = 2.0**24


def scipy(affinity: Float[np.ndarray, "S S"]) -> Int[np.ndarray, " S"]:
    """SciPy's modified Jonker-Volgenant algorithm."""
    from scipy.optimize import linear_sum_assignment

    return linear_sum_assignment(affinity, maximize=True)[1]


def ortools(affinity: Float[np.ndarray, "S S"]) -> Int[np.ndarray, " S"]:
    """OR-Tools' cost-scaling push-relabel algorithm, on costs of 24 bits."""
    from ortools.graph.python.linear_sum_assignment import SimpleLinearSumAssignment

    size = len(affinity)
    high = affinity.max()
    span = float(high) - float(affinity.min())
    costs = ((high - affinity) * (_LEVELS / span if span > 0 else 0.0)).astype(np.int64)
    index = np.arange(size, dtype=np.int32)
    solver = SimpleLinearSumAssignment()
    # Its type stubs name the element type where NumPy now has the shape.
    arcs: tuple[Any, Any, Any] = (
        np.repeat(index, size),
        np.tile(index, size),
        costs.ravel(),
    )
    solver.add_arcs_with_cost(*arcs)
    if solver.solve() != solver.OPTIMAL:
        raise RuntimeError("OR-Tools found no assignment")
    return np.array([solver.right_mate(row) for row in range(size)])


def lapx(affinity: Float[np.ndarray, "S S"]) -> Int[np.ndarray, " S"]:
    """The fastest of lapx's calls on these matrices: `lapjvh`, where it has that."""
    import lap

    solve = getattr(lap, "lapjvh", lap.lapjvx)
    return solve(-affinity, return_cost=False)[1]


PEERS: dict[str, Solver] = {"SciPy": scipy, "OR-Tools": ortools, "lapx": lapx}
