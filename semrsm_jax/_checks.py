"""Checks of arguments: each error names the argument, what came, what was expected."""

import math
from collections.abc import Iterator
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax.core import Tracer
from jax.typing import ArrayLike

from semrsm_jax._rows import Rows


def is_traced(*arrays: Any) -> bool:
    """Whether any of the arrays is a tracer, so that its values cannot be read."""
    return any(isinstance(array, Tracer) for array in arrays)


def floating_dtype(dtype: jax.typing.DTypeLike) -> np.dtype:
    """The dtype that JAX computes in: without x64 none of 64 bits, and no integer."""
    dtype = jnp.dtype(dtype).newbyteorder("=")
    if jnp.issubdtype(dtype, jnp.integer):
        return jnp.result_type(float)
    return jax.dtypes.canonicalize_dtype(dtype)


def real_array(
    name: str, value: ArrayLike | Rows, rank: int | None = None
) -> jax.Array:
    """Converts to a real floating-point JAX array, integers to the default float.

    Raises as `real_array_on_host`.
    """
    if isinstance(value, Rows):
        value = np.asarray(value)
    value = real_array_on_host(name, value, rank)
    return on_device(value, floating_dtype(value.dtype))


def on_device(value: jax.Array | np.ndarray, dtype: jax.typing.DTypeLike) -> jax.Array:
    """A JAX array of the dtype, in which no number other than 0 becomes 0."""
    if isinstance(value, jax.Array):
        return value.astype(dtype)
    return jnp.asarray(on_host(value, dtype))


def on_host(value: np.ndarray, dtype: jax.typing.DTypeLike) -> np.ndarray:
    """A NumPy array of the dtype, in which no number other than 0 becomes 0.

    `finite`, and the range of squared norms, then see the numbers that are too small.
    """
    with np.errstate(over="ignore", under="ignore"):
        converted = value.astype(dtype, copy=False)
    if converted.dtype.itemsize < value.dtype.itemsize:
        lost = (converted == 0) & (value != 0)
        if lost.any():
            converted[lost] = jnp.finfo(dtype).smallest_subnormal
    return converted


def real_array_on_host(
    name: str, value: ArrayLike, rank: int | None = None
) -> jax.Array | np.ndarray:
    """Checks a real array; other than a JAX array, it stays or becomes a NumPy one.

    It comes back in the byte order of the machine. TypeError: complex, object, text or
    boolean, integers of less than 8 bits, floats of less than 16 or more than 64, or
    not an array; ValueError: other than `rank` axes, where one is given, or masked.
    """
    if isinstance(value, jax.Array):
        real(name, value, rank)
        return value
    try:
        array = value if isinstance(value, np.ndarray) else np.asarray(value)
        array = array.astype(array.dtype.newbyteorder("="), copy=False)
    # A PyTorch tensor with gradients, say, or one of bfloat16.
    except (RuntimeError, TypeError, ValueError) as error:
        raise TypeError(
            f"{name} must be a real array, got {type(value).__name__} ({error})"
        ) from error
    real(name, array, rank)
    return np.asarray(array)


def real(name: str, value: Any, rank: int | None = None) -> None:
    """Rejects an array that is not real or has other axes, as `real_array_on_host`."""
    dtype = value.dtype
    if jnp.issubdtype(dtype, jnp.floating):
        if dtype.itemsize > 8:
            raise TypeError(
                f"{name} must hold floats of at most 64 bits, got dtype {dtype}; "
                "convert it first, as by astype('float64')"
            )
        small = jnp.finfo(dtype).bits < 16
    elif jnp.issubdtype(dtype, jnp.integer):
        small = jnp.iinfo(dtype).bits < 8
    else:
        raise TypeError(
            f"{name} must be a real array of floats or integers, got dtype {dtype}"
        )
    if small:  # nothing promotes it
        raise TypeError(
            f"{name} must hold floats of at least 16 bits or integers of at least 8, "
            f"got dtype {dtype}; convert it first, as by astype('float32')"
        )
    not_masked(name, value)
    if rank is not None and value.ndim != rank:
        raise ValueError(
            f"{name} must have {rank} axes, got {value.ndim} (shape {value.shape})"
        )


def not_masked(name: str, value: Any) -> None:
    """Raises ValueError for a masked array: what is below the mask would count."""
    if np.ma.is_masked(value):
        raise ValueError(
            f"{name} must not be masked, got {np.ma.count_masked(value)} masked values "
            f"of {value.size}; leave those samples out, or give filled(...)"
        )


def with_shape(value: Any) -> Any:
    """The value where it has a shape, to be read by rows; else as an array."""
    return value if hasattr(value, "shape") else np.asarray(value)


def finite(name: str, array: jax.Array | np.ndarray | Rows) -> None:
    """Rejects what the dtype cannot hold; a traced array passes, its values unknown.

    ValueError: in the dtype that JAX computes in it holds NaN or infinity, or no value
    but 0 and those below the smallest normal number, of which few digits are left.
    """
    if is_traced(array):
        return
    dtype = floating_dtype(array.dtype)

    # A part at a time: what is kept on the host may be larger than memory.
    def parts() -> Iterator[Any]:
        if isinstance(array, jax.Array) or not array.ndim:
            yield array
            return
        size = max(1, 2**20 * len(array) // max(1, array.size))
        yield from (array[n : n + size] for n in range(0, len(array), size))

    bad, peak = 0, 0.0
    for part in parts():
        if isinstance(part, jax.Array):
            # A constant inside a traced function has values too: looked at now.
            with jax.ensure_compile_time_eval():
                count, largest = _not_finite(part.astype(dtype))
        else:
            part = np.asarray(part)
            count, largest = 0, largest_on_host(part, dtype)
            if not np.isfinite(largest):
                count = np.count_nonzero(~np.isfinite(_cast(part, dtype)))
        bad, peak = bad + int(count), max(peak, float(largest))
    if bad:
        raise ValueError(
            f"{name} must be finite in {dtype}, got {bad} NaN or infinite of "
            f"{array.size} values"
        )
    tiny = float(jnp.finfo(dtype).tiny)
    # Compilers may count what is smaller as 0; NumPy does not.
    if peak < tiny and any(np.asarray(part).any() for part in parts()):
        raise ValueError(
            f"{name} must be 0 or have values of at least {tiny:.2g} in magnitude, the "
            f"smallest normal number of {dtype}; all are smaller. Multiply it by a "
            "constant"
        )


@jax.jit
def _not_finite(array: jax.Array) -> tuple[jax.Array, jax.Array]:
    """How many values are not finite, and the largest magnitude."""
    return jnp.sum(~jnp.isfinite(array)), jnp.max(jnp.abs(array), initial=0)


def largest_on_host(array: np.ndarray, dtype: Any) -> float:
    """The largest magnitude in a dtype; NaN where one is. It compiles nothing."""
    array = _cast(array, dtype)
    if array.itemsize < 4:  # NumPy compares half precision slowly
        array = array.astype(np.float32)
    return float(max(np.max(array, initial=0), -np.min(array, initial=0)))


def _cast(array: np.ndarray, dtype: Any) -> np.ndarray:
    with np.errstate(over="ignore"):
        return array.astype(dtype, copy=False)


def non_empty(name: str, array: Any, axes: str) -> None:
    """Raises ValueError where one of the last axes, named as ``"N S C"``, is empty."""
    names = axes.split()
    for axis, length in zip(names, array.shape[-len(names) :], strict=True):
        if length == 0:
            raise ValueError(
                f"{name} must have at least one entry along {axis}, got shape "
                f"{array.shape} for ({', '.join(names)})"
            )


def same_channels(names: str, x: Any, y: Any) -> None:
    """Raises ValueError for tokens (N, S, C) and (M, T, C) of unequal C."""
    if x.shape[-1] != y.shape[-1]:
        raise ValueError(
            f"{names} must have the same channels, got {x.shape[-1]} and {y.shape[-1]}"
        )


def pair_of_tokens(x: jax.Array, y: jax.Array) -> None:
    """Raises ValueError for tokens (..., S, C), (..., T, C) that cannot be compared.

    That is, too few axes, an empty one, others in front or in channels, NaN or
    infinity.
    """
    for name, tokens in (("x_i", x), ("y_j", y)):
        if tokens.ndim < 2:
            raise ValueError(
                f"{name} must have at least 2 axes (tokens, channels), got shape "
                f"{tokens.shape}"
            )
        non_empty(name, tokens, "S C")
        finite(name, tokens)
    if x.shape[-1] != y.shape[-1] or x.shape[:-2] != y.shape[:-2]:
        raise ValueError(
            "x_i (..., S, C) and y_j (..., T, C) must have the same channels and "
            f"leading axes, got shapes {x.shape} and {y.shape}"
        )


def token_mask(
    name: str, mask: ArrayLike | None, shape: tuple[int, ...]
) -> jax.Array | None:
    """Converts a mask of tokens, True where the token takes part.

    TypeError: not boolean; ValueError: another shape, or a sample without a token.
    """
    if mask is None:
        return None
    if not isinstance(mask, jax.Array):
        mask = np.asarray(mask)
    if mask.dtype != bool:
        raise TypeError(f"{name} must be boolean, got dtype {mask.dtype}")
    if mask.shape != shape:
        raise ValueError(f"{name} must have shape {shape}, got {mask.shape}")
    if not is_traced(mask) and not np.asarray(mask).any(axis=-1).all():
        raise ValueError(f"{name} must keep at least one token of each sample")
    return jnp.asarray(mask)


def at_least(name: str, value: Any, minimum: int) -> int:
    """The value as an integer. TypeError: not one; ValueError: below the minimum."""
    if isinstance(value, bool) or not isinstance(value, int | np.integer):
        raise TypeError(f"{name} must be an integer, got {value!r}")
    if value < minimum:
        raise ValueError(f"{name} must be at least {minimum}, got {value}")
    return int(value)


def finite_number(name: str, value: Any, *, above: bool = False) -> float:
    """A finite float of at least 0, or above it; of a NumPy or JAX scalar too.

    TypeError: not a real number, or a bool; ValueError: out of that range.
    """
    number = value.item() if getattr(value, "ndim", None) == 0 else value
    if isinstance(number, bool) or not isinstance(number, int | float):
        raise TypeError(f"{name} must be a number, got {value!r}")
    if not (0 < number if above else 0 <= number) or number == math.inf:
        least = "above 0" if above else "of at least 0"
        raise ValueError(f"{name} must be a finite number {least}, got {value!r}")
    return float(number)


def boolean(name: str, value: Any) -> bool:
    """The value as a bool; TypeError for others: a text such as "no" would be True."""
    if not isinstance(value, bool | np.bool_):
        raise TypeError(f"{name} must be True or False, got {value!r}")
    return bool(value)


def estimator(value: str) -> None:
    """Raises ValueError for neither ``"biased"`` nor ``"unbiased"``."""
    one_of("estimator", value, ("biased", "unbiased"))


def one_of(name: str, value: Any, choices: tuple[str, ...]) -> None:
    """Raises ValueError for a value that is not one of the choices."""
    if value not in choices:
        expected = ", ".join(repr(choice) for choice in choices)
        raise ValueError(f"{name} must be one of {expected}, got {value!r}")
