"""What is done to an array before JAX computes in fewer bits, or near the end of them.

A large constant, or a scale outside the range of float32, would cost all digits of
numbers that NumPy holds in full; most comparisons depend on neither.
"""

import jax
import jax.numpy as jnp
import numpy as np
from jax.typing import ArrayLike
from jaxtyping import Array, Float

from semrsm_jax import _checks
from semrsm_jax._narrowed import is_narrowed
from semrsm_jax._representations import (
    accumulation_dtype,
    largest,
    nonzero,
    powers_of_two,
    sq_norm_range,
    times_power_of_two,
    with_digits,
)


def to_device(
    name: str, value: ArrayLike, rank: int, *, shift: bool, scale: bool
) -> Float[Array, "..."]:
    """Checks a real, finite array and converts it to the dtype that JAX computes in.

    Where the result depends on no constant added to all entries (`shift`), or no
    positive factor of them (`scale`), these are chosen so that no digits are lost. A
    traced array is NaN where it is so small, or without `scale` so large, that
    differences lose digits. TypeError: not real; ValueError: other axes, NaN or
    infinity, or out of that range.
    """
    array = _checks.real_array_on_host(name, value, rank)
    if is_narrowed(array) and array.size:
        with jax.enable_x64(True):
            _checks.finite(name, array)
        array = array.astype(np.float64)
        array = _shifted(array) if shift else array
        size = np.max(np.abs(array))
        array = array / size if scale and size > 0 else array
    if scale:
        array = _in_range(array)
    _checks.finite(name, array)
    converted = _checks.real_array(name, array)
    converted = converted.astype(accumulation_dtype(converted.dtype))
    return converted if scale else with_digits(name, converted)


def _in_range(array: Array | np.ndarray) -> Array | np.ndarray:
    """The array, times a power of two where `with_digits` would reject it."""
    if not jnp.issubdtype(array.dtype, jnp.floating) or not array.size:
        return array
    dtype = accumulation_dtype(_checks.floating_dtype(array.dtype))
    low, high = sq_norm_range(dtype)
    peak = largest(array, dtype)
    traced = _checks.is_traced(array)
    if not traced and low <= peak <= high:
        return array
    # The host keeps the smallest numbers, which compilers may count as 0.
    whole = (array if traced else np.asarray(array)).reshape(1, 1, -1)
    power = powers_of_two(whole, None)
    if traced:
        power = jnp.where((peak >= low) & (peak <= high), 0, power)
    scaled = times_power_of_two(whole, None, power).reshape(array.shape)
    if not traced:
        return scaled
    # Compilers may have counted some of its entries as 0.
    some = nonzero(jnp.asarray(array)).any()
    return jnp.where((peak < low) & some, jnp.nan, scaled)


def where_known(value: Array, *arrays: Array) -> Array:
    """The value; NaN where an array holds NaN, which sorting would hide."""
    unknown = jnp.stack([jnp.isnan(array).any() for array in arrays]).any()
    return jnp.where(unknown, jnp.nan, value)


def _shifted(array: np.ndarray) -> np.ndarray:
    """The array less one of its entries; zero where only rounding is left.

    Any entry off the diagonal will do: the rest is within the range of the entries.
    """
    size = np.max(np.abs(array))
    array = array - array[..., -1].flat[0]
    constant = np.max(np.abs(array)) <= 8 * np.finfo(array.dtype).eps * size
    return np.zeros_like(array) if constant else array
