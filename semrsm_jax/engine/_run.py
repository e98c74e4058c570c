"""A run: two inputs in, their pair statistics on disk, whatever their size."""

import hashlib
import os
from collections.abc import Callable, Collection, Mapping, Sequence
from contextlib import ExitStack
from functools import cache, partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, overload

import jax

from semrsm_jax._representations import accumulation_dtype
from semrsm_jax._resources import Device
from semrsm_jax.engine._cluster import on_cluster
from semrsm_jax.engine._inputs import Features
from semrsm_jax.engine._samples import RunInput, read_inputs
from semrsm_jax.engine._spec import Report, RunSpec
from semrsm_jax.engine._tile import Task
from semrsm_jax.engine._workers import Advance, on_devices
from semrsm_jax.engine.progress import Tally
from semrsm_jax.matching.base import Bound, Matcher
from semrsm_jax.matching.exact import Exact
from semrsm_jax.matching.results import Unconverged, warn_unconverged
from semrsm_jax.store.layers import layer_folders
from semrsm_jax.store.manifest import Input, Manifest, described
from semrsm_jax.store.output import check_folder
from semrsm_jax.store.rsm_file import package_version
from semrsm_jax.store.run_store import RunStore
from semrsm_jax.store.tiles import Tile

if TYPE_CHECKING:
    from distributed import Client

_VERSIONS = ("semrsm_jax", "jax", "jaxlib", "numpy", "numba", "zarr")

# A run, and the tiles that it lacks.
_Job = tuple[RunStore, list[Task]]


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

    Tiles that the folder holds already are not computed again, provided that it is the
    same run: the same content of the inputs, matcher, bound, centering, dtype and
    tiles. A tile is stored as a whole or not at all, so a run may be stopped or killed
    at any time, and called again. Several processes may call it with the same folder
    and share the work.

    Args:
      x: representations (N, S, C): an array, a `Rows` that is read block by block, or
        `Features`, with masks and names. A mapping holds those of several layers, by
        name: each has a run of its own in the folder.
      y: representations (M, T, C), or a mapping with the layers of x; None compares x
        with itself.
      store: the folder.
      matcher: the rule that pairs the tokens.
      bound: a further proof for approximate matchers, see `pair_statistics`.
      center: subtract the mean over all samples, of each ``"channel"`` or of each
        ``"position"`` and channel, as `semrsm_jax.center` does with the mask; with y,
        its mean from both.
      tile: rows and columns of a tile, at most the number of samples. None: those of
        the run in the folder, else what takes some seconds.
      memory_budget: bytes that the pairs in flight and the blocks of a tile may take.
        None: a share of what is free.
      devices: of this machine, each with tiles of its own. None: all of JAX's local
        ones.
      cluster: a Dask client, instead of `devices`; its workers write to the folder,
        which they must see by the same path.
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

    Warns:
      RuntimeWarning: pairs of a soft matching did not converge, in this call or in an
        earlier one that it resumes.
    """
    options = (matcher, bound, center, tile, memory_budget)
    devices = devices or jax.local_devices()
    compute = partial(on_devices, devices=devices)
    if cluster is not None:
        compute = partial(on_cluster, client=cluster)
    report = progress or (lambda progress: None)
    if not isinstance(x, Mapping):
        spec = RunSpec.checked(x, y, *options)
        job = _prepare(check_folder(store), None, spec, devices[0], report)
        _compute([job], compute, report)
        return job[0]
    others = dict.fromkeys(x) if y is None else y
    if not isinstance(others, Mapping) or set(others) != set(x):
        raise ValueError("y must hold the same layers as x")
    if not x:
        raise ValueError("x must hold at least one layer, got none")
    specs = {name: RunSpec.checked(x[name], others[name], *options) for name in x}
    jobs = {
        name: _prepare(folder, name, specs[name], devices[0], report)
        for name, folder in layer_folders(store, x).items()
    }
    _compute(jobs.values(), compute, report)
    return {name: store for name, (store, _) in jobs.items()}


def _prepare(
    folder: Path, layer: str | None, spec: RunSpec, device: Device, report: Report
) -> _Job:
    """Reads the inputs once, creates or resumes the run, and lists what it lacks."""
    inputs = read_inputs(spec, report)
    described_inputs = [
        _described(samples, features, spec.center)
        for samples, features in zip(inputs, spec.features, strict=True)
    ]
    resumed = RunStore.open(folder) if (folder / "zarr.json").exists() else None
    tile = spec.tile or (resumed and resumed.manifest.tile)
    grid = spec.grid(tile or spec.tile_side())
    in_flight = resumed and resumed.made.get("pairs_in_flight")
    if not isinstance(in_flight, int) or spec.memory_budget is not None:
        in_flight = spec.pairs_in_flight(grid, device)
    matcher, bound = spec.rule
    manifest = Manifest(
        x=described_inputs[0],
        y=described_inputs[1] if len(described_inputs) == 2 else None,
        layer=layer,
        matcher=described(matcher),
        soft=matcher.soft,
        bound=None if bound is None else described(bound),
        dtype=str(accumulation_dtype(spec.dtype)),
        tile=grid.side,
        triangle=grid.triangle,
        diagonal=grid.diagonal,
        semrsm_jax=package_version("semrsm_jax"),
    )
    made = {
        "sources": [features.source for features in spec.features],
        "pairs_in_flight": in_flight,
        "platform": device.platform,
        "versions": {name: package_version(name) for name in _VERSIONS},
    }
    norms = {"x_sq_norm": inputs[0].sq_norm, "y_sq_norm": inputs[-1].sq_norm}
    store = RunStore.create(folder, manifest, made, norms)
    # A block of samples belongs to many tiles.
    x_block = cache(lambda row: inputs[0].block(grid.x_rows(Tile(row, 0))))
    y_block = cache(lambda column: inputs[-1].block(grid.y_rows(Tile(0, column))))
    tasks = [
        Task(
            str(store.path),
            place,
            grid.pairs(place).count,
            x_block(place.row),
            y_block(place.column),
            spec.rule,
            spec.dtype,
            in_flight,
            bool(jax.config.read("jax_enable_x64")),
        )
        for place in store.to_compute()
    ]
    return store, tasks


def _described(samples: RunInput, features: Features, center: str | None) -> Input:
    """The description of an input in the manifest."""
    mask, ids = samples.mask, features.ids
    return Input(
        samples.sha256,
        tuple(samples.rows.shape),
        str(samples.rows.dtype),
        None if mask is None else hashlib.sha256(mask.tobytes()).hexdigest(),
        {**(features.preprocessing or {}), "center": center},
        None if ids is None else tuple(map(str, ids)),
    )


def _compute(
    jobs: Collection[_Job],
    compute: Callable[[Sequence[Task], Advance], None],
    report: Report,
) -> None:
    """Computes the tiles that the runs lack."""
    tasks = [task for _, missing in jobs for task in missing]
    total = sum(store.grid.pair_count for store, _ in jobs)
    tally = Tally("matching", total, total - sum(task.pairs for task in tasks))
    report(tally.now(0))

    def advance(task: Task, done: int, written: bool) -> None:
        report(tally.add(task, done, written))

    with ExitStack() as stack:
        for store, _ in jobs:
            stack.enter_context(store.working())
        if tasks:
            compute(tasks, advance)
    # Of all tiles, those of earlier calls included.
    unconverged = Unconverged()
    for store, _ in jobs:
        unconverged = unconverged.and_those(store.unconverged())
    warn_unconverged(unconverged, stacklevel=4)
