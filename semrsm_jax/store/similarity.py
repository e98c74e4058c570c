"""RSMs on disk, read row by row under any kernel, however large they are."""

import os
from collections.abc import Iterator
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path

import numpy as np

from semrsm_jax._kernels import FittedKernel, Kernel, Linear
from semrsm_jax._rows import Rows, part
from semrsm_jax.store.layers import open_run
from semrsm_jax.store.rsm_file import load_rsm
from semrsm_jax.store.run_store import RunStore


@dataclass(frozen=True, eq=False)
class Similarity(Rows):
    """An RSM (N, M) on disk: indexing its rows reads them, as NumPy arrays.

    Attributes:
      shape: (N, M).
      dtype: float32 or float64.
      read: ``read(start, stop)`` gives rows start <= n < stop, (stop - start, M).
      kernel: what is applied to the statistics, with its bandwidth; None where the
        matrix of a file is taken as it is.
      x_ids: names of the N samples; None where they have none.
      y_ids: names of the M samples; None where they have none.
      x_groups: the group of each of the N samples; None where there are none.
    """

    kernel: Kernel | None = None
    x_ids: tuple[str, ...] | None = None
    y_ids: tuple[str, ...] | None = None
    x_groups: tuple[str, ...] | None = None


def _of_run(store: RunStore, kernel: Kernel) -> Similarity:
    if isinstance(kernel, FittedKernel):
        kernel = kernel.fitted(lambda: sq_dist_blocks(store))
    side, rows = store.grid.side, store.grid.rows

    # One row of tiles is held, for readers that go row by row.
    @lru_cache(maxsize=1)
    def row_of_tiles(first: int) -> np.ndarray:
        # Always of whole tiles, so that a value has the same bits however it is asked
        # for.
        return np.asarray(kernel(store.statistics(first, min(first + side, rows))))

    def read(start: int, stop: int) -> np.ndarray:
        block = np.empty((stop - start, store.grid.columns), store.dtype)
        for first in range(start - start % side, stop, side):
            low, high = max(start, first), min(stop, first + side)
            tiles = row_of_tiles(first)
            block[low - start : high - start] = tiles[low - first : high - first]
        return block

    return Similarity(
        (rows, store.grid.columns),
        store.dtype,
        read,
        kernel,
        store.manifest.x.sample_ids,
        store.manifest.columns.sample_ids,
    )


def _of_file(path: Path, kernel: Kernel | None) -> Similarity:
    file = load_rsm(path)
    matrix = file.rsm
    if kernel is not None:
        if file.statistics is None:
            raise ValueError(
                f"{path} holds an RSM without the statistics behind it; {kernel!r} "
                "cannot be applied"
            )
        matrix = np.asarray(kernel(file.statistics))
    rows = part(matrix, 0, len(matrix))
    names = file.x_ids, file.y_ids, file.x_groups
    return Similarity(rows.shape, rows.dtype, rows.read, kernel, *names)


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
        return _of_file(Path(path), kernel)
    store = open_run(path, layer)
    missing = store.missing()
    if missing:
        raise ValueError(
            f"{store.path} is not finished: {len(missing)} of "
            f"{sum(1 for _ in store.grid)} tiles are missing; the same run again "
            "computes them"
        )
    return _of_run(store, Linear() if kernel is None else kernel)


def sq_dist_blocks(store: RunStore) -> Iterator[np.ndarray]:
    """The squared distances of a run, tile by tile.

    Raises:
      ValueError: a tile is missing or damaged; the error names it.
    """
    for tile in store.grid.all():
        yield store.read(tile)["sq_dist"]
