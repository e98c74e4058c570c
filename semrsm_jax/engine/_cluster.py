"""Tiles on a Dask cluster: each worker writes its own to the shared store."""

import dataclasses
import os
import signal
import socket
import threading
import time
import warnings
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any

import jax

from semrsm_jax._extras import required
from semrsm_jax._resources import core_limit
from semrsm_jax.engine._tile import Task, TileComputer

if TYPE_CHECKING:
    from distributed import Client, Future

# Tiles submitted for each thread of the cluster, so that none is ever idle.
_AHEAD = 2

# Workers that a tile may lose, on a local cluster, before the run gives it up.
_MOST_DEATHS = 20

_PATIENCE = 0.2  # seconds between looks at what is done
_WORKERLESS = 30.0  # seconds without any worker before a warning

# Above all levels of logging: the run itself reports lost workers where they matter.
_SILENT = 60

# Read by libraries when a worker starts: one thread each, as Dask counts them.
_ONE_THREAD = {
    **dict.fromkeys(
        ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS", "NPROC"), "1"
    ),
    "XLA_FLAGS": "--xla_cpu_multi_thread_eigen=false",
}

_own = threading.local()


@contextmanager
def local_cluster(workers: int) -> "Iterator[Client]":
    """Starts a cluster of processes on this machine, of one thread each.

    Args:
      workers: how many processes.

    Yields:
      The client of the cluster; both are closed at the end of the block.

    Raises:
      ImportError: Dask is not installed.
    """
    distributed = _distributed()
    from dask import config

    settings = {
        "distributed.worker.preload": ["semrsm_jax.engine._preload"],
        "distributed.nanny.pre-spawn-environ": _ONE_THREAD,
        "distributed.scheduler.allowed-failures": _MOST_DEATHS,
        # A worker holds compiled programs and two blocks, not Dask's data.
        "distributed.worker.memory.terminate": False,
        "distributed.worker.memory.pause": False,
        # A worker that takes long to start again is not lost.
        "distributed.deploy.lost-worker-timeout": "1 day",
    }
    with config.set(settings):
        cluster = distributed.LocalCluster(
            n_workers=workers,
            threads_per_worker=1,
            memory_limit=0,
            dashboard_address=":0",
            silence_logs=_SILENT,
        )
        try:
            with distributed.Client(cluster) as client:
                yield client
        finally:
            # Claims on tiles end with a process, so nothing is lost by a kill, and
            # closing would wait for a worker in the middle of a tile.
            for nanny in cluster.workers.values():
                nanny.auto_restart = False
                if nanny.pid is not None:
                    with suppress(ProcessLookupError):
                        os.kill(nanny.pid, signal.SIGKILL)
            cluster.close()


@contextmanager
def connected(address: str) -> "Iterator[Client]":
    """Connects to the scheduler of a cluster.

    Args:
      address: of the scheduler, for example ``"tcp://node1:8786"``.

    Yields:
      The client, closed at the end of the block.

    Raises:
      ImportError: Dask is not installed.
      OSError: no scheduler answers at the address.
    """
    with _distributed().Client(address, timeout="10s") as client:
        yield client


def on_cluster(
    tasks: Sequence[Task], advance: Callable[[Task, int, bool], None], client: "Client"
) -> None:
    """Computes tiles on the workers of a cluster; see `on_devices`.

    Dask gives the tiles of a lost worker to others. Without any worker the run waits
    for one, and warns. Workers read the features themselves where they can see them;
    else the blocks are sent to them.

    Raises:
      RuntimeError: every worker that took a tile died.
      ValueError: a worker cannot see the store.
    """
    distributed = _distributed()
    todo, submitted, sent = deque(tasks), {}, False
    # When there was a worker last; infinity once the lack of one was reported.
    manned = time.monotonic()
    try:
        while todo or submitted:
            threads: Any = client.nthreads()
            if threads:
                manned = time.monotonic()
            elif time.monotonic() - manned > _WORKERLESS:
                manned = float("inf")
                warnings.warn(
                    f"the cluster has had no worker for {_WORKERLESS:.0f} s; waiting "
                    "for one. To stop: Ctrl-C; the same call then resumes the run",
                    RuntimeWarning,
                    stacklevel=2,
                )
            _restart_lost(client.cluster, len(threads))
            while todo and len(submitted) < _AHEAD * max(1, sum(threads.values())):
                task = todo.popleft()
                submitted[_submit(client, task, sent)] = task
            try:
                done = distributed.wait(
                    list(submitted), timeout=_PATIENCE, return_when="FIRST_COMPLETED"
                ).done
            except TimeoutError:
                continue
            for future in done:
                task = submitted.pop(future)
                try:
                    outcome = future.result()
                except distributed.scheduler.KilledWorker as error:
                    raise RuntimeError(
                        f"tile {tuple(task.tile)} of {task.store} was given up: each "
                        "worker that took it died, perhaps of too little memory; try "
                        "a smaller memory budget or tile. The same call resumes"
                    ) from error
                if outcome == _WRITTEN:
                    advance(task, task.pairs, True)
                else:
                    sent |= outcome == _UNSEEN
                    todo.append(task)
    finally:
        client.cancel(list(submitted), force=True)


def _restart_lost(cluster: Any, workers: int) -> None:
    """Replaces workers of a local cluster that died while they started.

    Dask itself restarts those that die later.
    """
    local = isinstance(cluster, _distributed().LocalCluster)
    if not local or workers >= len(cluster.worker_spec):
        return

    def restart() -> None:
        for name, nanny in list(cluster.workers.items()):
            if nanny.status.name in ("closing", "closed", "failed"):
                del cluster.workers[name]
        cluster.scale(len(cluster.worker_spec))

    cluster.loop.add_callback(restart)


# What became of a task: its tile is there; another process has it; the features are not
# visible.
_WRITTEN, _BUSY, _UNSEEN = "written", "busy", "unseen"


def _submit(client: "Client", task: Task, sent: bool) -> "Future":
    from dask import config

    # One object where x and y are the same block, which is then sent once.
    keys = [side.key(task.dtype) for side in (task.x, task.y)]
    blocks = dict(zip(keys, (task.x, task.y), strict=True))
    for key, block in blocks.items():
        if sent or not block.on_disk:
            blocks[key] = block.held()
    task = dataclasses.replace(task, x=blocks[keys[0]], y=blocks[keys[1]])
    # Within the task, which outlives each worker that takes it. Data that is sent by
    # Dask's own means is kept by a worker, and lost with it.
    with config.set({"distributed.admin.large-graph-warning-threshold": "1 TB"}):
        return client.submit(_write, task, pure=False)


def _write(task: Task) -> str:
    """Computes and writes a tile, or states why not; this runs on a worker."""
    if not Path(task.store).is_dir():
        raise ValueError(
            f"a worker on {socket.gethostname()} cannot see {task.store}: the store "
            "must be in a folder that all workers share"
        )
    if not hasattr(_own, "computer"):
        _own.computer = TileComputer()
    with jax.enable_x64(task.x64), core_limit(1):
        try:
            _own.computer.load(task)
        except (OSError, ValueError):
            # The file is missing here or is another one: the run sends its own.
            if task.x.on_disk or task.y.on_disk:
                return _UNSEEN
            raise
        if _own.computer.write(task, lambda done: None):
            return _WRITTEN
    time.sleep(_PATIENCE)
    return _BUSY


def _distributed() -> Any:
    return required("distributed", "cluster", "a cluster")
