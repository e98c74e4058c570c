"""Features on disk, batch by batch: a zarr group that is resumed where it stopped."""

import os
from collections.abc import Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
from jax.typing import ArrayLike, DTypeLike

from semrsm_jax import _checks
from semrsm_jax._ids import checked_ids
from semrsm_jax._rows import Rows
from semrsm_jax.store._chunks import ChunkStore
from semrsm_jax.store._schema import (
    ChunkedArray,
    Schema,
    check_same,
    plain,
    read_attributes,
)
from semrsm_jax.store.names import listed, safe_name
from semrsm_jax.store.rsm_file import package_version

_KIND, _NOUN = "semrsm_jax features, version 2", "store of features"
_DTYPES = ("float16", "float32", "float64")
_VERSIONS = ("semrsm_jax", "jax", "numpy")


class FeatureStore:
    """Features of several layers, written batch by batch, each whole or not at all.

    On disk it is a zarr group (format 3) that zarr and xarray open by themselves: an
    array (N, S, C) for each layer, under its name (encoded where no folder could have
    it), of one chunk a batch, not compressed (activations hardly shrink, and rows are
    read without their neighbors); and ``crc32c`` (batches, layers), the checksum of
    each chunk, written once a batch is complete. Sample ids, versions, and what else is
    known of the features are its attributes. Every chunk carries its checksum, and the
    SHA-256 of the metadata stands beside them.

    Zarr has no bfloat16: such features go into a store of float32, which holds each of
    their values. What is read is compared with its checksum first: once, and again
    where the file has changed since.

    Attributes:
      path: the folder.
      ids: the names of the N samples.
      layers: by name, the layers (N, S, C) in the order in which they were given, read
        row by row: see `Rows`.
      batch: how many samples are written at a time; the last batch may be shorter.
      dtype: of the features.
      metadata: what was said of the features, and the versions they were made with.
    """

    def __init__(self, chunks: ChunkStore, attributes: Mapping[str, Any]) -> None:
        """Use `create` or `open`."""
        self._chunks = chunks
        self.path = chunks.path
        self.ids: tuple[str, ...] = tuple(attributes["sample_ids"])
        self.batch: int = attributes["batch"]
        self.dtype = np.dtype(attributes["dtype"])
        self.metadata = {**attributes["metadata"], "versions": attributes["versions"]}
        self.layers: Mapping[str, Rows] = {
            name: Rows(
                (len(self.ids), *shape), self.dtype, partial(self._layer_rows, name)
            )
            for name, shape in attributes["layers"].items()
        }

    @classmethod
    def create(
        cls,
        path: str | os.PathLike,
        *,
        ids: Sequence[str],
        layers: Mapping[str, tuple[int, int]],
        dtype: DTypeLike = np.float32,
        batch: int = 32,
        metadata: Mapping[str, Any] | None = None,
    ) -> "FeatureStore":
        """Makes a store, or goes on with the one that is there where it is the same.

        Args:
          path: the folder to write; those above it are made.
          ids: a name for each sample, no two the same.
          layers: tokens and channels (S, C) of each layer, by its name.
          dtype: float16, float32 or float64.
          batch: samples that are written at a time.
          metadata: what makes the features what they are, as JSON can express it:
            model, grid, preprocessing. Like the versions of semrsm_jax, jax and numpy
            it must agree where a store is resumed.

        Raises:
          TypeError: an argument is of another type, or the dtype another.
          ValueError: an argument is out of range; `path` is no such store, or one of
            other samples, layers, dtype, batch size, metadata or versions.
          OSError: the folder cannot be written.
        """
        attributes = _checked_attributes(
            ids,
            layers,
            dtype,
            batch,
            metadata or {},
            {name: package_version(name) for name in _VERSIONS},
        )
        path = ChunkStore.create(path, _schema(attributes))
        present, chunks = ChunkStore.open(path, _KIND, _NOUN, _parse)
        check_same(path, "other features", present, attributes)
        return cls(chunks, present)

    @classmethod
    def open(cls, path: str | os.PathLike) -> "FeatureStore":
        """Opens a store, complete or not.

        Raises:
          ValueError: there is none, or it is damaged.
        """
        attributes, chunks = ChunkStore.open(path, _KIND, _NOUN, _parse)
        return cls(chunks, attributes)

    @property
    def batches(self) -> int:
        """The number of batches."""
        return -(-len(self.ids) // self.batch)

    def rows(self, number: int) -> slice:
        """The samples of a batch.

        Raises:
          TypeError: `number` is no integer.
          ValueError: there is no such batch.
        """
        if _checks.at_least("batch number", number, 0) >= self.batches:
            raise ValueError(f"batch number must be below {self.batches}, got {number}")
        start = number * self.batch
        return slice(start, min(start + self.batch, len(self.ids)))

    def missing(self, *, verify: bool = False) -> list[int]:
        """The numbers of the batches that are still to be written, in order.

        Args:
          verify: read all that is there and compare it with the checksums; damaged
            batches count as missing. Without, only the sizes of files are looked at.
        """
        return [number for (number,) in self._chunks.missing(verify=verify)]

    @property
    def complete(self) -> bool:
        """Whether every batch is there."""
        return not self.missing()

    def write(self, number: int, features: Mapping[str, ArrayLike]) -> None:
        """Writes one batch; it counts as there once all of its layers are on the disk.

        Args:
          number: of the batch, from 0.
          features: by name, each layer's (rows, S, C), of a dtype whose values the
            store's dtype holds without loss.

        Raises:
          TypeError: features would lose precision in the store's dtype.
          ValueError: a layer is missing or unknown, of another shape, or not finite.
          OSError: the disk is full, or the like; the batch is then missing.
        """
        rows = self.rows(number)
        if set(features) != set(self.layers):
            raise ValueError(
                f"features must be those of the layers {listed(self.layers)}, got "
                f"{listed(features)}"
            )
        values = {
            safe_name(name): self._checked(name, features[name], rows)
            for name in self.layers
        }
        with self._chunks.working():
            self._chunks.write((number,), values)

    def _checked(self, name: str, values: ArrayLike, rows: slice) -> np.ndarray:
        where = f"features of {name!r}"
        values = np.asarray(_checks.real_array_on_host(where, values, rank=3))
        expected = rows.stop - rows.start, *self.layers[name].shape[1:]
        if values.shape != expected:
            raise ValueError(f"{where} must have shape {expected}, got {values.shape}")
        if not np.can_cast(values.dtype, self.dtype, "safe"):
            raise TypeError(
                f"{where} must fit into {self.dtype} without loss, got {values.dtype}"
            )
        bad = ~np.isfinite(values).all(axis=(1, 2))
        if bad.any():
            sample = self.ids[rows.start + int(np.argmax(bad))]
            raise ValueError(f"{where} must be finite, got NaN or infinity: {sample!r}")
        return values

    def _layer_rows(self, name: str, start: int, stop: int) -> np.ndarray:
        values = np.empty((stop - start, *self.layers[name].shape[1:]), self.dtype)
        folder, size = safe_name(name), self.batch
        for number in range(start // size, -(-stop // size)):
            damage = self._chunks.damage((number,), (folder,), cached=True)
            if damage is not None:
                batch = self.rows(number)
                raise ValueError(
                    f"{self.path}, {name!r}: batch {number}, samples {batch.start} to "
                    f"{batch.stop - 1}, {damage}; what wrote it can write it again"
                )
            first, last = max(start, number * size), min(stop, (number + 1) * size)
            values[first - start : last - start] = self._chunks.rows(
                (number,), folder, first - number * size, last - number * size
            )
        return values


def is_feature_store(path: Path) -> bool:
    """Whether a folder states that it is a store of features."""
    try:
        return read_attributes(path).get("kind") == _KIND
    except ValueError:  # not a group, or damaged, which is named where it is opened
        return False


def _parse(attributes: dict[str, Any]) -> tuple[dict[str, Any], Schema]:
    ids = attributes.pop("sample_ids")
    checked = _checked_attributes(ids, **attributes)
    return checked, _schema(checked)


def _checked_attributes(
    ids: Sequence[str],
    layers: Mapping[str, Sequence[int]],
    dtype: DTypeLike,
    batch: int,
    metadata: Mapping[str, Any],
    versions: Mapping[str, str],
) -> dict[str, Any]:
    """The attributes of a store; TypeError or ValueError where one is not valid."""
    if not layers:
        raise ValueError("layers must name at least one layer, got none")
    return {
        "sample_ids": _checked_ids(ids),
        "layers": {name: _checked_layer(name, shape) for name, shape in layers.items()},
        "dtype": _checked_dtype(dtype),
        "batch": _checks.at_least("batch", batch, 1),
        "metadata": plain(dict(metadata)),
        "versions": dict(versions),
    }


def _schema(attributes: dict[str, Any]) -> Schema:
    count, batch = len(attributes["sample_ids"]), attributes["batch"]
    return Schema(
        _KIND,
        attributes,
        (-(-count // batch),),
        ("batch",),
        {
            safe_name(name): ChunkedArray(
                (count, *shape),
                (batch, *shape),
                attributes["dtype"],
                # Layers differ in tokens and channels, and xarray allows one length to
                # a name.
                ("sample", f"token of {name}", f"channel of {name}"),
            )
            for name, shape in attributes["layers"].items()
        },
        {},
    )


def _checked_ids(ids: Sequence[str]) -> list[str]:
    if not all(isinstance(name, str) for name in ids):
        raise TypeError("ids must be a sequence of strings, one a sample")
    checked = checked_ids("ids", ids)
    if not checked:
        raise ValueError("ids must name at least one sample, got none")
    return list(checked)


def _checked_layer(name: str, shape: Sequence[int]) -> list[int]:
    if not isinstance(name, str):
        raise TypeError(f"layers must be named by strings, got {name!r}")
    if len(shape) != 2:
        raise ValueError(f"layer {name!r} must have a shape (S, C), got {shape}")
    return [
        _checks.at_least(f"{axis} of layer {name!r}", length, 1)
        for axis, length in zip("SC", shape, strict=True)
    ]


def _checked_dtype(dtype: DTypeLike) -> str:
    name = np.dtype(dtype).name
    if name not in _DTYPES:
        hint = "; zarr has no bfloat16, and float32 holds each of its values"
        hint = hint if name == "bfloat16" else ""
        raise TypeError(f"dtype must be one of {', '.join(_DTYPES)}, got {name}{hint}")
    return name
