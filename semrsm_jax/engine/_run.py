"""A run: two inputs in, their pair statistics on disk, whatever their size."""

import hashlib
import os
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple, overload

import jax
import jax.numpy as jnp

from semrsm_jax import _checks
from semrsm_jax._representations import accumulation_dtype
from semrsm_jax._resources import Device
from semrsm_jax.engine._cluster import cluster_threads, on_cluster
from semrsm_jax.engine._inputs import Opened, opened
from semrsm_jax.engine._local import Event, on_devices
from semrsm_jax.engine._samples import Samples, norms, survey
from semrsm_jax.engine._tile import Task
from semrsm_jax.engine.progress import Progress, Tally
from semrsm_jax.engine.settings import Problem, Settings
from semrsm_jax.matching.base import Bound, Matcher
from semrsm_jax.matching.exact import Exact
from semrsm_jax.store.layers import layer_folders
from semrsm_jax.store.manifest import Input, Manifest, described
from semrsm_jax.store.output import check_folder
from semrsm_jax.store.rsm_file import package_version
from semrsm_jax.store.run_store import RunStore
from semrsm_jax.store.tiles import Tile

if TYPE_CHECKING:
    from distributed import Client

_VERSIONS = ("semrsm_jax", "jax", "jaxlib", "numpy", "numba", "zarr")

Report = Callable[[Progress], None]


class Workers(NamedTuple):
    """Who computes: devices of this machine, or a cluster."""

    devices: Sequence[Device]
    cluster: "Client | None"

    @property
    def count(self) -> int:
        """Tiles that are computed at a time."""
        if self.cluster is None:
            return len(self.devices)
        return cluster_threads(self.cluster)

    def compute(self, tasks: Sequence[Task]) -> Iterator[Event]:
        """Computes tiles, and tells of each step."""
        if self.cluster is None:
            return on_devices(tasks, self.devices)
        return on_cluster(tasks, self.cluster)


class _Job(NamedTuple):
    """A run and what it still takes."""

    store: RunStore
    tasks: list[Task]


@overload
def run(
    x: Mapping[str, Any],
    y: Mapping[str, Any] | None = None,
    *,
    store: str | os.PathLike,
    matcher: Matcher = ...,
    bound: Bound | None = ...,
    center: str | None = ...,
    tile: int | None = ...,
    memory_budget: int | None = ...,
    devices: Sequence[Device] | None = ...,
    cluster: "Client | None" = ...,
    progress: Report | None = ...,
) -> dict[str, RunStore]: ...
@overload
def run(
    x: Any,
    y: Any = None,
    *,
    store: str | os.PathLike,
    matcher: Matcher = ...,
    bound: Bound | None = ...,
    center: str | None = ...,
    tile: int | None = ...,
    memory_budget: int | None = ...,
    devices: Sequence[Device] | None = ...,
    cluster: "Client | None" = ...,
    progress: Report | None = ...,
) -> RunStore: ...
def run(
    x: Any,
    y: Any = None,
    *,
    store: str | os.PathLike,
    matcher: Matcher = Exact(),
    bound: Bound | None = None,
    center: str | None = None,
    tile: int | None = None,
    memory_budget: int | None = None,
    devices: Sequence[Device] | None = None,
    cluster: "Client | None" = None,
    progress: Report | None = None,
) -> RunStore | dict[str, RunStore]:
    """`pair_statistics` of inputs and outputs of any size, in a folder on disk.

    What the folder holds already is not computed again, provided that it is the same
    run: the same content of the inputs, matcher, bound, centering, dtype and tiles. A
    tile is there as a whole or not at all, so a run may be stopped or killed at any
    time, and called again. Several processes may call it with the same folder and share
    the work.

    Args:
      x: representations (N, S, C): an array, a `Rows` that is read block by block, or
        `Features`, with masks and names. A mapping holds those of several layers, by
        name: each has a run of its own in the folder.
      y: representations (M, T, C), or by layer as well; None compares x with itself.
      store: the folder.
      matcher: the rule that pairs the tokens.
      bound: a further proof for approximate matchers, see `pair_statistics`.
      center: subtract the mean over all samples, of each ``"channel"`` or of each
        ``"position"`` and channel; with y, its mean from both.
      tile: rows and columns of a tile. None: those of the run in the folder, else what
        takes some seconds.
      memory_budget: bytes that the pairs in flight and the blocks of a tile may take.
        None: a share of what is free.
      devices: of this machine, each with tiles of its own. None: all of JAX's local
        ones.
      cluster: a Dask client, instead; its workers write to the folder, which they must
        see by the same path.
      progress: called with the `Progress`, several times a second.

    Returns:
      The store, finished; for a mapping, those of all layers. `open_similarity` reads
      it under any kernel.

    Raises:
      TypeError: as `pair_statistics`.
      ValueError: as `pair_statistics`; or the folder holds another run, and the error
        names what differs; or an input changed during the run, whose tiles up to then
        are right and stay.
      OSError: the folder cannot be written, or the disk is full.
    """
    settings = Settings(matcher, bound, center, tile, memory_budget).checked()
    workers = Workers(devices or jax.local_devices(), cluster)
    report = progress or (lambda progress: None)
    if not isinstance(x, Mapping):
        folder = check_folder(store)
        job = prepare(folder, None, x, y, settings, workers, report)
        _compute([job], workers, report)
        return job.store
    if y is not None and (not isinstance(y, Mapping) or set(y) != set(x)):
        raise ValueError("y must hold the same layers as x")
    if not x:
        raise ValueError("x must hold at least one layer, got none")
    others = dict.fromkeys(x) if y is None else y
    jobs = {
        name: prepare(folder, name, x[name], others[name], settings, workers, report)
        for name, folder in layer_folders(store, x).items()
    }
    _compute(list(jobs.values()), workers, report)
    return {name: job.store for name, job in jobs.items()}


def prepare(
    folder: Path,
    layer: str | None,
    x: Any,
    y: Any,
    settings: Settings,
    workers: Workers,
    report: Report,
) -> _Job:
    """Looks through the inputs, and makes or resumes the run."""
    sides = {"x": x} if y is None else {"x": x, "y": y}
    inputs = {name: opened(name, given) for name, given in sides.items()}
    problem = posed(inputs, settings)
    samples, known = _looked_through(inputs, settings.center, problem.dtype, report)
    there = RunStore.open(folder) if (folder / "zarr.json").exists() else None
    device = workers.devices[0]
    tile = settings.tile or (there and there.manifest.tile)
    grid = problem.grid(tile or problem.tile_side(device, workers.count))
    in_flight = there and there.made.get("pairs_in_flight")
    if not isinstance(in_flight, int) or settings.memory_budget is not None:
        in_flight = problem.pairs_in_flight(grid, device)
    manifest = Manifest(
        x=known[0],
        y=None if y is None else known[1],
        layer=layer,
        matcher=described(settings.matcher),
        bound=None if settings.bound is None else described(settings.bound),
        dtype=str(accumulation_dtype(problem.dtype)),
        tile=grid.side,
        triangle=grid.triangle,
        diagonal=grid.diagonal,
        semrsm_jax=package_version("semrsm_jax"),
    )
    made = {
        "sources": [features.source for features, _ in inputs.values()],
        "pairs_in_flight": in_flight,
        "platform": device.platform,
        "versions": {name: package_version(name) for name in _VERSIONS},
    }
    found = {"x_sq_norm": samples[0].sq_norm, "y_sq_norm": samples[-1].sq_norm}
    store = RunStore.create(folder, manifest, made, found)
    # A block of samples is in many tiles.
    x_block = cache(lambda row: samples[0].block(grid.x_rows(Tile(row, 0))))
    y_block = cache(lambda column: samples[-1].block(grid.y_rows(Tile(0, column))))
    tasks = [
        Task(
            str(store.path),
            place,
            grid.pairs(place).count,
            x_block(place.row),
            y_block(place.column),
            settings.rule,
            problem.dtype,
            in_flight,
            bool(jax.config.read("jax_enable_x64")),
        )
        for place in store.to_compute()
    ]
    return _Job(store, tasks)


def posed(inputs: Mapping[str, Opened], settings: Settings) -> Problem:
    """What is to be matched, of one input or two.

    Raises:
      ValueError: the shapes do not fit together, or not the matcher.
    """
    rows = [given.features.rows for given in inputs.values()]
    x_shape, y_shape = tuple(rows[0].shape), tuple(rows[-1].shape)
    if x_shape[2] != y_shape[2]:
        raise ValueError(
            f"x and y must have the same channels, got {x_shape[2]} and {y_shape[2]}"
        )
    settings.matcher.validate(x_shape, y_shape)
    dtype = jnp.result_type(*(_checks.floating_dtype(part.dtype) for part in rows))
    return Problem(x_shape, y_shape, len(rows) == 1, dtype, settings)


def _looked_through(
    inputs: Mapping[str, Opened], center: str | None, dtype: Any, report: Report
) -> tuple[list[Samples], list[Input]]:
    """Both inputs, known by their content and ready to be read block by block."""
    tally = Tally(
        "reading", sum(given.features.rows.shape[0] for given in inputs.values())
    )
    surveys, before = {}, 0
    # The mean is that of the last: y's where there is one (App. D.1).
    last = list(inputs)[-1]
    for name, (features, _) in inputs.items():
        surveys[name] = survey(
            name,
            features.rows,
            center if name == last else None,
            lambda done, before=before: report(tally.now(before + done)),
        )
        before += features.rows.shape[0]
    mean = surveys[last].mean
    if mean is not None:
        mean = mean.astype(accumulation_dtype(dtype))
    samples, known = [], []
    for name, (features, mask) in inputs.items():
        found = Samples(
            name,
            features.rows,
            mean,
            mask,
            surveys[name].digests,
            surveys[name].sums,
            norms(features.rows, mean, mask, dtype),
        )
        samples.append(found)
        preprocessing = {**(features.preprocessing or {}), "center": center}
        known.append(
            Input(
                found.sha256,
                tuple(features.rows.shape),
                str(features.rows.dtype),
                None if mask is None else hashlib.sha256(mask.tobytes()).hexdigest(),
                preprocessing,
                None if features.ids is None else tuple(map(str, features.ids)),
            )
        )
    return samples, known


def _compute(jobs: Sequence[_Job], workers: Workers, report: Report) -> None:
    """Computes what is missing; what is stopped in the middle is missing still."""
    tasks = [task for job in jobs for task in job.tasks]
    total = sum(job.store.grid.pair_count for job in jobs)
    tally = Tally("matching", total, total - sum(task.pairs for task in tasks))
    report(tally.now(0))
    with ExitStack() as stack:
        for job in jobs:
            stack.enter_context(job.store.working())
        if tasks:
            for event in workers.compute(tasks):
                report(tally.add(event))
