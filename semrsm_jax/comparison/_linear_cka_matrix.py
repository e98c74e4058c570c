"""Linear CKA of many layers with each other, straight from their features.

Each Gram matrix is formed once, its upper triangle alone, in blocks of rows; what is
kept of a block are its inner products with those of all other layers.
"""

import tempfile
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import Float

from semrsm_jax import _checks
from semrsm_jax.comparison._cka_matrix import ratios
from semrsm_jax.comparison._feature_layers import (
    Layers,
    checked_features,
    feature_layers,
)
from semrsm_jax.comparison._hsic import check_samples, effects
from semrsm_jax.comparison._row_blocks import Products, block_products, blocks

_ROOM = 2**29  # bytes of the blocks of all Gram matrices together, by default


def linear_cka_matrix(
    features: Layers,
    others: Layers | None = None,
    estimator: str = "biased",
    *,
    memory_budget: int | None = None,
) -> Float[np.ndarray, "R Q"]:
    """CKA of the linear RSMs of every two layers, with the values of `linear_cka`.

    It is exact, over all samples at once, where packages that go through a network
    batch by batch average estimates of batches. Each Gram matrix X X' is formed once.

    Args:
      features: R layers (N, ...), a sequence or a mapping whose order is that of the
        result; further axes are flattened. Each is an array of NumPy or JAX, a memory
        map, a Zarr array, or an opened file, of which some rows are read at a time.
        float64 is computed in float64, narrower floats in float32.
      others: Q layers of the same samples, as of another network; None compares
        `features` with themselves.
      estimator: of HSIC, ``"biased"`` or ``"unbiased"``, see `hsic`.
      memory_budget: bytes that the Gram matrices, and rows that are read, may take;
        where all (R + Q) of N x N do not fit, the features are read once for every
        block of rows. None: 512 MiB.

    Returns:
      (R, Q) in float64, never clamped; 0 where a layer does not vary.

    Raises:
      TypeError: features are not real, or not arrays.
      ValueError: no layers, other numbers of samples, NaN or infinity, an unknown
        estimator, or fewer than 4 samples for the unbiased one.

    References:
      Kornblith et al., "Similarity of neural network representations revisited", 2019;
      Nguyen et al., "Do wide and deep networks learn the same things?", 2021 (layers by
      layers).

    Examples:
      >>> import numpy as np
      >>> from semrsm_jax import linear_cka_matrix
      >>> first, second = np.random.default_rng(0).normal(size=(2, 20, 4, 3))
      >>> linear_cka_matrix({"first": first, "second": second}).diagonal()
      array([1., 1.])
    """
    _checks.estimator(estimator)
    left = feature_layers("features", features)
    right = left if others is None else feature_layers("others", others)
    layers = left if others is None else [*left, *right]
    n = layers[0].samples
    for layer in layers:
        if layer.samples != n:
            raise ValueError(
                f"{layer.name} must be of the same samples as {layers[0].name}, got "
                f"{layer.samples} and {n}"
            )
    check_samples(n, estimator)
    room = _ROOM
    if memory_budget is not None:
        room = _checks.at_least("memory_budget", memory_budget, 1)
    row = max(layer.row_bytes for layer in layers)
    step = max(1, min(n, room // (len(layers) * n * 8), room // (4 * row + 1)))
    means = [None if step == n else layer.mean(step) for layer in layers]
    dtype = np.result_type(*(layer.dtype for layer in layers))
    cross = np.zeros((len(left), len(right)))
    own, diagonals = np.zeros(len(layers)), np.zeros((len(layers), n))
    for start, stop in blocks(n, step):
        stack = np.empty((len(layers), stop - start, n - start), dtype)
        scales = np.ones(len(layers))
        for k, (layer, mean) in enumerate(zip(layers, means, strict=True)):
            gram, scales[k] = layer.gram(start, stop, step, mean)
            stack[k] = gram
            diagonals[k, start:stop] = gram.diagonal().astype(float) * scales[k]
        square, rest = stack[..., : stop - start], stack[..., stop - start :]
        if estimator == "unbiased":
            index = np.arange(stop - start)
            square[:, index, index] = 0
        units = np.multiply.outer(scales[: len(left)], scales[-len(right) :])
        for part, times in ((square, 1), (rest, 2)):  # the rest has a mirror image
            other = part if others is None else part[len(left) :]
            cross += times * block_products(part[: len(left)], other) * units
            squares = np.einsum("kbx,kbx->kb", part, part).sum(1, dtype=float)
            own += times * scales**2 * squares
    if estimator == "unbiased":
        # Without the diagonal, rows of a centered Gram matrix sum to minus its entry.
        ones = np.ones(n)
        fits = np.array([effects(-e, -e, ones, estimator)[0] for e in diagonals])
        cross += 2 * fits[: len(left)] @ diagonals[-len(right) :].T
        raw, own = own, own + 2 * np.sum(fits * diagonals, axis=1)
        # Up to this, what the fit has left is rounding.
        own = np.where(own > 64 * np.finfo(dtype).eps * raw, own, 0)
    norms = zip(layers, diagonals, strict=True)
    varies = np.array([layer.varies(each.max(), step) for layer, each in norms])
    own = np.where(varies, own, 0)
    return ratios(Products(cross, own[: len(left)], own[-len(right) :]))


def linear_cka_matrix_of_batches(
    batches: Iterable[Any], estimator: str = "biased"
) -> Float[np.ndarray, "R Q"]:
    """`linear_cka_matrix` (Kornblith et al. 2019) of features that come in batches.

    The value is that of all samples at once, so features of earlier batches are needed
    again: they are kept in temporary files, and memory holds one batch at a time.

    Args:
      batches: of each batch the layers (b, ...), a sequence or a mapping; or, of two
        networks, a tuple of both, whose layers are compared with each other.
      estimator: of HSIC, ``"biased"`` or ``"unbiased"``, see `hsic`.

    Returns:
      (R, Q) in float64, as `linear_cka_matrix`.

    Raises:
      TypeError: as `linear_cka_matrix`, or an array in place of layers.
      ValueError: as `linear_cka_matrix`; no batches, or layers that change.
    """
    with tempfile.TemporaryDirectory() as folder:
        files: dict[tuple[int, Any], _Appended] = {}
        sides = 1
        for number, batch in enumerate(batches):
            networks = batch if isinstance(batch, tuple) else (batch,)
            sides = len(networks)
            if any(hasattr(network, "shape") for network in networks):
                raise TypeError(
                    f"batch {number} must hold layers, a sequence or a mapping of "
                    "arrays, or a tuple of two of these, got an array in place of one"
                )
            keys = {
                (s, k): v
                for s, net in enumerate(networks)
                for k, v in (
                    net.items() if isinstance(net, Mapping) else enumerate(net)
                )
            }
            if number and keys.keys() != files.keys():
                raise ValueError(
                    f"every batch must hold the same layers, got {[*keys]} in batch "
                    f"{number} after {[*files]}"
                )
            for key, value in keys.items():
                if key not in files:
                    files[key] = _Appended(Path(folder) / str(len(files)))
                files[key].append(f"layer {key[1]!r} of batch {number}", value)
        if not files:
            raise ValueError("batches must hold at least one batch, got none")
        both = [
            {key: file.array() for (s, key), file in files.items() if s == side}
            for side in range(sides)
        ]
        return linear_cka_matrix(*both, estimator=estimator)


class _Appended:
    """An array in a file to which rows are added."""

    def __init__(self, path: Path) -> None:
        """Starts with no rows."""
        self.path, self.count = path, 0
        self.shape: tuple[int, ...] = ()
        self.dtype = np.dtype(float)

    def append(self, name: str, rows: Any) -> None:
        """Adds rows (b, ...); ValueError for others than the first."""
        rows = np.ascontiguousarray(checked_features(name, rows))
        if not self.count:
            self.shape, self.dtype = rows.shape[1:], rows.dtype
        if (rows.shape[1:], rows.dtype) != (self.shape, self.dtype):
            raise ValueError(
                f"{name} must be {self.dtype} of shape (b, {self.shape}) as in the "
                f"first batch, got {rows.dtype} of shape {rows.shape}"
            )
        with self.path.open("ab") as file:
            file.write(rows.data if rows.dtype.kind in "iuf" else rows.tobytes())
        self.count += len(rows)

    def array(self) -> np.ndarray:
        """All rows, mapped."""
        return np.memmap(self.path, self.dtype, "r", shape=(self.count, *self.shape))
