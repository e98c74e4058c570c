"""The pairs of an RSM that have to be matched, and samples taken by number."""

from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property, partial
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array

from semrsm_jax._rows import Rows


@dataclass(frozen=True)
class Pairs:
    """The pairs to match, numbered row by row.

    Attributes:
      rows: samples of x.
      columns: samples of y.
      triangle: only pairs (i, j) with i <= j; the others follow by symmetry.
      diagonal: whether pairs (i, i) are to be matched.
    """

    rows: int
    columns: int
    triangle: bool
    diagonal: bool

    @property
    def count(self) -> int:
        """How many there are."""
        return int(self._row_ends[-1])

    @cached_property
    def _row_ends(self) -> np.ndarray:
        if not self.triangle:
            return self.columns * np.arange(1, self.rows + 1)
        return np.cumsum(np.arange(self.rows, 0, -1) - (not self.diagonal))

    def locate(self, number: Any, xp: Any = np) -> tuple[Any, Any]:
        """Row and column of numbered pairs, in NumPy or, traced, in JAX."""
        ends = xp.asarray(self._row_ends)
        row = xp.searchsorted(ends, number, side="right")
        # The number within the row, counted from the row's end.
        return row, self.columns - (ends[row] - number)

    def chunk_size(self, most: int) -> int:
        """The size of as few chunks of at most `most` pairs as will do, nearly full."""
        return -(-self.count // -(-self.count // most)) if self.count else 1

    def chunk(self, start: int, size: int) -> np.ndarray:
        """The numbers from `start` on, always `size` of them, for one compilation.

        Past the end the last number is repeated.
        """
        return np.minimum(np.arange(start, start + size), self.count - 1)

    def chunks(self, size: int) -> Iterator[np.ndarray]:
        """All pair numbers, chunk by chunk."""
        return (self.chunk(start, size) for start in range(0, self.count, size))


@dataclass(frozen=True, eq=False)
class PairList:
    """Pairs listed one by one.

    Attributes:
      rows: (P,), samples of x.
      columns: (P,), samples of y.
    """

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
    """Samples by number, on the device; of what is not there only these go there."""
    if isinstance(array, jax.Array):
        return _gather(array, index, dtype)
    return jnp.asarray(array[index], dtype)


@partial(jax.jit, static_argnames="dtype")
def _gather(array: Array, index: Array, dtype: Any) -> Array:
    return array[index].astype(dtype)


def batches(count: int, size: int) -> Iterator[slice]:
    """Consecutive samples, `size` at a time."""
    for start in range(0, count, size):
        yield slice(start, min(start + size, count))
