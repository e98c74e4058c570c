"""Features of layers, of which some rows are read at a time, and their Gram matrices.

On the host, as `_row_blocks`: BLAS forms a symmetric product in half of the operations.
"""

from collections.abc import Iterable, Mapping, Sequence
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Float

from semrsm_jax.comparison._row_blocks import blocks, compute_dtype

Layers = Sequence[Any] | Mapping[str, Any]

_CHUNK = 2**21  # entries of centered features at a time
# Below this, entries in float32 may have lost digits.
_LEAST = 1e-30


class _Gram(NamedTuple):
    """Rows of the Gram matrix of a layer, from its diagonal on, divided by `scale`."""

    rows: Float[np.ndarray, "b M"]
    diagonal: Float[np.ndarray, " b"]
    scale: float


class _Mean(NamedTuple):
    """What is subtracted from features, one after the other: their sum is the mean."""

    first: Float[np.ndarray, " C"]
    rest: Float[np.ndarray, " C"]


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
            for a, b in blocks(first.size, _width(len(rows))):
                total[a:b] += ones @ (rows[:, a:b] - first[a:b])
        return _Mean(first, (total / n).astype(self.dtype))

    def gram(self, start: int, stop: int, step: int, mean: _Mean) -> _Gram:
        """Rows start to stop from column start on; in float64 where float32 fails."""
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
        gram = gram.astype(self.dtype, copy=False)
        return _Gram(gram, gram.diagonal().astype(float), scale)

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
    x: np.ndarray, y: np.ndarray, mean: _Mean, dtype: np.dtype
) -> Float[np.ndarray, "b B"]:
    """Inner products of all rows less the mean, some features at a time."""
    total = np.zeros((len(x), len(y)), dtype)
    for a, b in blocks(x.shape[1], _width(max(len(x), len(y)))):
        left = _centered(x[:, a:b], mean, a, b, dtype)
        # Of one array with itself BLAS computes a triangle.
        right = left if y is x else _centered(y[:, a:b], mean, a, b, dtype)
        # What overflows is computed again, or an error.
        with np.errstate(over="ignore", invalid="ignore"):
            total += left @ right.T
    return total


def _centered(
    x: np.ndarray, mean: _Mean, start: int, stop: int, dtype: np.dtype
) -> np.ndarray:
    x = x.astype(dtype)
    x -= mean.first[start:stop]
    x -= mean.rest[start:stop]
    return x


def _width(rows: int) -> int:
    """Features at a time, so that they stay in the cache; as many as BLAS likes."""
    return max(512, _CHUNK // rows)


def named_layers(layers: Layers) -> Iterable[tuple[Any, Any]]:
    return layers.items() if isinstance(layers, Mapping) else enumerate(layers)


def feature_layers(argument: str, layers: Layers) -> list[FeatureLayer]:
    """The layers, each with the name that an error calls it."""
    names = [(f"{argument}[{key!r}]", value) for key, value in named_layers(layers)]
    if not names:
        raise ValueError(f"{argument} must hold at least one layer, got none")
    return [FeatureLayer(name, checked_features(name, value)) for name, value in names]


def checked_features(name: str, value: Any) -> Any:
    """Features that can be read by rows; JAX arrays as NumPy's."""
    if isinstance(value, jax.Array) or not hasattr(value, "shape"):
        value = np.asarray(value)
    if not (
        jnp.issubdtype(value.dtype, jnp.floating)
        or jnp.issubdtype(value.dtype, jnp.integer)
    ):
        raise TypeError(
            f"{name} must be a real array of floats or integers, got dtype "
            f"{value.dtype}"
        )
    if len(value.shape) < 2 or 0 in value.shape:
        raise ValueError(
            f"{name} must have at least 2 axes (samples, features), none empty, got "
            f"shape {tuple(value.shape)}"
        )
    return value
