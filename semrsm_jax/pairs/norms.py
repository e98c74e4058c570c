"""Squared norms of samples, and samples brought into the range that these have."""

from collections.abc import Callable
from contextlib import nullcontext
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Bool, Float

from semrsm_jax import _checks, _representations
from semrsm_jax._rows import Rows
from semrsm_jax.pairs.executor import PairInputs
from semrsm_jax.pairs.selection import batches, take

# Samples whose norms are taken at once.
_NORM_BATCH = 16


def squared_norms(
    name: str, array: Array | np.ndarray | Rows, mask: Array | None, dtype: Any
) -> Float[Array, " N"]:
    """The squared norms (N,) of flattened samples (N, S, C), masked tokens left out.

    ValueError: one leaves the range of the dtype; a traced one is NaN instead.
    """
    norms = _squared_norms(array, mask, dtype)
    _representations.check_range(name, array, norms, dtype)
    return norms


def _squared_norms(
    array: Array | np.ndarray | Rows, mask: Array | None, dtype: Any
) -> Float[Array, " N"]:
    """The squared norms of `squared_norms`; NaN out of range."""
    if _checks.is_traced(array, mask):
        return _representations.squared_norms(array, mask, dtype)
    # A constant inside a traced function has values too.
    with jax.ensure_compile_time_eval():
        if isinstance(array, jax.Array):
            return _representations.squared_norms(array, mask, dtype)
        # A batch at a time: nothing as large as the whole is put on the device.
        parts = [
            _representations.squared_norms(
                take(array, part, dtype), None if mask is None else mask[part], dtype
            )
            for part in batches(array.shape[0], _NORM_BATCH)
        ]
        return jnp.concatenate(parts)


def in_range(inputs: PairInputs, mirrored: bool, each: bool) -> PairInputs:
    """Multiplies samples out of range by powers of two, each by its own or all by one.

    A `Rows` stays as it is.
    """
    if isinstance(inputs.x, Rows) or isinstance(inputs.y, Rows):
        return inputs
    sides = [(inputs.x, inputs.x_mask), (inputs.y, inputs.y_mask)][: 2 - mirrored]
    inside = [_now(_is_inside, *side, inputs.dtype) for side in sides]
    if not _checks.is_traced(*inside) and all(np.asarray(i).all() for i in inside):
        return inputs
    powers = [_now(_representations.powers_of_two, *side) for side in sides]
    if not each:
        inside, powers = _now(_least, *inside), _now(_least, *powers)
    x, *y = (
        _now(_scaled, *side, *by)
        for side, *by in zip(sides, inside, powers, strict=True)
    )
    return inputs._replace(x=x, y=y[0] if y else x)


def _is_inside(x: Any, mask: Array | None, dtype: Any) -> Bool[Array, " N"]:
    return ~jnp.isnan(_squared_norms(x, mask, dtype))


def _least(*values: Array) -> list[Array]:
    """The least value of all, in the shape of each."""
    least = jnp.stack([each.min() for each in values]).min()
    return [jnp.broadcast_to(least, each.shape) for each in values]


def _scaled(x: Any, mask: Array | None, inside: Array, power: Array) -> Any:
    exponent = jnp.where(inside, 0, power)
    if _checks.is_traced(mask, exponent):
        x = jnp.asarray(x)
    return _representations.times_power_of_two(x, mask, exponent)


def _now(function: Callable[..., Any], *arguments: Any) -> Any:
    """The value, which constants inside a traced function have too."""
    traced = _checks.is_traced(*arguments)
    with nullcontext() if traced else jax.ensure_compile_time_eval():
        return function(*arguments)
