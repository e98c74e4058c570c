"""Samples that are read more than once, and must be the same each time."""

import zlib

import numpy as np

from semrsm_jax._rows import Rows
from semrsm_jax.engine._samples import InputChangedError


class WatchedRows(Rows):
    """Rows that are compared with what they were when they were first read."""

    def __init__(self, name: str, rows: Rows) -> None:
        """Watches `rows`; errors call them `name`."""
        self._name, self._rows = name, rows
        self.shape, self.dtype = rows.shape, rows.dtype
        self._seen = np.zeros(len(rows), bool)
        self._sums = np.zeros(len(rows), np.uint32)

    def read(self, start: int, stop: int) -> np.ndarray:
        """Reads rows start <= n < stop.

        Raises:
          InputChangedError: a row is not what it was.
        """
        found = np.ascontiguousarray(self._rows.read(start, stop))
        part = slice(start, stop)
        sums = np.array([zlib.crc32(row) for row in found], np.uint32)
        changed = np.flatnonzero(self._seen[part] & (self._sums[part] != sums))
        if changed.size:
            raise InputChangedError(
                f"{self._name} changed during the search: sample {start + changed[0]} "
                "is not what it was when it was first read"
            )
        self._seen[part], self._sums[part] = True, sums
        return found
