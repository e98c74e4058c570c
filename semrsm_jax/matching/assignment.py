"""Linear assignment of affinity matrices, by any of the solvers."""

from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax.typing import ArrayLike
from jaxtyping import Array, Bool, Float, Int

from semrsm_jax import _checks
from semrsm_jax._narrowed import warn_of_lost_variation
from semrsm_jax._representations import accumulation_dtype, nonzero
from semrsm_jax.matching._solvers import SOLVERS


class Assignment(NamedTuple):
    """A solved assignment, batched over the leading axes of the affinity.

    Attributes:
      permutation: (..., S) int32, the column of each row; -1 where it stays unmatched.
      value: (...), the sum of the matched affinities; differentiable in the affinity,
        the permutation held fixed (envelope gradient).
      upper_bound: (...), proven from a dual solution: no assignment sums to more (to
        less, when minimizing), up to rounding.
    """

    permutation: Int[Array | np.ndarray, "*batch S"]
    value: Float[Array | np.ndarray, "*batch"]
    upper_bound: Float[Array | np.ndarray, "*batch"]


def linear_assignment(
    affinity: ArrayLike,
    maximize: bool = True,
    tolerance: float = 1e-6,
    solver: str = "auction",
    *,
    row_mask: ArrayLike | None = None,
    column_mask: ArrayLike | None = None,
) -> Assignment:
    """Matches rows with columns so that the sum of their affinities is largest.

    Exactly min(S, T) pairs are matched (of the unmasked), as
    `scipy.optimize.linear_sum_assignment` does, but batched, with a proof, and under
    jit.

    Args:
      affinity: (..., S, T), finite; float16, bfloat16, integers and booleans become
        float32. Without a row or a column nothing is matched and the value is 0.
      maximize: False finds the smallest sum.
      tolerance: relative gap between value and bound at which the auction may stop;
        0.0 asks for a provably optimal answer. The other solvers are exact up to
        rounding and use it only to end their proof early.
      solver: ``"auction"`` (this package's own, on the host), ``"scipy"``,
        ``"ortools"`` (both on the host), ``"device"`` (this package's auction in JAX,
        on the device and without a callback) or ``"optax"`` (Optax's Hungarian
        algorithm, on the device as well).
      row_mask: (..., S), True where a row takes part. None: all do.
      column_mask: (..., T), True where a column takes part. None: all do.

    Returns:
      The `Assignment`, of NumPy arrays unless `affinity` is a JAX array. Equal
      affinities always give the same permutation.

    Raises:
      TypeError: `affinity` is not real, a mask not boolean, or the tolerance not a
        number.
      ValueError: fewer than two axes; NaN or infinity, a largest magnitude below that
        of which the dtype holds sums (1e-31 in float32), or a sum above those that it
        holds (under jit a NaN value instead); an unknown solver, or a negative
        tolerance.

    Warns:
      UserWarning: JAX computes in fewer bits than `affinity` has, and these keep few
        digits of its variation.

    References:
      Bertsekas, "The auction algorithm", 1988; Crouse, "On implementing 2D rectangular
      assignment algorithms", 2016 (SciPy); Goldberg and Kennedy, 1995 (OR-Tools).

    Examples:
      >>> import numpy as np
      >>> from semrsm_jax import linear_assignment
      >>> best = linear_assignment(np.array([[5.0, 9, 1], [4, 8, 2], [7, 8, 3]]))
      >>> print(best.permutation, best.value)
      [1 2 0] 18.0
      >>> print(linear_assignment(np.array([[5.0, 9], [4, 1]]), maximize=False).value)
      6.0
    """
    on_host = not isinstance(affinity, jax.Array)
    xp: Any = np if on_host else jnp
    if getattr(affinity, "dtype", None) == np.dtype(bool):
        affinity = xp.asarray(affinity, int)
    affinity = _checks.real_array_on_host("affinity", affinity)
    if affinity.ndim < 2:
        raise ValueError(
            f"affinity must have at least 2 axes (S, T), got shape {affinity.shape}"
        )
    tolerance = check_solver(solver, tolerance)
    dtype = accumulation_dtype(_checks.floating_dtype(affinity.dtype))
    if not on_host or row_mask is not None or column_mask is not None:
        # Else the solver finds what is not finite.
        _checks.finite("affinity", affinity)
    warn_of_lost_variation("affinity", affinity)
    if isinstance(affinity, np.ndarray):
        affinity = _checks.on_host(affinity, dtype)
    else:
        affinity = affinity.astype(dtype)
    if not maximize:
        solved = linear_assignment(
            -affinity,
            True,
            tolerance,
            solver,
            row_mask=row_mask,
            column_mask=column_mask,
        )
        return Assignment(solved.permutation, -solved.value, -solved.upper_bound)
    if affinity.size == 0:
        nothing = xp.zeros(affinity.shape[:-2], affinity.dtype)
        unmatched = xp.full(affinity.shape[:-1], -1, xp.int32)
        return Assignment(unmatched, nothing, nothing)
    operand: Any = affinity
    permutation, bound, _ = solve(
        operand,
        _checks.token_mask("row_mask", row_mask, affinity.shape[:-1]),
        _checks.token_mask(
            "column_mask", column_mask, (*affinity.shape[:-2], affinity.shape[-1])
        ),
        tolerance=tolerance,
        solver=solver,
    )
    if not on_host:
        assignment = _assignment(operand, permutation, bound)
        if not _checks.is_traced(affinity) and jnp.isnan(assignment.value).any():
            _reject(affinity)
        return assignment
    permutation, bound = np.asarray(permutation), np.asarray(bound)
    if np.isnan(bound).any():
        _reject(affinity)
    columns = np.maximum(permutation, 0).ravel()
    rows = affinity.reshape(-1, affinity.shape[-1])
    chosen = rows[np.arange(len(rows)), columns].reshape(permutation.shape)
    value = chosen.sum(-1, dtype=np.float64, where=permutation >= 0)
    value = np.where(np.isnan(bound), bound, value)
    # One pass over the matrices only where there is a reason to look at them.
    suspect = ~(np.abs(value) <= jnp.finfo(dtype).max) | (np.abs(value) < _least(dtype))
    if suspect.any() and bool(_out_of_range(jnp.asarray(affinity), value).any()):
        _reject(affinity)
    value = value.astype(dtype)
    return Assignment(permutation, value, np.maximum(bound, value))


def check_solver(solver: str, tolerance: float) -> float:
    """The tolerance as a float. TypeError: it is not a number.

    ValueError: it is negative or not finite, or the solver unknown.
    """
    _checks.one_of("solver", solver, tuple(SOLVERS))
    return _checks.finite_number("tolerance", tolerance)


def solve(
    affinity: Float[Array, "*batch S T"],
    row_mask: Bool[Array, "*batch S"] | None,
    column_mask: Bool[Array, "*batch T"] | None,
    *,
    tolerance: float,
    solver: str,
) -> tuple[Int[Array, "*batch S"], Float[Array, "*batch"], Float[Array, "*batch T"]]:
    """The permutations, proven bounds and prices of checked affinities.

    The bound is NaN for an affinity that is not finite. Prices prove
    it: sum_i max_j (A_ij - price_j) + sum_j price_j is the bound.
    """
    return SOLVERS[solver](affinity, row_mask, column_mask, tolerance)


@jax.jit
def _assignment(affinity: Array, permutation: Array, bound: Array) -> Assignment:
    chosen = jnp.take_along_axis(
        affinity, jnp.maximum(permutation, 0)[..., None], axis=-1
    )[..., 0]
    value = jnp.sum(jnp.where(permutation < 0, 0, chosen), axis=-1)
    unknown = jnp.isnan(bound) | _out_of_range(affinity, value)
    value = jnp.where(unknown, jnp.nan, value)
    return Assignment(permutation, value, jnp.maximum(bound, value))


def _least(dtype: Any) -> float:
    """The least magnitude of an affinity, other than 0, whose sums have all digits."""
    return float(jnp.finfo(dtype).tiny) / float(jnp.finfo(dtype).eps)


def _out_of_range(affinity: Array, value: Array | np.ndarray) -> Array:
    """Whether sums (...) overflow, or all entries of a matrix are too small."""
    peak = jnp.max(jnp.abs(affinity), axis=(-2, -1))
    present = jnp.any(nonzero(affinity), axis=(-2, -1))
    small = present & (peak < _least(affinity.dtype))
    # A float64 value stays in NumPy: a cast would overflow with a warning.
    return small | ~(abs(value) <= float(jnp.finfo(affinity.dtype).max))


def _reject(affinity: Any) -> None:
    """Raises ValueError for an affinity that no solver can sum."""
    _checks.finite("affinity", affinity)
    dtype, peak = affinity.dtype, float(abs(affinity).max())
    raise ValueError(
        "affinity must be 0 or have a largest magnitude of at least "
        f"{_least(dtype):.2g}, and sums of at most {float(jnp.finfo(dtype).max):.2g}, "
        f"so that {dtype} holds them; got values of up to {peak:.2g}. Multiply it by a "
        "constant"
    )
