"""RSMs on disk, read row by row under any kernel, however large they are."""

import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from functools import lru_cache
from pathlib import Path

import numpy as np

from semrsm_jax._ids import same_samples
from semrsm_jax._kernels import FittedKernel, Kernel, Linear
from semrsm_jax._rows import Rows, part
from semrsm_jax.store.layers import open_run, open_runs
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
        tiles = store.grid.all
        kernel = kernel.fitted(
            lambda: (store.read(t, ["sq_dist"])["sq_dist"] for t in tiles())
        )
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
            values = row_of_tiles(first)
            block[low - start : high - start] = values[low - first : high - first]
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


def open_similarities(
    paths: Sequence[str | os.PathLike],
    kernel: Kernel | None = None,
    *,
    square: bool = True,
) -> dict[str, Similarity]:
    """Opens the RSMs of files and runs, in the order of the first one that has ids.

    Args:
      paths: files that `save_rsm` wrote, and folders that `semrsm_jax.run` wrote, each
        layer of which is an RSM.
      kernel: as in `open_similarity`.
      square: reject RSMs between two sets of samples.

    Returns:
      By name, the `Similarity`: its path, and after a colon the layer where a run has
      several.

    Raises:
      ValueError: as `open_similarity`; no paths, an RSM given twice, one that is not
        square, or RSMs over different samples.

    Warns:
      UserWarning: one has no ids where another has: its rows are taken as they come.
    """
    similarities: dict[str, Similarity] = {}
    for path in map(Path, paths):
        layers = list(open_runs(path)) if path.is_dir() else [None]
        for layer in layers:
            name = f"{path}:{layer}" if len(layers) > 1 else str(path)
            if name in similarities:
                raise ValueError(f"{name} was given twice")
            chosen = layer if len(layers) > 1 else None
            similarities[name] = open_similarity(path, kernel, layer=chosen)
    if not similarities:
        raise ValueError("paths must hold at least one RSM, got none")
    _check_shapes(similarities, square)
    return _aligned(similarities)


def _check_shapes(similarities: Mapping[str, Similarity], square: bool) -> None:
    """Rejects shapes that differ from that of the first RSM."""
    for name, rsm in similarities.items():
        if square and rsm.shape[0] != rsm.shape[1]:
            raise ValueError(
                f"{name} must hold a square RSM, got shape {rsm.shape}: samples "
                "with themselves, not two sets of samples"
            )
    (first, rsm), *others = similarities.items()
    for name, other in others:
        if other.shape != rsm.shape:
            sizes = " and ".join(
                f"{s[0]}" if square else f"{s[0]} x {s[1]}"
                for s in (rsm.shape, other.shape)
            )
            raise ValueError(
                f"{first} and {name} must be over the same samples, got {sizes}"
            )


def _aligned(similarities: dict[str, Similarity]) -> dict[str, Similarity]:
    """Each with rows and columns in the order of the first one that has ids."""
    aligned = same_samples(similarities)
    x_ids, y_ids = (
        next(filter(None, (getattr(s, axis) for s in similarities.values())), None)
        for axis in ("x_ids", "y_ids")
    )
    if x_ids is None and y_ids is None:
        return similarities
    return {
        name: replace(
            each,
            read=aligned[name].read,
            x_ids=each.x_ids and x_ids,
            y_ids=each.y_ids and y_ids,
            x_groups=getattr(aligned[name], "x_groups", None),
        )
        for name, each in similarities.items()
    }
