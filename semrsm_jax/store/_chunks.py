"""The chunk store: arrays in a zarr group, written unit by unit, each as a whole."""

import hashlib
import itertools
import json
import math
import os
import warnings
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any, NamedTuple, Self, TypeVar

import google_crc32c
import numpy as np

from semrsm_jax._rows import file_rows
from semrsm_jax.store._locks import Lock
from semrsm_jax.store._metadata import read_bytes, read_json
from semrsm_jax.store.output import check_folder, new_file, new_folder, sweep

_T = TypeVar("_T")

# The array of the completion records, beside those of the values.
RECORDS = "crc32c"

_TRAILER = 4  # bytes of the checksum behind each chunk
_PIECE = 2**20  # bytes read at a time where only the checksum is wanted


class ChunkedArray(NamedTuple):
    """An array of a store.

    Attributes:
      shape: of the array.
      chunks: the shape of a chunk.
      dtype: the name of the dtype.
      dimensions: the names of the axes, for xarray.
    """

    shape: tuple[int, ...]
    chunks: tuple[int, ...]
    dtype: str
    dimensions: tuple[str, ...]

    @property
    def stored_dtype(self) -> np.dtype:
        """The dtype in the files."""
        return np.dtype(self.dtype).newbyteorder("<")

    @property
    def chunk_bytes(self) -> int:
        """The bytes of the values of a chunk."""
        return math.prod(self.chunks) * self.stored_dtype.itemsize


class Schema(NamedTuple):
    """What a store holds; all of it is derived from the attributes of its group.

    Attributes:
      kind: names the schema and its version.
      noun: what a store of it is called in errors.
      attributes: what the values depend on, and what else is known, as JSON.
      units: how many units there are along each of the first axes of the arrays.
      unit_axes: the names of these axes.
      arrays: by the name of their folder, those with one chunk a unit.
      constants: by the name of their folder, those of one chunk, which is there from
        the beginning.
    """

    kind: str
    noun: str
    attributes: dict[str, Any]
    units: tuple[int, ...]
    unit_axes: tuple[str, ...]
    arrays: dict[str, ChunkedArray]
    constants: dict[str, ChunkedArray]

    def all_arrays(self) -> dict[str, ChunkedArray]:
        """The arrays, the constants and the records."""
        records = ChunkedArray(
            (*self.units, len(self.arrays)),
            (*(1 for _ in self.units), len(self.arrays)),
            "uint32",
            (*self.unit_axes, "array"),
        )
        return {**self.arrays, **self.constants, RECORDS: records}


Unit = tuple[int, ...]


class ChunkStore:
    """Arrays that are cut into the same units, in a zarr group (format 3).

    A unit has one chunk in each array. It is written as a whole: its chunks first, each
    in one step, and last its record, which holds their checksums. A unit without a
    record is missing. Chunks are not compressed, and carry their CRC-32C as zarr's
    codec ``crc32c`` defines it, so that zarr and xarray read and check them too. The
    array of the records has the SHA-256 of all other metadata as its attribute.

    Several processes may work on one store: they claim units by locks of the operating
    system, which end with the process.

    Attributes:
      path: the folder.
      schema: what it holds.
    """

    def __init__(self, path: Path, schema: Schema) -> None:
        """Use `create` or `open`."""
        self.path, self.schema = path, schema
        self._arrays = schema.all_arrays()
        # Size and time of change of the files that were compared with their checksum.
        self._verified: dict[Path, tuple[int, int]] = {}
        self._swept = False

    @classmethod
    def create(cls, path: str | os.PathLike, schema: Schema) -> Path:
        """Makes an empty store, unless the folder holds something already.

        Raises:
          ValueError: `path` is a file, leads through one, or cannot be written to.
          OSError: the folder cannot be written.
        """
        path = Path(os.path.realpath(path))
        if (path / "zarr.json").exists():
            return path
        check_folder(path)
        if not path.exists() or not any(path.iterdir()):
            with new_folder(path) as temporary:
                _write_metadata(temporary, schema)
        return path

    @classmethod
    def open(
        cls,
        path: str | os.PathLike,
        kind: str,
        noun: str,
        parse: Callable[[dict[str, Any]], tuple[_T, Schema]],
    ) -> tuple[_T, Self]:
        """Opens a store, complete or not.

        Args:
          path: the folder.
          kind: the kind of schema expected.
          noun: what a store of it is called in errors.
          parse: gives a description, and the schema, of the attributes of the group.

        Returns:
          The description and the store.

        Raises:
          ValueError: there is no store of that kind, or its metadata is damaged.
        """
        path = Path(os.path.realpath(path))
        if not path.is_dir():
            what = "is a file" if path.exists() else "does not exist"
            raise ValueError(f"{path} {what}, expected a folder with a {noun}")
        attributes = read_attributes(path)
        if attributes.pop("kind", None) != kind:
            raise ValueError(f"{path} is not a {noun} of this version of semrsm_jax")
        try:
            description, schema = parse(attributes)
        except (AttributeError, KeyError, TypeError, ValueError) as error:
            raise ValueError(f"{path} has damaged metadata: {error}") from error
        records = read_json(path / RECORDS / "zarr.json")
        if records.get("attributes") != {"sha256": _digests(path, schema)}:
            raise ValueError(
                f"{path} has damaged metadata: it differs from its SHA-256"
            )
        return description, cls(path, schema)

    def units(self) -> Iterator[Unit]:
        """All units, in order."""
        return itertools.product(*map(range, self.schema.units))

    def recorded(self) -> set[Unit]:
        """The units that have a record."""
        names = {entry.name for entry in os.scandir(self.path / RECORDS)}
        return {u for u in self.units() if self._chunk(RECORDS, u).name in names}

    def has(self, unit: Unit) -> bool:
        """Whether a unit has a record."""
        return self._chunk(RECORDS, unit).exists()

    def missing(self, *, verify: bool = False) -> list[Unit]:
        """The units that are not there, or damaged.

        Args:
          verify: compare all values with their checksums; else only the sizes of the
            files are looked at.
        """
        recorded = self.recorded()
        return [
            unit
            for unit in self.units()
            if unit not in recorded or self.damage(unit, verify=verify) is not None
        ]

    def damage(
        self,
        unit: Unit,
        names: Iterable[str] | None = None,
        *,
        verify: bool = True,
        cached: bool = False,
    ) -> str | None:
        """What is wrong with a unit, in some of its arrays; None where nothing is.

        Args:
          unit: which one.
          names: of the arrays; None: all.
          verify: as for `missing`.
          cached: files that have not changed since they were compared are not read.
        """
        record = self._chunk(RECORDS, unit)
        try:
            sums = _checked_values(record, self._arrays[RECORDS]).reshape(-1)
            for number, name in enumerate(self.schema.arrays):
                if names is None or name in names:
                    path = self._chunk(name, unit)
                    crc = int(sums[number]) if verify else None
                    self._compare(path, self._arrays[name], crc, cached)
        except FileNotFoundError as error:
            if error.filename == str(record):
                return "is not there yet"
            return f"is damaged: {error.filename} does not exist"
        except ValueError as error:
            return f"is damaged: {error}"
        return None

    def read(self, unit: Unit, name: str) -> np.ndarray:
        """One chunk, of full size, once compared with its checksum.

        Raises:
          OSError: it is not there.
          ValueError: it is damaged.
        """
        return _checked_values(self._chunk(name, unit), self._arrays[name])

    def rows(self, unit: Unit, name: str, start: int, stop: int) -> np.ndarray:
        """Some rows of a chunk, which alone are read; `damage` checks it."""
        array = self._arrays[name]
        path = self._chunk(name, unit)
        return file_rows(path, array.chunks, array.stored_dtype).read(start, stop)

    def write(self, unit: Unit, values: Mapping[str, np.ndarray]) -> None:
        """Writes a unit; it is there once all of its chunks are.

        Args:
          unit: which one.
          values: by name, the chunk of each array, which may be smaller than others at
            the far ends.

        Raises:
          OSError: the disk is full, or the like; the unit is then missing.
        """
        self.forget(unit)
        sums = [
            _write_chunk(self._chunk(name, unit), values[name], array)
            for name, array in self.schema.arrays.items()
        ]
        record = self._arrays[RECORDS]
        values_of_record = np.array(sums, np.uint32).reshape(record.chunks)
        _write_chunk(self._chunk(RECORDS, unit), values_of_record, record)

    def forget(self, unit: Unit) -> None:
        """Takes back that a unit is there."""
        self._chunk(RECORDS, unit).unlink(missing_ok=True)

    def constant(self, name: str) -> np.ndarray:
        """An array of one chunk, once compared with its checksum.

        Raises:
          ValueError: it is missing or damaged.
        """
        array = self.schema.constants[name]
        path = self._chunk(name, (0,) * len(array.shape))
        try:
            return _checked_values(path, array)
        except (FileNotFoundError, ValueError) as error:
            raise ValueError(f"{self.path}: {name} is damaged: {error}") from error

    def write_constant(self, name: str, values: np.ndarray) -> None:
        """Writes an array of one chunk."""
        array = self.schema.constants[name]
        _write_chunk(self._chunk(name, (0,) * len(array.shape)), values, array)

    @contextmanager
    def working(self) -> Iterator[None]:
        """States that this process writes to the store, until the block ends.

        The first time, where it is the only one, what killed processes left is removed.
        """
        with Lock(self.path / RECORDS / ".lock") as lock:
            if not self._swept and lock.alone():
                sweep(self.path)
                for claim in (self.path / RECORDS).glob(".lock.*"):
                    claim.unlink(missing_ok=True)
            self._swept = True
            lock.share()
            yield

    @contextmanager
    def claim(self, unit: Unit) -> Iterator[bool]:
        """Yields whether the unit is this process's alone, until the block ends."""
        with Lock(self.path / RECORDS / f".lock.{_key(unit)}") as lock:
            mine = lock.alone()
            try:
                yield mine
            finally:
                if mine:
                    lock.remove()

    def _chunk(self, name: str, unit: Unit) -> Path:
        axes = len(self._arrays[name].shape)
        key = _key((*unit, *(0,) * (axes - len(unit))))
        return self.path / name / f"c.{key}"

    def _compare(
        self, path: Path, array: ChunkedArray, expected: int | None, cached: bool
    ) -> None:
        """Compares a chunk with its size, and its checksum unless that is None."""
        with path.open("rb") as stream:
            status = os.fstat(stream.fileno())
            if status.st_size != array.chunk_bytes + _TRAILER:
                raise ValueError(
                    f"{path} has {status.st_size} bytes, expected "
                    f"{array.chunk_bytes + _TRAILER}"
                )
            state = status.st_size, status.st_mtime_ns
            if expected is None or (cached and self._verified.get(path) == state):
                return
            crc, left = 0, array.chunk_bytes
            while left:
                piece = stream.read(min(_PIECE, left))
                crc, left = google_crc32c.extend(crc, piece), left - len(piece)
            if crc != expected or stream.read() != _trailer(crc):
                raise ValueError(f"{path} differs from its checksum")
            self._verified[path] = state


def read_attributes(path: Path) -> dict[str, Any]:
    """The attributes of a zarr group of format 3.

    Raises:
      ValueError: the folder is not such a group, or its metadata is damaged.
    """
    metadata = read_json(path / "zarr.json")
    attributes = metadata.get("attributes", {})
    if metadata.get("node_type") != "group" or metadata.get("zarr_format") != 3:
        raise ValueError(f"{path} is not a zarr group of format 3")
    if not isinstance(attributes, dict):
        raise ValueError(f"{path} has damaged metadata: attributes of another kind")
    return attributes


def plain(value: Any) -> Any:
    """A value as JSON gives it back.

    Raises:
      TypeError: JSON cannot express it.
      ValueError: it holds NaN or infinity.
    """
    return json.loads(json.dumps(value, allow_nan=False))


def check_same(
    path: Path, what: str, present: Mapping[str, Any], wanted: Mapping[str, Any]
) -> None:
    """Compares the description of a store with the one wanted, both as JSON.

    Raises:
      ValueError: they differ; the error names in what.
    """
    differences = [
        f"{name} {there}, not {here}"
        for name, there, here in _differences(plain(present), plain(wanted), "")
    ]
    if differences:
        raise ValueError(
            f"{path} holds {what}, of {'; '.join(differences)}. Write to another "
            "folder, or remove this one"
        )


def _differences(present: Any, wanted: Any, name: str) -> list[tuple[str, str, str]]:
    if isinstance(present, dict) and isinstance(wanted, dict):
        return [
            difference
            for key in {**present, **wanted}
            for difference in _differences(
                present.get(key), wanted.get(key), f"{name} {key}".strip()
            )
        ]
    return [] if present == wanted else [(name, _short(present), _short(wanted))]


def _short(value: Any) -> str:
    if isinstance(value, dict) and "sha256" in value:
        return f"features of SHA-256 {_short(value['sha256'])}"
    if isinstance(value, list) and len(value) > 4:
        return f"{len(value)} values, {value[0]!r} to {value[-1]!r}"
    text = value if isinstance(value, str) else repr(value)
    return f"{text[:16]}..." if len(text) == 64 else text


def _write_metadata(path: Path, schema: Schema) -> None:
    """Writes the metadata of the group and its arrays into an empty folder."""
    import zarr
    from zarr.codecs import Crc32cCodec

    attributes = {"kind": schema.kind, **schema.attributes}
    group = zarr.create_group(path, zarr_format=3, attributes=attributes)
    for name, array in schema.all_arrays().items():
        group.create_array(
            name,
            shape=array.shape,
            chunks=array.chunks,
            dtype=array.dtype,
            # Not compressed: the last bits of activations and similarities are noise,
            # and rows are read without the others of their chunk.
            compressors=Crc32cCodec(),
            filters=None,
            # What is not computed yet is not a number.
            fill_value=0 if name == RECORDS else np.nan,
            chunk_key_encoding={"name": "default", "separator": "."},
            dimension_names=array.dimensions,
        )
    with warnings.catch_warnings():
        # Not part of the format's text yet; xarray warns where it is missing.
        warnings.simplefilter("ignore")
        zarr.consolidate_metadata(path, zarr_format=3)
    # Older zarr lists the arrays as the disk does: the same store, the same bytes.
    file = path / "zarr.json"
    document = json.loads(file.read_text())
    members = document["consolidated_metadata"]["metadata"]
    document["consolidated_metadata"]["metadata"] = dict(sorted(members.items()))
    file.write_text(json.dumps(document, indent=2))
    zarr.open_array(path / RECORDS).update_attributes(
        {"sha256": _digests(path, schema)}
    )


def _digests(path: Path, schema: Schema) -> dict[str, str]:
    """The SHA-256 of the metadata of the group, under "", and of its arrays."""
    folders = {"": path} | {
        name: path / name for name in sorted(schema.all_arrays()) if name != RECORDS
    }
    return {
        name: hashlib.sha256(read_bytes(folder / "zarr.json")).hexdigest()
        for name, folder in folders.items()
    }


def _key(unit: Unit) -> str:
    return ".".join(map(str, unit))


def _trailer(crc: int) -> bytes:
    return crc.to_bytes(_TRAILER, "little")


def _checked_values(path: Path, array: ChunkedArray) -> np.ndarray:
    """A chunk, of full size.

    Raises:
      FileNotFoundError: it is not there.
      ValueError: it is damaged.
    """
    if path.stat().st_size != array.chunk_bytes + _TRAILER:
        raise ValueError(
            f"{path} has {path.stat().st_size} bytes, expected "
            f"{array.chunk_bytes + _TRAILER}"
        )
    contents = path.read_bytes()
    values, trailer = contents[:-_TRAILER], contents[-_TRAILER:]
    if _trailer(google_crc32c.value(values)) != trailer:
        raise ValueError(f"{path} differs from its checksum")
    return np.frombuffer(values, array.stored_dtype).reshape(array.chunks)


def _write_chunk(path: Path, values: np.ndarray, array: ChunkedArray) -> int:
    """Writes a chunk in one step, of full size as all are; returns its checksum."""
    if values.shape != array.chunks:
        whole = np.full(array.chunks, np.nan, array.stored_dtype)
        whole[tuple(map(slice, values.shape))] = values
        values = whole
    contents = values.astype(array.stored_dtype, copy=False).tobytes()
    crc = google_crc32c.value(contents)
    # Not waited for: what a power cut takes is missed by its checksum, and waiting for
    # a slow disk six times a tile took up to 7 % of a run at S=256.
    with new_file(path, overwrite=True, wait=False) as temporary:
        with temporary.open("wb") as stream:
            stream.write(contents)
            stream.write(_trailer(crc))
    return crc
