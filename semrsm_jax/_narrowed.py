"""Arrays of NumPy of which JAX, without x64, keeps fewer bits."""

import sys
import warnings
from typing import Any, TypeGuard

import jax
import jax.numpy as jnp
import numpy as np

from semrsm_jax._checks import floating_dtype, is_traced, real_array_on_host
from semrsm_jax._rows import Rows

# Values that are looked at, evenly spread.
_MOST = 2**22


def is_narrowed(value: Any) -> TypeGuard[np.ndarray]:
    """Whether an array is NumPy's and JAX computes in fewer bits."""
    return isinstance(value, np.ndarray) and _loses_bits(value.dtype)


def _loses_bits(dtype: np.dtype) -> bool:
    if dtype.kind in "iu":
        return np.iinfo(dtype).bits > jnp.finfo(floating_dtype(dtype)).nmant + 1
    return dtype.kind == "f" and floating_dtype(dtype).itemsize < dtype.itemsize


def less_offset(
    array: Any, axes: tuple[int, ...], mean: Any, present: Any = None
) -> tuple[jax.Array | np.ndarray, Any]:
    """An array less its mean over some axes, or less a given one, which then is zero.

    Only where a constant would cost the digits that NumPy alone holds. The mean is over
    the entries `present`, all for None; 0 where there are none.
    """
    if not is_narrowed(array) or is_traced(mean, present):
        return array, mean
    if mean is None:
        where = np.broadcast_to(True if present is None else present, array.shape)
        with np.errstate(over="ignore", invalid="ignore"):
            total = np.sum(array, axes, np.float64, where=where)
        offset = total / np.maximum(np.count_nonzero(where, axes), 1)
    else:
        offset = np.asarray(real_array_on_host("mean", mean))
    shape = tuple(np.delete(array.shape, axes))
    if offset.shape != shape or not np.isfinite(offset).all():
        return array, mean
    return array - offset, None if mean is None else np.zeros(shape)


def warn_of_lost_variation(name: str, array: Any) -> None:
    """Warns of values that differ, in each channel, by less than JAX will keep.

    Of `Rows` the first are looked at.
    """
    if isinstance(array, Rows) and len(array) and _loses_bits(array.dtype):
        array = array[: max(1, _MOST * len(array) // max(1, array.size))]
    if not is_narrowed(array) or array.size == 0 or array.ndim == 0:
        return
    array = array[:: -(-array.size // _MOST)]
    values = array.reshape(-1, array.shape[-1] if array.ndim > 1 else 1)
    with np.errstate(over="ignore", invalid="ignore"):  # what is not finite is an error
        size = np.sqrt(np.mean(np.square(values, dtype=np.float64)))
        spread = np.sqrt(np.mean(np.var(values, axis=0, dtype=np.float64)))
    dtype = floating_dtype(array.dtype)
    lost = 100 * float(jnp.finfo(dtype).eps) * size
    if 64 * np.finfo(np.float64).eps * size < spread < lost:
        warnings.warn(
            f"{name} varies by {spread:.2g} about {size:.2g}, of which {dtype} keeps "
            "few digits or none: subtract a constant, as center does, or use float64 "
            "(JAX_ENABLE_X64=1)",
            stacklevel=_user_level(),
        )


def _user_level() -> int:
    """The stack level of the nearest caller outside of the package, for a warning."""
    level, frame = 1, sys._getframe(1)
    while frame.f_back and frame.f_globals.get("__name__", "").startswith(
        "semrsm_jax."
    ):
        level, frame = level + 1, frame.f_back
    return level
