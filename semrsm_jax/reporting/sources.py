"""The RSMs of a report: from files, runs, or features in memory."""

import os
from collections.abc import Callable, Iterable, Mapping
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

import jax
import numpy as np
from jaxtyping import Float

from semrsm_jax import _checks
from semrsm_jax._kernels import FittedKernel, Kernel, Linear
from semrsm_jax._layouts import layout_of
from semrsm_jax._representations import to_tokens
from semrsm_jax.matching import Matcher
from semrsm_jax.pairs import PairStatistics, pair_statistics
from semrsm_jax.registry import rebuild

Progress = Callable[[str, int, int], None]


class Origin(NamedTuple):
    """The features that an RSM was computed from.

    Attributes:
      features: a path, or activations in memory.
      key: which array of the file; None where there is one.
      layout: the order of its axes; None: the default for their number.
      center: the mean that was subtracted, see `center`; None: none.
    """

    features: Any
    key: str | None = None
    layout: str | None = None
    center: str | None = None


class Read(NamedTuple):
    """An RSM of n chosen samples.

    Attributes:
      rsm: (n, n).
      statistics: its pair statistics, (n, n); None if unknown.
      kernel: the kernel of the RSM, with the bandwidth of the whole RSM; None if
        unknown.
    """

    rsm: Float[np.ndarray, "n n"]
    statistics: PairStatistics | None
    kernel: Kernel | None


class Source(NamedTuple):
    """An RSM that can be read.

    Attributes:
      name: of the layer.
      count: N.
      ids: of the samples; None if they have none.
      matcher: of the RSM; None if unknown.
      kernel: of the RSM, not yet fitted; None if unknown.
      origin: its features; None if unknown.
      content: equal for RSMs of the same features; None if unknown.
      read: reads the part of the given samples, by their numbers.
    """

    name: str
    count: int
    ids: tuple[str, ...] | None
    matcher: Matcher | None
    kernel: Kernel | None
    origin: Origin | None
    content: Any
    read: Callable[[np.ndarray], Read]


def open_sources(
    paths: Iterable[str | os.PathLike], kernel: Kernel | None
) -> list[Source]:
    """Opens the RSMs of files and runs; a run of several layers gives one for each.

    Raises:
      ValueError: as `open_similarity`, or an RSM is between two sets of samples.
    """
    sources: list[Source] = []
    for path in map(Path, paths):
        sources += _runs(path, kernel) if path.is_dir() else [_file(path, kernel)]
    return sources


def array_sources(
    arrays: Mapping[str, Any], matcher: Matcher, kernel: Kernel, progress: Progress
) -> list[Source]:
    """Activations (N, S, C) or (N, H, W, C) in memory, matched when they are read.

    Raises:
      ValueError: an array has another number of axes.
    """
    sources = []
    for name, array in arrays.items():
        array = _checks.with_shape(array)
        layout = layout_of(name, array.shape, None)

        def read(
            chosen: np.ndarray,
            name: str = name,
            array: Any = array,
            order: str = layout,
        ) -> Read:
            report = partial(progress, f"Matching {name}")
            x = to_tokens(array[chosen], order)
            stats = on_host(pair_statistics(x, matcher=matcher, progress=report))
            return similar(stats, kernel)

        count, origin = array.shape[0], Origin(array, layout=layout)
        sources.append(Source(name, count, None, matcher, kernel, origin, None, read))
    return sources


def on_host(stats: PairStatistics) -> PairStatistics:
    """The statistics as NumPy arrays."""
    return jax.tree.map(np.asarray, stats)


def part_of(stats: PairStatistics, chosen: np.ndarray) -> PairStatistics:
    """The statistics of some samples with each other."""

    def part(values: Any) -> np.ndarray:
        return values[np.ix_(chosen, chosen)] if values.ndim == 2 else values[chosen]

    return jax.tree.map(part, on_host(stats))


def similar(stats: PairStatistics, kernel: Kernel) -> Read:
    """The RSM of the statistics of all its samples."""
    fitted = _fitted(kernel, stats)
    return Read(np.asarray(fitted(stats)), stats, fitted)


def _fitted(kernel: Kernel, stats: PairStatistics) -> Kernel:
    """The kernel, fitted to the whole RSM if it has a bandwidth."""
    whole = isinstance(kernel, FittedKernel)
    return kernel.fitted(lambda: [np.asarray(stats.sq_dist)]) if whole else kernel


def _file(path: Path, kernel: Kernel | None) -> Source:
    from semrsm_jax.store import load_rsm

    file = load_rsm(path)
    known = file.metadata
    inputs = known.get("inputs") or [{}]
    ids = file.x_ids or file.y_ids
    _check_square(path, file.rsm.shape, len(inputs) > 1 or (file.y_ids or ids) != ids)
    stats = None if file.statistics is None else on_host(file.statistics)
    if kernel is not None and stats is None:
        raise ValueError(
            f"{path} holds an RSM without pair statistics; {kernel!r} cannot be applied"
        )
    unfitted = rule = kernel if kernel is not None else rebuild(known.get("kernel"))
    if stats is not None and rule is not None:
        rule = _fitted(rule, stats)

    def read(chosen: np.ndarray) -> Read:
        part = None if stats is None else part_of(stats, chosen)
        if kernel is not None and part is not None and rule is not None:
            return Read(np.asarray(rule(part)), part, rule)
        return Read(file.rsm[np.ix_(chosen, chosen)], part, rule)

    origin, content = None, None
    if "file" in inputs[0]:
        center = known.get("center")
        center = None if center == "none" else center
        features = _located(inputs[0]["file"], path)
        key, layout = inputs[0].get("key"), inputs[0].get("layout")
        origin = Origin(features, key, layout, center)
        content = (inputs[0].get("sha256"), key, layout, center)
    matcher = rebuild(known.get("matcher"))
    count = len(file.rsm)
    return Source(path.stem, count, ids, matcher, unfitted, origin, content, read)


def _runs(path: Path, kernel: Kernel | None) -> list[Source]:
    from semrsm_jax.store import open_runs, open_similarity

    sources, runs = [], open_runs(path)
    for layer, store in runs.items():
        part = layer if len(runs) > 1 else None
        similarity = open_similarity(path, kernel or Linear(), layer=part)
        _check_square(path, similarity.shape, store.manifest.y is not None)
        rule: Any = similarity.kernel

        def read(chosen: np.ndarray, store: Any = store, rule: Any = rule) -> Read:
            # Only the chosen samples of each row of tiles are kept.
            side, rows = store.grid.side, []
            for start in range(0, store.grid.rows, side):
                stop = min(start + side, store.grid.rows)
                here = chosen[(start <= chosen) & (chosen < stop)]
                if len(here):
                    rows.append((here, store.statistics(start, stop), here - start))
            matrices: dict[str, Any] = {
                name: np.concatenate(
                    [getattr(s, name)[i][:, chosen] for _, s, i in rows]
                )
                for name in store.matrices
            }
            norms: Any = store.sq_norm("x_sq_norm")[chosen]
            part = PairStatistics(**matrices, x_sq_norm=norms, y_sq_norm=norms)
            return Read(np.asarray(rule(part)), part, rule)

        manifest = store.manifest
        origin = None
        recorded = (store.made.get("sources") or [None])[0] or {}
        prepared = manifest.x.preprocessing or {}
        if manifest.x.mask is None:  # the mask itself is not stored
            file = recorded.get("file")
            origin = Origin(
                None if file is None else _located(file, path),
                recorded.get("key"),
                recorded.get("layout"),
                prepared.get("center"),
            )
        sources.append(
            Source(
                layer or path.stem,
                store.grid.rows,
                manifest.x.sample_ids,
                rebuild(manifest.matcher),
                kernel or Linear(),
                origin,
                (manifest.x.sha256, prepared.get("center")),
                read,
            )
        )
    return sources


def _check_square(path: Path, shape: tuple[int, ...], two_sets: bool) -> None:
    if two_sets or shape[0] != shape[1]:
        raise ValueError(
            f"{path} must hold a square RSM, of samples with themselves, got shape "
            f"{shape}{' of two sets of samples' if two_sets else ''}"
        )


def _located(file: str, beside: Path) -> str | None:
    """A recorded path, or the same name beside the recording file, if it exists."""
    for path in (Path(file), beside.parent / file, beside.parent / Path(file).name):
        if path.exists():
            return str(path)
    return None
