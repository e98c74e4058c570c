"""Representations as sets of semantic concept vectors: arrays (N, S, C)."""

from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax.typing import ArrayLike
from jaxtyping import Array, Bool, Float, Int

from semrsm_jax import _checks
from semrsm_jax._layouts import AXES, layout_of
from semrsm_jax._narrowed import less_offset, warn_of_lost_variation
from semrsm_jax._rows import Rows


def to_tokens(z: ArrayLike | Rows, layout: str | None = None) -> Float[Array, "N S C"]:
    """Brings activations into the order (samples, tokens, channels), section 2.

    A token is the semantic concept vector of one spatial position. Tokens of an image
    come row by row: token ``h * W + w`` stands at row ``h`` and column ``w``.

    Args:
      z: activations (N, H, W, C) or (N, C, H, W), or (N, S, C) or (N, C, S), as
        `layout` states, of any real dtype; integers become the default float.
      layout: the order of the axes: N samples, H rows, W columns, S tokens, C channels.
        Default: ``"NHWC"`` of 4 axes, ``"NSC"`` of 3.

    Returns:
      The tokens (N, S, C), in the floating-point dtype that JAX computes in.

    Raises:
      TypeError: `z` is complex, boolean, object or string.
      ValueError: `layout` is unknown or does not fit the rank, an axis is empty, or
        `z` holds NaN or infinity.

    Warns:
      UserWarning: no layout was given, and the last two axes of four are equal, as
        those of (N, C, H, W) mostly are; or JAX computes in fewer bits than `z` has,
        and these keep few digits of its variation.

    Examples:
      >>> import numpy as np
      >>> from semrsm_jax import to_tokens
      >>> activations = np.zeros((10, 7, 7, 512), np.float32)  # (N, H, W, C)
      >>> to_tokens(activations).shape
      (10, 49, 512)
      >>> to_tokens(activations.transpose(0, 3, 1, 2), layout="NCHW").shape
      (10, 49, 512)
    """
    z = np.asarray(z) if isinstance(z, Rows) else z
    z = _checks.real_array_on_host("z", z)
    layout = layout_of("z", z.shape, layout)
    _checks.non_empty("z", z, " ".join(layout))
    z = z.transpose(AXES[layout])
    warn_of_lost_variation("z", z)
    z = _checks.real_array("z", z.reshape(z.shape[0], -1, z.shape[-1]))
    _checks.finite("z", z)
    return z


def center(
    x: ArrayLike,
    axis: str = "channel",
    *,
    mean: ArrayLike | None = None,
    mask: ArrayLike | None = None,
) -> Float[Array, "N S C"]:
    """Subtracts the mean representation, so that similarity separates samples.

    Args:
      x: representations (N, S, C).
      axis: ``"channel"`` subtracts from each channel its mean over samples and tokens;
        it keeps an RSM invariant to permutations of the tokens. ``"position"``
        subtracts the mean over samples at each token and channel; it breaks that
        invariance and serves as a comparison.
      mean: the mean to subtract in place of that of `x`, for example a database's
        (App. D.1): shape (C,) for ``"channel"``, (S, C) for ``"position"``.
      mask: (N, S), True where a token takes part in the mean.

    Returns:
      The centered representations in the dtype of `x`; means of float16 and bfloat16
      are taken in float32.

    Raises:
      TypeError: an array is not real, or `mask` is not boolean.
      ValueError: `axis` is unknown, `x` is empty or not of rank 3, the shape of `mean`
        or `mask` does not fit, or all values are so small, or some so large, that
        differences lose digits; under jit the result is NaN then.

    Examples:
      >>> import numpy as np
      >>> from semrsm_jax import center
      >>> x = np.array([[[1.0, 5.0], [3.0, 5.0]]])
      >>> print(center(x))
      [[[-1.  0.]
        [ 1.  0.]]]
    """
    _checks.one_of("axis", axis, ("channel", "position"))
    given = _checks.real_array_on_host("x", x, rank=3)
    _checks.non_empty("x", given, "N S C")
    axes = (0, 1) if axis == "channel" else (0,)
    shape = given.shape[len(axes) :]
    mask = _checks.token_mask("mask", mask, given.shape[:2])
    present = None if mask is None else mask[..., None]
    given, mean = less_offset(given, axes, mean, present)
    x = _checks.real_array("x", given)
    _checks.finite("x", x)
    dtype = accumulation_dtype(x.dtype)
    if mean is None:
        mean = jnp.mean(x.astype(dtype), axis=axes, where=present)
        # A position masked in every sample has no mean; nothing reads its tokens.
        mean = mean if mask is None else jnp.nan_to_num(mean)
    else:
        mean = _checks.real_array("mean", mean)
        if mean.shape != shape:
            raise ValueError(
                f"mean must have shape {shape} for axis {axis!r}, got {mean.shape}"
            )
        _checks.finite("mean", mean)
    x = with_digits("x", x)
    return (x.astype(dtype) - mean.astype(dtype)).astype(x.dtype)


def accumulation_dtype(dtype: jax.typing.DTypeLike) -> jnp.dtype:
    """The dtype to sum in: float32 for half precision, else the dtype itself."""
    return jnp.promote_types(jnp.dtype(dtype).newbyteorder("="), jnp.float32)


def squared_token_norms(
    x: Float[Array, "*batch S C"], mask: Bool[Array, "*batch S"] | None = None
) -> Float[Array, "*batch S"]:
    """Squared Euclidean norms of the tokens; a masked token has norm zero."""
    x = x.astype(accumulation_dtype(x.dtype))
    norms = jnp.sum(x * x, axis=-1)
    return norms if mask is None else jnp.where(mask, norms, 0)


def sq_norm_range(dtype: jax.typing.DTypeLike) -> tuple[float, float]:
    """The least and the largest squared norm of a sample, other than 0, in a dtype.

    Within it no inner product or distance overflows, sums over millions of tokens
    included, and what underflows is below rounding errors.
    """
    info = jnp.finfo(accumulation_dtype(dtype))
    return float(info.tiny) / float(info.eps), float(info.max) * float(info.eps)


def with_digits(name: str, array: Float[Array, "*shape"]) -> Float[Array, "*shape"]:
    """An array whose differences keep their digits; a traced one is NaN otherwise.

    ValueError: its largest value, other than 0, is too small or too large.
    """
    low, high = sq_norm_range(array.dtype)
    peak = largest(array, array.dtype)
    if _checks.is_traced(array):
        inside = (peak >= low) & (peak <= high) | ~nonzero(array).any()
        return jnp.where(inside, array, jnp.nan)
    if not (low <= peak <= high) and np.asarray(array).any():
        raise ValueError(
            f"{name} must be 0 or have its largest value from {low:.2g} to {high:.2g} "
            f"in magnitude, so that differences keep their digits in {array.dtype}, "
            f"got {float(np.abs(np.asarray(array)).max()):.2g}; multiply it by a "
            "constant"
        )
    return array


def largest(
    array: Float[Array | np.ndarray, "*shape"], dtype: jax.typing.DTypeLike
) -> Float[Array, ""] | float:
    """The largest magnitude in that dtype; 0 of an empty array.

    A number where the array is not traced, as a constant inside a traced function.
    """
    if _checks.is_traced(array):
        return _largest(array.astype(dtype))
    if isinstance(array, np.ndarray):
        return _checks.largest_on_host(array, dtype)
    with jax.ensure_compile_time_eval():
        return float(_largest(jnp.asarray(array, dtype)))


@jax.jit
def _largest(array: Float[Array, "*shape"]) -> Float[Array, ""]:
    return jnp.max(jnp.abs(array), initial=0)


@partial(jax.jit, static_argnames="dtype")
def squared_norms(
    x: Float[Array, "*batch S C"],
    mask: Bool[Array, "*batch S"] | None,
    dtype: jax.typing.DTypeLike,
) -> Float[Array, "*batch"]:
    """Squared norms of flattened samples; NaN outside of `sq_norm_range`."""
    x = x.astype(dtype)
    norms = squared_token_norms(x, mask).sum(-1)
    least, largest = sq_norm_range(dtype)
    present = nonzero(x) if mask is None else nonzero(x) & mask[..., None]
    # A zero sample has the norm 0; any other has it by underflow.
    inside = (norms >= least) | ~present.any(axis=(-2, -1))
    return jnp.where(inside & (norms <= largest), norms, jnp.nan)


def nonzero(x: Float[Array, "*shape"]) -> Bool[Array, "*shape"]:
    """Where the bits are not those of 0; compilers may count the smallest as 0."""
    bits = jax.lax.bitcast_convert_type(x, f"uint{8 * x.dtype.itemsize}")
    return bits << 1 != 0


def powers_of_two(
    x: Float[Array | np.ndarray, "N S C"], mask: Bool[Array, "N S"] | None
) -> Int[Array, " N"]:
    """The exponents that bring the largest value of each sample to 1/2 or up to 1.

    That of a zero sample is the largest of all.
    """
    xp, x = _floating(x)
    if mask is not None:
        x = xp.where(mask[..., None], x, 0)
    _, exponent = xp.frexp(xp.abs(x).max((1, 2)))
    # So that the factor is a normal number.
    most = jnp.finfo(x.dtype).maxexp - 8
    present = (nonzero(x) if isinstance(x, jax.Array) else x != 0).any((1, 2))
    # A zero sample fits with any other.
    exponent = jnp.where(present, -jnp.asarray(exponent), most)
    return jnp.clip(exponent, -most, most)


def times_power_of_two(
    x: Float[Array | np.ndarray, "N S C"],
    mask: Bool[Array, "N S"] | None,
    exponent: Int[Array, " N"],
) -> Float[Array | np.ndarray, "N S C"]:
    """Each sample by a power of two, which loses no digit; masked tokens become 0."""
    xp, x = _floating(x)
    factor = xp.ldexp(xp.ones((), x.dtype), exponent).astype(x.dtype)
    x = x * factor[:, None, None]
    if xp is jnp:
        # XLA would square the factor of a constant apart from it, out of range.
        x = jax.lax.optimization_barrier(x)
    return x if mask is None else xp.where(mask[..., None], x, 0)


def _floating(x: Array | np.ndarray) -> tuple[Any, Any]:
    """NumPy or JAX, and the array in a dtype of it of at least 32 bits."""
    xp: Any = jnp if isinstance(x, jax.Array) else np
    if jnp.issubdtype(x.dtype, jnp.integer):
        return xp, x.astype(jnp.float64 if xp is np else jnp.result_type(float))
    return xp, x.astype(accumulation_dtype(x.dtype))


def in_range(
    name: str,
    x: Float[Array, "*batch S C"],
    mask: Bool[Array, "*batch S"] | None,
    dtype: jax.typing.DTypeLike,
) -> Float[Array, "*batch S C"]:
    """The samples; of traced ones, those that `check_range` would reject are NaN.

    Raises as `check_range`.
    """
    if _checks.is_traced(x, mask):
        inside = ~jnp.isnan(squared_norms(x, mask, dtype))
        return jnp.where(inside[..., None, None], x, jnp.nan)
    # A constant inside a traced function has values too.
    with jax.ensure_compile_time_eval():
        check_range(name, x, squared_norms(x, mask, dtype), dtype)
    return x


def check_range(name: str, array: Any, sq_norm: Array, dtype: Any) -> None:
    """Raises ValueError for samples whose squared norm leaves the range of the dtype.

    Samples (..., S, C) are finite; squared norms (...) are those of `squared_norms`,
    NaN outside of the range; traced ones pass. The dtype is the one they are matched
    in.
    """
    if _checks.is_traced(sq_norm):
        return
    outside = np.isnan(np.asarray(sq_norm))
    if not outside.any():
        return
    first = tuple(int(i) for i in np.argwhere(outside)[0])
    sample = array[first[0]] if len(first) == 1 else array[first]
    magnitude = np.abs(np.asarray(sample)).max()
    dtype = accumulation_dtype(dtype)
    least, largest = sq_norm_range(dtype)
    wider = "" if dtype == jnp.float64 else ", or use float64 (JAX_ENABLE_X64=1)"
    raise ValueError(
        f"{name} must have samples whose squared norm is 0 or from {least:.2g} to "
        f"{largest:.2g}, so that {dtype} holds their products; got "
        f"{int(outside.sum())} of {outside.size} outside of it, the first with values "
        f"of up to {float(magnitude):.2g} in magnitude. Scale the features: a common "
        f"factor changes neither the matching nor Cosine(){wider}"
    )
