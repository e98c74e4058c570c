"""The solvers of linear assignment: one rule for each name."""

from collections.abc import Callable
from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, Int

from semrsm_jax.matching import _device, _dual, _host
from semrsm_jax.matching._batch import over_batch

# (affinity, row_mask, column_mask, tolerance) -> (permutation, bound, prices).
Solver = Callable[
    [Array, Array | None, Array | None, float], tuple[Array, Array, Array]
]


@partial(jax.jit, static_argnames="tolerance")
def device_steps(
    affinity: Float[Array, "*batch S T"], tolerance: float = 1e-6
) -> Int[Array, "*batch"]:
    """Counts what the ``"device"`` solver does one after the other for each matrix.

    A batch takes as many steps as its worst matrix. On an accelerator each costs some
    kernels, however small the matrices.

    Args:
      affinity: (..., S, T) float32 or float64, finite.
      tolerance: relative gap between value and bound at which the solver stops.

    Returns:
      (...) int32: rounds of bids (Bertsekas 1988) and steps of augmenting paths (Jonker
      and Volgenant 1987).
    """

    def one(affinity, row_mask, column_mask):
        shifted, offset = _dual.shift(affinity, row_mask, column_mask)
        return _device.solve(shifted, offset, tolerance)[-1]

    return _batched(one, affinity, None, None)


def _auction(
    affinity: Array, row_mask: Array | None, column_mask: Array | None, tolerance: float
) -> tuple[Array, Array, Array]:
    return _host.call(_host.auction(tolerance), affinity, row_mask, column_mask)


def _proven(host_solver: Callable[[], _host.HostSolver]) -> Solver:
    """Adds a dual bound, taken on the device, to a host solver that gives none."""

    def run(affinity, row_mask, column_mask, tolerance):
        permutation, bound, _ = _host.call(
            host_solver(), affinity, row_mask, column_mask
        )
        proof, prices = _prove(affinity, row_mask, column_mask, permutation, tolerance)
        return permutation, jnp.where(jnp.isnan(bound), jnp.nan, proof), prices

    return run


@partial(jax.jit, static_argnames="tolerance")
def _prove(
    affinity: Array,
    row_mask: Array | None,
    column_mask: Array | None,
    permutation: Array,
    tolerance: float,
) -> tuple[Array, Array]:
    def one(affinity, row_mask, column_mask, permutation):
        shifted, offset = _dual.shift(affinity, row_mask, column_mask)
        bound, prices = _dual.prove(shifted, permutation, tolerance)
        return bound - offset, prices

    affinity = jax.lax.stop_gradient(affinity)
    return _batched(one, affinity, row_mask, column_mask, permutation)


def _on_device(solver: Callable[..., tuple[Array, ...]]) -> Solver:
    """Masks, rectangles and values that are not finite, for a solver in JAX.

    The solver takes a shifted affinity, its offset and the tolerance, see
    `_dual.shift`.
    """

    @partial(jax.jit, static_argnames="tolerance")
    def run(affinity, row_mask, column_mask, tolerance):
        def one(affinity, row_mask, column_mask):
            shifted, offset = _dual.shift(affinity, row_mask, column_mask)
            # A loop may not end on NaN: the solver gets zeros, the bound is NaN.
            finite = jnp.isfinite(shifted).all()
            shifted = jnp.where(finite, shifted, 0)
            permutation, bound, prices, *_ = solver(shifted, offset, tolerance)
            partner = jnp.maximum(permutation, 0)
            present = (permutation >= 0) & row_mask & column_mask[partner]
            permutation = jnp.where(present, permutation, -1)
            return permutation, jnp.where(finite, bound - offset, jnp.nan), prices

        return _batched(one, jax.lax.stop_gradient(affinity), row_mask, column_mask)

    return run


def _hungarian(
    shifted: Array, offset: Array, tolerance: float
) -> tuple[Array, Array, Array]:
    """Optax's Hungarian algorithm; it returns no prices: they follow from it."""
    from optax.assignment import hungarian_algorithm

    del offset
    rows, columns = hungarian_algorithm(-shifted)
    permutation = jnp.full(shifted.shape[0], -1, jnp.int32)
    permutation = permutation.at[rows].set(jnp.asarray(columns, jnp.int32))
    return permutation, *_dual.prove(shifted, permutation, tolerance)


def _batched(
    one: Callable,
    affinity: Array,
    row_mask: Array | None,
    column_mask: Array | None,
    *more: Array,
) -> Any:
    """Maps a rule for one masked matrix over the leading axes."""
    *batch, rows, columns = affinity.shape
    if row_mask is None:
        row_mask = jnp.ones((*batch, rows), bool)
    if column_mask is None:
        column_mask = jnp.ones((*batch, columns), bool)
    return over_batch(one, tuple(batch), affinity, row_mask, column_mask, *more)


# The one table of solvers.
SOLVERS: dict[str, Solver] = {
    "auction": _auction,
    "scipy": _proven(_host.scipy),
    "ortools": _proven(_host.ortools),
    "optax": _on_device(_hungarian),
    "device": _on_device(_device.solve),
}
