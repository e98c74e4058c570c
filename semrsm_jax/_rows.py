"""Arrays that are read from where they are kept, some rows at a time."""

from abc import ABC, abstractmethod
from typing import Any

import numpy as np


class Rows(ABC):
    """An array that stays where it is kept: indexing its first axis reads those rows.

    Wherever an array of samples is expected and read sample by sample, an instance
    serves in its place. ``rows[3]``, ``rows[a:b]`` and ``rows[[4, 1, 4]]`` give NumPy
    arrays; ``numpy.asarray(rows)`` reads the whole.

    Attributes:
      shape: of the array; the first axis are the samples.
      dtype: of the arrays that indexing gives.
    """

    shape: tuple[int, ...]
    dtype: np.dtype

    @abstractmethod
    def read(self, start: int, stop: int) -> np.ndarray:
        """Reads rows start <= n < stop, which lie within the array."""

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
        chosen = np.asarray(index)
        if chosen.size == 0:
            return np.empty((*chosen.shape, *self.shape[1:]), self.dtype)
        if chosen.dtype.kind not in "iu":
            raise IndexError(f"rows are taken by integers or a slice, got {index!r}")
        if chosen.min() < -len(self) or chosen.max() >= len(self):
            raise IndexError(f"rows must be below {len(self)}, got {index!r}")
        wanted, places = np.unique(chosen % len(self), return_inverse=True)
        # Each stretch of neighbours is read in one go, and no row twice.
        stretches = np.split(wanted, np.flatnonzero(np.diff(wanted) > 1) + 1)
        read = [self.read(int(rows[0]), int(rows[-1]) + 1) for rows in stretches]
        found = read[0] if len(read) == 1 else np.concatenate(read)
        return found[places.reshape(chosen.shape)]

    def __array__(self, dtype: Any = None, copy: bool | None = None) -> np.ndarray:
        """Reads the whole array."""
        del copy
        return self[:] if dtype is None else self[:].astype(dtype, copy=False)


class Part(Rows):
    """Some rows of anything that gives rows when it is sliced."""

    def __init__(self, rows: Any, start: int, stop: int) -> None:
        """Rows start <= n < stop of `rows`."""
        self.rows, self.start = rows, start
        self.shape = (stop - start, *rows.shape[1:])
        self.dtype = rows.dtype

    def read(self, start: int, stop: int) -> np.ndarray:
        """Reads them from the whole."""
        return np.asarray(self.rows[self.start + start : self.start + stop])
