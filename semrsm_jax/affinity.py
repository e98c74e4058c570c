"""The affinity of all tokens of two samples, Eq. 5."""

from functools import partial

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

from semrsm_jax import _checks
from semrsm_jax.representations import accumulation_dtype


def affinity(
    x_i: Float[Array, "*batch S C"],
    y_j: Float[Array, "*batch T C"],
    *,
    precision: jax.lax.PrecisionLike = jax.lax.Precision.HIGHEST,
) -> Float[Array, "*batch S T"]:
    """Inner products of every token of one sample with every token of another, Eq. 5.

    Args:
      x_i: tokens (..., S, C).
      y_j: tokens (..., T, C), with the leading axes of `x_i`.
      precision: of the matrix product. The default keeps TF32 and bfloat16 passes of an
        accelerator from changing a matching silently.

    Returns:
      The affinity matrices (..., S, T); float32 for float16 and bfloat16 tokens.

    Raises:
      TypeError: an array is not real.
      ValueError: the channels or the leading axes differ, or there are fewer than two
        axes.
    """
    x_i, y_j = _checks.real_array("x_i", x_i), _checks.real_array("y_j", y_j)
    for name, tokens in (("x_i", x_i), ("y_j", y_j)):
        if tokens.ndim < 2:
            raise ValueError(
                f"{name} must have at least 2 axes (tokens, channels), got shape "
                f"{tokens.shape}"
            )
    if x_i.shape[-1] != y_j.shape[-1]:
        raise ValueError(
            f"x_i and y_j must have the same channels, got {x_i.shape[-1]} and "
            f"{y_j.shape[-1]}"
        )
    if x_i.shape[:-2] != y_j.shape[:-2]:
        raise ValueError(
            f"x_i and y_j must have the same leading axes, got {x_i.shape[:-2]} and "
            f"{y_j.shape[:-2]}"
        )
    return _product(x_i, y_j, precision)


@partial(jax.jit, static_argnames="precision")
def _product(x: Array, y: Array, precision: jax.lax.PrecisionLike) -> Array:
    dtype = jnp.promote_types(x.dtype, y.dtype)
    return jnp.einsum(
        "...sc,...tc->...st",
        x.astype(dtype),
        y.astype(dtype),
        precision=precision,
        preferred_element_type=accumulation_dtype(dtype),
    )
