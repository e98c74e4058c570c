"""RSMs on disk, read row by row under any kernel, however large they are."""

import os
from collections.abc import Iterator
from pathlib import Path

import numpy as np

from semrsm_jax._kernels import FittedKernel, Kernel, Linear
from semrsm_jax._rows import Rows
from semrsm_jax.store.layers import open_run
from semrsm_jax.store.rsm_file import load_rsm
from semrsm_jax.store.run_store import RunStore


class Similarity(Rows):
    """An RSM (N, M) on disk: indexing its rows reads them, as NumPy arrays.

    Attributes:
      shape: (N, M).
      dtype: float32 or float64.
      kernel: what is applied to the statistics, with its bandwidth; None where the
        matrix of a file is taken as it is.
      x_ids: names of the N samples; None where they have none.
      y_ids: of the M samples.
    """

    kernel: Kernel | None
    x_ids: tuple[str, ...] | None = None
    y_ids: tuple[str, ...] | None = None


class _StoredSimilarity(Similarity):
    """A kernel over a run; one row of tiles is held, for readers that go row by row."""

    def __init__(self, store: RunStore, kernel: Kernel) -> None:
        self._store = store
        self._held: tuple[int, np.ndarray] | None = None
        self.shape = (store.grid.rows, store.grid.columns)
        self.dtype = store.dtype
        self.x_ids = store.manifest.x.sample_ids
        self.y_ids = store.manifest.columns.sample_ids
        if isinstance(kernel, FittedKernel):
            kernel = kernel.fitted(lambda: sq_dist_blocks(store))
        self.kernel: Kernel = kernel

    def read(self, start: int, stop: int) -> np.ndarray:
        """Rows start <= n < stop under the kernel, a row of tiles at a time.

        Raises:
          ValueError: a tile is missing or damaged; the error names it.
        """
        rows = np.empty((stop - start, self.shape[1]), self.dtype)
        side = self._store.grid.side
        for number in range(start // side, -(-stop // side)):
            first, part = self._row_of_tiles(number)
            low, high = max(start, first), min(stop, first + side)
            rows[low - start : high - start] = part[low - first : high - first]
        return rows

    def _row_of_tiles(self, number: int) -> tuple[int, np.ndarray]:
        first = number * self._store.grid.side
        if self._held is None or self._held[0] != first:
            stop = min(first + self._store.grid.side, self.shape[0])
            # Always of whole tiles, so that a value has the same bits however it is
            # asked for.
            part = self.kernel(self._store.statistics(first, stop))
            self._held = first, np.asarray(part)
        return self._held


class _FileSimilarity(Similarity):
    """The matrix of a file."""

    def __init__(self, path: Path, kernel: Kernel | None) -> None:
        file = load_rsm(path)
        self.kernel = kernel
        if kernel is None:
            self._matrix = file.rsm
        elif file.statistics is None:
            raise ValueError(
                f"{path} holds an RSM without the statistics behind it; {kernel!r} "
                "cannot be applied"
            )
        else:
            self._matrix = np.asarray(kernel(file.statistics))
        self.shape, self.dtype = self._matrix.shape, self._matrix.dtype

    def read(self, start: int, stop: int) -> np.ndarray:
        """Rows start <= n < stop."""
        return np.asarray(self._matrix[start:stop])


def open_similarity(
    path: str | os.PathLike, kernel: Kernel | None = None, *, layer: str | None = None
) -> Similarity:
    """Opens an RSM on disk: that of a file, or a kernel over a run.

    Of a run only the rows asked for are ever in memory, with at most a row of tiles
    more, whatever its size; each tile is compared with its checksum as it is read.

    Args:
      path: a folder that `semrsm_jax.run` wrote, or a file that `save_rsm` wrote.
      kernel: a function of `PairStatistics`, elementwise, or one that is so once it is
        fitted, as `RBF` is: its bandwidth is that of the whole run, found in a few
        readings. None: ``Linear()`` of a run, and the RSM of a file as it is.
      layer: which one, where a run has several.

    Returns:
      The `Similarity` (N, M), read by rows.

    Raises:
      ValueError: there is no RSM, a run is not finished or damaged, a file lacks the
        statistics that `kernel` needs, or `layer` names none of the layers.
    """
    if not Path(path).is_dir():
        if layer is not None:
            raise ValueError(f"layer {layer!r} was given, but {path} is no run")
        return _FileSimilarity(Path(path), kernel)
    store = open_run(path, layer)
    missing = store.missing()
    if missing:
        raise ValueError(
            f"{store.path} is not finished: {len(missing)} of "
            f"{sum(1 for _ in store.grid)} tiles are missing; the same run again "
            "computes them"
        )
    return _StoredSimilarity(store, Linear() if kernel is None else kernel)


def sq_dist_blocks(store: RunStore) -> Iterator[np.ndarray]:
    """The squared distances of a run, tile by tile.

    Raises:
      ValueError: a tile is missing or damaged; the error names it.
    """
    for tile in store.grid.all():
        yield store.read(tile)["sq_dist"]
