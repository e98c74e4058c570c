"""Features of layers, of which some rows are read at a time, and their Gram matrices.

Products in float32 are JAX's, some features at a time: on the host they are faster than
those of OpenBLAS, and an accelerator is used where there is one. Those in float64 are
NumPy's, with and without x64.
"""

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

from semrsm_jax import _checks
from semrsm_jax.comparison._row_blocks import blocks, compute_dtype, named

Layers = Sequence[Any] | Mapping[str, Any]

_CHUNK = 2**21  # entries of features at a time, about
# Below this, entries in float32 may have lost digits.
_LEAST = 1e-30


# What is subtracted from features (C,), one after the other: the sum is their mean.
_Mean = tuple[Float[np.ndarray, " C"], Float[np.ndarray, " C"]]


class FeatureLayer(NamedTuple):
    """Features of a layer, of which some rows are read at a time."""

    name: str
    rows: Any

    @property
    def samples(self) -> int:
        """N."""
        return int(self.rows.shape[0])

    @property
    def dtype(self) -> np.dtype:
        """In which it is computed."""
        return compute_dtype(self.rows)

    @property
    def row_bytes(self) -> int:
        """What reading a row takes; 0 for what is in memory, or mapped."""
        width = int(np.prod(self.rows.shape[1:]))
        return 0 if isinstance(self.rows, np.ndarray) else width * self.dtype.itemsize

    def read(self, start: int, stop: int) -> Float[np.ndarray, "b C"]:
        """Some rows, flattened."""
        return np.asarray(self.rows[start:stop]).reshape(stop - start, -1)

    def mean(self, step: int) -> _Mean:
        """The mean over all samples, from so many rows at a time."""
        first = self.read(0, 1)[0].astype(self.dtype)
        n, total = self.samples, np.zeros(first.size)
        for start, stop in blocks(n, step):
            ones = np.ones(stop - start, self.dtype)
            rows = self.read(start, stop)
            for a, b in blocks(first.size, _width(first.size, len(rows))):
                total[a:b] += ones @ (rows[:, a:b] - first[a:b])
        return first, (total / n).astype(self.dtype)

    def gram(
        self, start: int, stop: int, step: int, mean: _Mean | None
    ) -> tuple[Float[np.ndarray, "b M"], float]:
        """Rows start to stop of the Gram matrix, from its diagonal on, and a factor.

        They are formed in float64 where float32 fails.
        """
        rows = self.read(start, stop)
        for dtype in (self.dtype, np.dtype(float)):
            parts = [_product(rows, rows, mean, dtype)]
            for a, b in blocks(self.samples - stop, step):
                other = self.read(stop + a, stop + b)
                parts.append(_product(rows, other, mean, dtype))
            gram = parts[0] if len(parts) == 1 else np.concatenate(parts, axis=1)
            largest = max(float(gram.max()), -float(gram.min()))
            if _LEAST < largest < np.inf:
                break
        if not np.isfinite(largest):
            raise ValueError(
                f"{self.name} must be finite, got NaN or infinity, or values whose "
                f"squares are, in samples {start} to {self.samples - 1}"
            )
        scale = largest or 1.0
        gram *= 1 / scale
        return gram.astype(self.dtype, copy=False), scale

    def varies(self, largest: float, step: int) -> bool:
        """Whether any feature does beyond rounding, of which the largest norm is."""
        first = self.read(0, 1)
        eps = np.finfo(float if first.dtype.kind in "iu" else self.dtype).eps
        noise = 8 * float(eps) * float(np.abs(first).max())
        if largest > first.size * noise**2:
            return True
        low, high = first.min(0), first.max(0)
        for start, stop in blocks(self.samples, step):
            rows = self.read(start, stop)
            low, high = np.minimum(low, rows.min(0)), np.maximum(high, rows.max(0))
        return bool(np.max(high - low) > noise)


def _product(
    x: np.ndarray, y: np.ndarray, mean: _Mean | None, dtype: np.dtype
) -> Float[np.ndarray, "b B"]:
    """Inner products of all rows less the mean, some features at a time.

    Without a mean the rows are all samples, and y is x.
    """
    total: Any = np.zeros((len(x), len(y)), dtype)
    in_jax = dtype == np.float32
    own, cross = (_own, _cross) if in_jax else (_own_in_numpy, _cross_in_numpy)
    width = _width(x.shape[1], max(len(x), len(y)))
    for a, b in blocks(x.shape[1], width):
        # What overflows is computed again, or an error.
        with np.errstate(over="ignore", invalid="ignore"):
            left = _padded(x[:, a:b], width, dtype)
            if mean is None:
                total = own(total, left)
                continue
            offsets = [_padded(each[a:b], width, dtype) for each in mean]
            right = left if y is x else _padded(y[:, a:b], width, dtype)
            total = cross(total, left, right, *offsets)
    # JAX's are read only.
    return np.array(total)


def _padded(x: np.ndarray, width: int, dtype: np.dtype) -> np.ndarray:
    """Features with zeros up to the width, so that few shapes are compiled."""
    if x.shape[-1] == width:
        return np.ascontiguousarray(x, dtype)
    padded = np.zeros((*x.shape[:-1], width), dtype)
    padded[..., : x.shape[-1]] = x
    return padded


@jax.jit
def _own(total: Array, x: Float[Array, "N c"]) -> Float[Array, "N N"]:
    """Adds the Gram matrix of centered features; a quarter of it is a mirror image."""
    x = x - x[0]
    x = x - jnp.mean(x, axis=0)
    half = len(x) // 2
    with jax.default_matmul_precision("highest"):
        upper, corner = x[:half] @ x.T, x[half:] @ x[half:].T
    lower = jnp.concatenate([upper[:, half:].T, corner], axis=1)
    return total + jnp.concatenate([upper, lower])


@jax.jit
def _cross(total: Array, x: Array, y: Array, first: Array, rest: Array) -> Array:
    """Adds the inner products of features less both parts of their mean."""
    x, y = (each - first - rest for each in (x, y))
    with jax.default_matmul_precision("highest"):
        return total + x @ y.T


def _own_in_numpy(total: np.ndarray, x: np.ndarray) -> np.ndarray:
    x = x - x[0]
    x -= np.mean(x, axis=0)
    return total + x @ x.T


def _cross_in_numpy(
    total: np.ndarray, x: np.ndarray, y: np.ndarray, first: np.ndarray, rest: np.ndarray
) -> np.ndarray:
    x, y = (each - first - rest for each in (x, y))
    return total + x @ y.T


def _width(features: int, rows: int) -> int:
    """Features at a time: a power of two, so that they stay in the cache."""
    most = max(512, _CHUNK // rows)
    return 1 << (min(features, most) - 1).bit_length()


def feature_layers(argument: str, layers: Layers) -> list[FeatureLayer]:
    """The layers, each with the name that an error calls it."""
    return [
        FeatureLayer(name, checked_features(name, value))
        for name, value in named(argument, layers, "layer").items()
    ]


def checked_features(name: str, value: Any) -> Any:
    """Features that can be read by rows; JAX arrays as NumPy's."""
    if isinstance(value, jax.Array) or not hasattr(value, "shape"):
        value = np.asarray(value)
    _checks.real(name, value)
    if len(value.shape) < 2 or 0 in value.shape:
        raise ValueError(
            f"{name} must have at least 2 axes (samples, features), none empty, got "
            f"shape {tuple(value.shape)}"
        )
    return value
