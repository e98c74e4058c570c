"""The chunk store: arrays in a zarr group, written unit by unit, each as a whole."""

import itertools
import os
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Self, TypeVar

import numpy as np

from semrsm_jax._rows import file_rows
from semrsm_jax.store._chunk_file import (
    check_chunk,
    check_size,
    read_chunk,
    write_chunk,
)
from semrsm_jax.store._locks import Lock
from semrsm_jax.store._schema import (
    RECORDS,
    Schema,
    check_metadata,
    read_attributes,
    write_metadata,
)
from semrsm_jax.store.output import check_folder, new_folder, sweep

_T = TypeVar("_T")


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
                write_metadata(temporary, schema)
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
        check_metadata(path, schema)
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
            sums = read_chunk(record, self._arrays[RECORDS]).reshape(-1)
            for number, name in enumerate(self.schema.arrays):
                if names is None or name in names:
                    path = self._chunk(name, unit)
                    state = check_size(path, self._arrays[name])
                    if verify and not (cached and self._verified.get(path) == state):
                        check_chunk(path, self._arrays[name], int(sums[number]))
                        self._verified[path] = state
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
        return read_chunk(self._chunk(name, unit), self._arrays[name])

    def rows(self, unit: Unit, name: str, start: int, stop: int) -> np.ndarray:
        """Some rows of a chunk, which alone are read; `damage` checks it."""
        array = self._arrays[name]
        path = self._chunk(name, unit)
        return file_rows(path, array.chunks, array.stored_dtype).read(start, stop)

    def write(self, unit: Unit, values: Mapping[str, np.ndarray]) -> None:
        """Writes a unit; it is there once all of its chunks are.

        Chunks at the far ends may be smaller than others. Where the disk is full,
        or the like, OSError is raised and the unit is missing.
        """
        self.forget(unit)
        sums = [
            write_chunk(self._chunk(name, unit), values[name], array)
            for name, array in self.schema.arrays.items()
        ]
        record = self._arrays[RECORDS]
        values_of_record = np.array(sums, np.uint32).reshape(record.chunks)
        write_chunk(self._chunk(RECORDS, unit), values_of_record, record)

    def forget(self, unit: Unit) -> None:
        """Takes back that a unit is there."""
        self._chunk(RECORDS, unit).unlink(missing_ok=True)

    def constant(self, name: str) -> np.ndarray:
        """An array of one chunk, once compared with its checksum.

        Raises:
          ValueError: it is missing or damaged.
        """
        try:
            return self.read((), name)
        except (FileNotFoundError, ValueError) as error:
            raise ValueError(f"{self.path}: {name} is damaged: {error}") from error

    def write_constant(self, name: str, values: np.ndarray) -> None:
        """Writes an array of one chunk."""
        write_chunk(self._chunk(name, ()), values, self._arrays[name])

    @contextmanager
    def working(self) -> Iterator[None]:
        """States that this process writes to the store, until the block ends.

        The first time, and once all units are there, what killed processes left is
        removed, where this process is the only one.
        """
        with Lock(self.path / RECORDS / ".lock") as lock:
            if not self._swept and lock.alone():
                self._sweep()
            self._swept = True
            lock.share()
            yield
            # The last one first: it is the last to be written, as a rule.
            if all(map(self.has, reversed([*self.units()]))) and lock.alone():
                self._sweep()

    def _sweep(self) -> None:
        sweep(self.path)
        for claim in (self.path / RECORDS).glob(".lock.*"):
            claim.unlink(missing_ok=True)

    @contextmanager
    def claim(self, unit: Unit) -> Iterator[bool]:
        """Yields whether the unit is this process's alone, until the block ends."""
        with Lock(self.path / RECORDS / f".lock.{unit_key(unit)}") as lock:
            mine = lock.alone()
            try:
                yield mine
            finally:
                if mine:
                    lock.remove()

    def _chunk(self, name: str, unit: Unit) -> Path:
        axes = len(self._arrays[name].shape)
        key = unit_key((*unit, *(0,) * (axes - len(unit))))
        return self.path / name / f"c.{key}"


def unit_key(unit: Unit) -> str:
    """A unit in names of files and in errors, such as 0.12."""
    return ".".join(map(str, unit))
