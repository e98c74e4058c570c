"""What the host does to arrays of 64 bits before JAX, without x64, keeps 32 of them.

A large constant, or a scale outside the range of float32, would cost all digits of
numbers that NumPy holds in full; most comparisons depend on neither.
"""

import jax
import numpy as np
from jax.typing import ArrayLike
from jaxtyping import Array, Float

from semrsm_jax import _checks
from semrsm_jax._representations import accumulation_dtype


def to_device(
    name: str, value: ArrayLike, rank: int, *, shift: bool, scale: bool
) -> Float[Array, "..."]:
    """Checks a real, finite array and converts it to the dtype that JAX computes in.

    Args:
      name: the argument's name, for the error.
      value: array-like with `rank` axes.
      rank: of the array.
      shift: the result does not depend on a constant added to all entries, so one may
        be subtracted.
      scale: the result does not depend on a positive factor of all entries, so they may
        be divided by the largest.

    Raises:
      TypeError: not real.
      ValueError: another number of axes, NaN or infinity.
    """
    array = _checks.real_array_on_host(name, value, rank)
    if isinstance(array, np.ndarray) and array.size and _is_narrowed(array.dtype):
        with jax.enable_x64(True):
            _checks.finite(name, array)
        array = array.astype(np.float64)
        array = _shifted(array) if shift else array
        largest = np.max(np.abs(array))
        array = array / largest if scale and largest > 0 else array
    converted = _checks.real_array(name, array)
    _checks.finite(name, converted)
    return converted.astype(accumulation_dtype(converted.dtype))


def _is_narrowed(dtype: np.dtype) -> bool:
    """Whether JAX computes in fewer bits."""
    return _checks.floating_dtype(dtype).itemsize < dtype.itemsize


def _shifted(array: np.ndarray) -> np.ndarray:
    """The array less one of its entries; zero where only rounding is left.

    Any entry off the diagonal will do: the rest is within the range of the entries.
    """
    size = np.max(np.abs(array))
    array = array - array[..., -1].flat[0]
    constant = np.max(np.abs(array)) <= 8 * np.finfo(array.dtype).eps * size
    return np.zeros_like(array) if constant else array
