"""The pairs of an RSM that have to be matched, and samples taken by number."""

from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property, partial
from typing import Any

import jax
import numpy as np
from jaxtyping import Array

from semrsm_jax import _checks
from semrsm_jax._rows import Rows


@dataclass(frozen=True)
class Pairs:
    """The pairs to match of rows of x and columns of y, numbered row by row."""

    rows: int
    columns: int
    triangle: bool  # only pairs (i, j) with i <= j; the others follow by symmetry
    diagonal: bool  # whether pairs (i, i) are to be matched

    @property
    def count(self) -> int:
        """The number of pairs."""
        return int(self._row_ends[-1])

    @cached_property
    def _row_ends(self) -> np.ndarray:
        if not self.triangle:
            return self.columns * np.arange(1, self.rows + 1)
        return np.cumsum(np.arange(self.rows, 0, -1) - (not self.diagonal))

    def locate(self, number: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Row and column of numbered pairs."""
        row = np.searchsorted(self._row_ends, number, side="right")
        # The number within the row, counted from the row's end.
        return row, self.columns - (self._row_ends[row] - number)

    def chunk_size(self, most: int) -> int:
        """The size of as few chunks of at most `most` pairs as will do, nearly full."""
        return -(-self.count // -(-self.count // most)) if self.count else 1

    def chunks(self, size: int, by_rows: bool) -> tuple[np.ndarray, np.ndarray]:
        """Rows and columns (K, P) of all pairs, P <= `size` a chunk; some pairs twice.

        With `by_rows`, and where rows are long enough, a chunk is a part of one row,
        and the rows are (K,). In a triangle each row then has as many columns: those
        that follow it, from the last one on to the first, up to half of them.
        """
        row, column = np.arange(self.rows), np.arange(self.columns)
        if self.triangle:
            column = row[:, None] + np.arange(not self.diagonal, self.columns // 2 + 1)
        column = np.broadcast_to(column % self.columns, (self.rows, column.shape[-1]))
        width = column.shape[1]
        if by_rows and size <= width:
            parts = -(-width // size)
            place = np.minimum(np.arange(parts * -(-width // parts)), width - 1)
            columns = column[:, place].reshape(self.rows * parts, -1)
            return np.repeat(row, parts), columns
        last = -(-self.count // size) * size
        rows, columns = self.locate(np.minimum(np.arange(last), self.count - 1))
        return rows.reshape(-1, size), columns.reshape(-1, size)


@dataclass(frozen=True, eq=False)
class PairList:
    """Pairs listed one by one: samples `rows` (P,) of x and `columns` (P,) of y."""

    rows: np.ndarray
    columns: np.ndarray

    @property
    def count(self) -> int:
        """The number of pairs."""
        return len(self.rows)

    def locate(self, number: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Row and column of numbered pairs."""
        return self.rows[number], self.columns[number]


def take(array: Array | np.ndarray | Rows, index: Any, dtype: Any) -> Array:
    """Samples by number, on the device; of an array on the host only these go there."""
    if isinstance(array, jax.Array):
        return _gather(array, index, dtype)
    return _checks.on_device(array[index], dtype)


@partial(jax.jit, static_argnames="dtype")
def _gather(array: Array, index: Array, dtype: Any) -> Array:
    return array[index].astype(dtype)


def batches(count: int, size: int) -> Iterator[slice]:
    """Consecutive samples, `size` at a time."""
    for start in range(0, count, size):
        yield slice(start, min(start + size, count))
