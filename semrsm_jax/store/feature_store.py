"""Features on disk, batch by batch: a zarr group that is resumed where it stopped."""

import hashlib
import math
import os
from collections.abc import Iterable, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
from jax.typing import ArrayLike, DTypeLike

from semrsm_jax import _checks
from semrsm_jax._rows import Rows
from semrsm_jax.store._feature_metadata import RECORDS, Described, is_described
from semrsm_jax.store._stored import damage_named
from semrsm_jax.store.output import new_file, new_folder, remove_stale

_DIGEST = hashlib.sha256().digest_size


class FeatureStore:
    """Features of several layers, written batch by batch, each whole or not at all.

    On disk it is a zarr group (format 3) that zarr and xarray open by themselves: an
    array (N, S, C) for each layer, of one chunk a batch, not compressed (activations
    hardly shrink, and rows are read without their neighbours); and ``batch_sha256``
    (batches, layers, 32), the checksum of each chunk, written once a batch is complete.
    Sample ids, versions, and what else is known of the features are its attributes.

    Zarr has no bfloat16: such features go into a store of float32, which holds each of
    their values. What is read is compared with its checksum first: once, and again
    where the file has changed since.

    Attributes:
      path: the folder.
      ids: the names of the N samples.
      layers: by name, the layers (N, S, C), read row by row: see `Rows`.
      batch: how many samples are written at a time; the last batch may be shorter.
      dtype: of the features.
      metadata: what was said of the features, and the versions they were made with.
    """

    def __init__(self, path: Path, described: Described) -> None:
        """Use `create` or `open`."""
        self.path = path
        self.ids = described.sample_ids
        self.batch = described.batch
        self.dtype = np.dtype(described.dtype)
        self.metadata = {**described.metadata, "versions": described.versions}
        self.layers: Mapping[str, Rows] = {
            name: Rows(
                (len(self.ids), *shape), self.dtype, partial(self._layer_rows, name)
            )
            for name, shape in described.layers.items()
        }
        # What was compared with its checksum: size and time of change of the file.
        self._verified: dict[Path, tuple[int, int]] = {}

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
        path = Path(os.path.realpath(path))
        described = Described.checked(ids, layers, dtype, batch, metadata or {})
        if not path.exists():
            with new_folder(path) as temporary:
                described.write(temporary)
        described.refuse_other(path, Described.read(path))
        for name in (*described.layers, RECORDS):
            remove_stale(path / name)
        return cls(path, described)

    @classmethod
    def open(cls, path: str | os.PathLike) -> "FeatureStore":
        """Opens a store, complete or not.

        Raises:
          ValueError: there is none, or it is damaged.
        """
        path = Path(path)
        return cls(path, Described.read(path))

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
            batches count as missing. Without, only sizes are looked at.
        """
        return [
            number
            for number in range(self.batches)
            if self._damage(number, self.layers, verify) is not None
        ]

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
                f"features must be those of the layers {_listed(self.layers)}, got "
                f"{_listed(features)}"
            )
        chunks = [self._encoded(name, features[name], rows) for name in self.layers]
        record = self._chunk(RECORDS, number)
        record.unlink(missing_ok=True)
        for name, chunk in zip(self.layers, chunks, strict=True):
            _write(self._chunk(name, number), chunk)
        _write(record, b"".join(hashlib.sha256(chunk).digest() for chunk in chunks))

    def _encoded(self, name: str, values: ArrayLike, rows: slice) -> bytes:
        """The checked features of a layer as the bytes of a chunk."""
        where = f"features of {name!r}"
        values = np.asarray(_checks.real_array_on_host(where, values, rank=3))
        shape = self.layers[name].shape[1:]
        if values.shape != (rows.stop - rows.start, *shape):
            expected = rows.stop - rows.start, *shape
            raise ValueError(f"{where} must have shape {expected}, got {values.shape}")
        if not np.can_cast(values.dtype, self.dtype, "safe"):
            raise TypeError(
                f"{where} must fit into {self.dtype} without loss, got {values.dtype}"
            )
        bad = ~np.isfinite(values).all(axis=(1, 2))
        if bad.any():
            sample = self.ids[rows.start + int(np.argmax(bad))]
            raise ValueError(f"{where} must be finite, got NaN or infinity: {sample!r}")
        # A chunk is of full size on the disk, whatever is left for the last.
        chunk = np.full((self.batch, *shape), np.nan, self.dtype.newbyteorder("<"))
        chunk[: len(values)] = values
        return chunk.tobytes()

    def _chunk(self, name: str, number: int) -> Path:
        return self.path / name / f"c.{number}.0.0"

    def _damage(self, number: int, names: Iterable[str], verify: bool) -> str | None:
        """What is wrong with some layers of a batch; None where nothing is."""
        record = self._chunk(RECORDS, number)
        try:
            digests = record.read_bytes()
        except FileNotFoundError:
            return "is not there yet"
        if len(digests) != _DIGEST * len(self.layers):
            return f"is damaged: {record} has {len(digests)} bytes"
        for place, name in enumerate(self.layers):
            if name in names:
                digest = digests[place * _DIGEST :][:_DIGEST]
                damage = self._chunk_damage(name, number, digest if verify else None)
                if damage is not None:
                    return f"is damaged: {self._chunk(name, number)} {damage}"
        return None

    def _chunk_damage(self, name: str, number: int, digest: bytes | None) -> str | None:
        path = self._chunk(name, number)
        expected = self.batch * math.prod(self.layers[name].shape[1:])
        expected *= self.dtype.itemsize
        try:
            with path.open("rb") as stream:
                status = os.fstat(stream.fileno())
                state = status.st_size, status.st_mtime_ns
                if status.st_size != expected:
                    return f"has {status.st_size} bytes, expected {expected}"
                if digest is not None and self._verified.get(path) != state:
                    if hashlib.file_digest(stream, "sha256").digest() != digest:
                        return "differs from its checksum"
                    self._verified[path] = state
        except FileNotFoundError:
            return "does not exist"
        return None

    def _layer_rows(self, name: str, start: int, stop: int) -> np.ndarray:
        values = np.empty((stop - start, *self.layers[name].shape[1:]), self.dtype)
        size = self.batch
        for number in range(start // size, -(-stop // size)):
            first, last = max(start, number * size), min(stop, (number + 1) * size)
            values[first - start : last - start] = self._read(
                name, number, first - number * size, last - first
            )
        return values

    def _read(self, name: str, number: int, start: int, count: int) -> np.ndarray:
        """Some rows of one batch of a layer."""
        path = self._chunk(name, number)
        with damage_named(path):
            damage = self._damage(number, (name,), verify=True)
            if damage is not None:
                rows = self.rows(number)
                raise ValueError(
                    f"{self.path}, {name!r}: batch {number}, samples {rows.start} to "
                    f"{rows.stop - 1}, {damage}; what wrote it can write it again"
                )
            shape = self.layers[name].shape[1:]
            row = math.prod(shape)
            dtype = self.dtype.newbyteorder("<")
            offset = start * row * self.dtype.itemsize
            values = np.fromfile(path, dtype, count * row, offset=offset)
        return values.reshape(count, *shape).astype(self.dtype, copy=False)


def is_feature_store(path: Path) -> bool:
    """Whether a folder says that it is a store of features."""
    return (path / "zarr.json").exists() and is_described(path)


def _write(path: Path, contents: bytes) -> None:
    with new_file(path, overwrite=True) as temporary:
        temporary.write_bytes(contents)


def _listed(names: Iterable[str]) -> str:
    return ", ".join(map(repr, names)) or "none"
