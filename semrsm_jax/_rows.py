"""Arrays that stay on the disk: some rows are read at a time, and must not change."""

import zlib
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np


class InputChangedError(ValueError):
    """Rows of an input are no longer what they were when they were first read."""


@dataclass(frozen=True, eq=False)
class Rows:
    """An array that stays where it is: indexing its first axis reads those rows.

    Wherever an array of samples is expected and read sample by sample, an instance
    serves in its place. ``rows[3]``, ``rows[a:b]`` and ``rows[[4, 1, 4]]`` give NumPy
    arrays; ``numpy.asarray(rows)`` reads all rows. It can be sent to another process
    where `read` can: a `functools.partial` of a function of a module, for example.

    Attributes:
      shape: of the array; the first axis are the samples.
      dtype: of the arrays that indexing gives.
      read: ``read(start, stop)`` gives rows start <= n < stop, 0 <= start <= stop <= N.
    """

    shape: tuple[int, ...]
    dtype: np.dtype
    read: Callable[[int, int], np.ndarray]

    @property
    def ndim(self) -> int:
        """The number of axes."""
        return len(self.shape)

    @property
    def size(self) -> int:
        """The number of values."""
        return int(np.prod(self.shape, dtype=object))

    @property
    def itemsize(self) -> int:
        """The bytes of a value."""
        return self.dtype.itemsize

    def __len__(self) -> int:
        """The number of rows."""
        return self.shape[0]

    def __getitem__(self, index: Any) -> np.ndarray:
        """Rows by an integer, a slice, or integers in any order, repeated or not.

        Raises:
          IndexError: a row does not exist, or the index is of another kind.
        """
        if isinstance(index, slice):
            start, stop, step = index.indices(len(self))
            if step == 1:
                return self.read(start, max(start, stop))
            index = np.arange(start, stop, step)
        # A tuple would index further axes, which are not read alone.
        chosen = np.asarray(None if isinstance(index, tuple) else index)
        if chosen.size == 0:
            return np.empty((*chosen.shape, *self.shape[1:]), self.dtype)
        if chosen.dtype.kind not in "iu":
            raise IndexError(f"rows are taken by integers or a slice, got {index!r}")
        if chosen.min() < -len(self) or chosen.max() >= len(self):
            raise IndexError(f"rows must be below {len(self)}, got {index!r}")
        wanted, places = np.unique(chosen % len(self), return_inverse=True)
        # Consecutive rows are read in one go, and no row twice.
        stretches = np.split(wanted, np.flatnonzero(np.diff(wanted) > 1) + 1)
        blocks = [self.read(int(rows[0]), int(rows[-1]) + 1) for rows in stretches]
        block = blocks[0] if len(blocks) == 1 else np.concatenate(blocks)
        return block[places.reshape(chosen.shape)]

    def __array__(self, dtype: Any = None, copy: bool | None = None) -> np.ndarray:
        """Reads the whole array."""
        del copy
        return self[:] if dtype is None else self[:].astype(dtype, copy=False)


def part(rows: Any, start: int, stop: int) -> Rows:
    """Rows start <= n < stop of anything with a shape that gives rows when sliced."""
    shape = (stop - start, *rows.shape[1:])
    return Rows(shape, rows.dtype, partial(_read_part, rows, start))


def _read_part(rows: Any, first: int, start: int, stop: int) -> np.ndarray:
    return np.asarray(rows[first + start : first + stop])


def file_rows(
    path: Path, shape: tuple[int, ...], dtype: np.dtype, offset: int = 0
) -> Rows:
    """Rows of an array in C order that begins `offset` bytes into a file.

    A read raises ValueError where the file was truncated meanwhile. A memory map would
    end the process by a signal.
    """
    return Rows(shape, dtype, partial(_read_file, path, shape[1:], dtype, offset))


def _read_file(
    path: Path,
    row: tuple[int, ...],
    dtype: np.dtype,
    offset: int,
    start: int,
    stop: int,
) -> np.ndarray:
    numbers = int(np.prod(row))
    offset += start * numbers * dtype.itemsize
    values = np.fromfile(path, dtype, (stop - start) * numbers, offset=offset)
    if values.size != (stop - start) * numbers:
        raise ValueError(f"{path} was truncated while it was read")
    return values.reshape(stop - start, *row)


def unmapped(rows: Any) -> Any:
    """The `file_rows` of a whole memory-mapped file; all else as it is.

    A copy-on-write map stays too: what was written to it is not in the file.
    """
    whole = isinstance(rows, np.memmap) and not isinstance(rows.base, np.ndarray)
    kept = not whole or rows.mode == "c" or not rows.flags.c_contiguous
    if kept or rows.filename is None:
        return rows
    return file_rows(Path(rows.filename), rows.shape, rows.dtype, rows.offset)


def unread(count: int) -> np.ndarray:
    """The checksums (count,) int64 of rows of which none was read: -1."""
    return np.full(count, -1, np.int64)


def check_unchanged(name: str, rows: np.ndarray, sums: np.ndarray, first: int) -> None:
    """Compares rows with what they were when they were first read.

    `sums` are their CRC-32 as `unread` begins them; those of rows that were never read
    are set. InputChangedError: a row is another, or there are fewer; it names the input
    and counts from the row numbered `first`.
    """
    new = np.array([zlib.crc32(_bytes(row)) for row in rows], np.int64)
    differs = np.ones(len(sums), bool)
    differs[: len(new)] = (sums[: len(new)] >= 0) & (sums[: len(new)] != new)
    if differs.any():
        raise InputChangedError(
            f"{name} changed during the computation: sample "
            f"{first + int(np.argmax(differs))} is not what it was when it was first "
            "read"
        )
    sums[:] = new


def _bytes(row: np.ndarray) -> memoryview:
    return np.ascontiguousarray(row).reshape(-1).view(np.uint8).data


def watched(name: str, rows: Rows) -> Rows:
    """Rows of which each is compared, on each reading, with what it was on the first.

    A reading raises `InputChangedError` where a row is another; it calls them `name`.
    """
    read = partial(_read_watched, name, rows, unread(len(rows)))
    return Rows(rows.shape, rows.dtype, read)


def _read_watched(
    name: str, rows: Rows, sums: np.ndarray, start: int, stop: int
) -> np.ndarray:
    block = rows.read(start, stop)
    check_unchanged(name, block, sums[start:stop], start)
    return block
