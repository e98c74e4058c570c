"""Tiles on a Dask cluster: each worker writes its own to the shared store."""

import dataclasses
import os
import signal
import socket
import threading
import time
import warnings
from collections import Counter, deque
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any

import jax

from semrsm_jax._resources import core_limit
from semrsm_jax.engine._local import Event
from semrsm_jax.engine._tile import Task, TileComputer
from semrsm_jax.store.tiles import Tile

if TYPE_CHECKING:
    from distributed import Client, Future

# Tiles that wait for each thread of the cluster, so that none is ever idle.
_AHEAD = 2

# How often a tile is tried whose worker died each time, and then given up.
_MOST_DEATHS = 5

_PATIENCE = 0.2  # seconds between looks at what is done

# Seconds between looks at who is there; and without any worker, until that is said.
_ROLL_CALL, _ALONE = 1.0, 30.0

# Above all levels of logging: what matters of a worker's death is said here.
_SILENT = 60

# What libraries read when a worker starts: one thread each, as Dask says.
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
        # What a worker holds are compiled programs and two blocks, not Dask's data.
        "distributed.worker.memory.terminate": False,
        "distributed.worker.memory.pause": False,
        # A worker that takes long to start again is not lost; see `_Crew` for one that
        # does not start again.
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
            # Nothing is lost with a worker, and one in the middle of a tile would let
            # the cluster wait for it.
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
      OSError: nobody answers there.
    """
    with _distributed().Client(address, timeout="10s") as client:
        yield client


def cluster_threads(client: "Client") -> int:
    """The tiles that a cluster computes at a time, at least one."""
    # The same call is a coroutine of an asynchronous client, which this is none.
    counts: Any = client.nthreads()
    return max(1, sum(counts.values()))


def on_cluster(tasks: Sequence[Task], client: "Client") -> Iterator[Event]:
    """Computes tiles on the workers of a cluster, and tells of each that is written.

    A worker that dies costs the tiles it was at: they go to others. Without any worker
    it waits for one, and warns. Workers read the features themselves where they can see
    them; else the blocks are sent to them.

    Raises:
      RuntimeError: the workers that took a tile died each time.
      ValueError: a worker cannot see the store.
    """
    distributed = _distributed()
    todo, flying = deque(tasks), {}
    deaths: Counter[tuple[str, Tile]] = Counter()
    sent, crew = False, _Crew(client)
    try:
        while todo or flying:
            crew.look_after()
            while todo and len(flying) < _AHEAD * cluster_threads(client):
                task = todo.popleft()
                flying[_submit(client, task, sent)] = task
            try:
                done = distributed.wait(
                    list(flying), timeout=_PATIENCE, return_when="FIRST_COMPLETED"
                ).done
            except TimeoutError:
                continue
            for future in done:
                task = flying.pop(future)
                try:
                    answer = future.result()
                except distributed.scheduler.KilledWorker as error:
                    deaths[task.store, task.tile] += 1
                    if deaths[task.store, task.tile] >= _MOST_DEATHS:
                        raise RuntimeError(
                            f"tile {tuple(task.tile)} of {task.store} was given up: "
                            "each worker that took it died, of too little memory "
                            "perhaps; a smaller memory budget or tile may help"
                        ) from error
                    answer = _BUSY
                if answer == _WRITTEN:
                    yield Event(task, task.pairs, written=True)
                    continue
                sent |= answer == _UNSEEN
                todo.append(task)
    finally:
        client.cancel(list(flying), force=True)


class _Crew:
    """The workers of a cluster, so far as somebody must look after them."""

    def __init__(self, client: "Client") -> None:
        """Takes everybody for well."""
        self._client = client
        self._next = self._seen = time.monotonic()
        self._warned = False

    def look_after(self) -> None:
        """Replaces local workers that are gone for good; says if nobody is left."""
        now = time.monotonic()
        if now < self._next:
            return
        self._next = now + _ROLL_CALL
        cluster: Any = self._client.cluster
        if isinstance(cluster, _distributed().LocalCluster):
            cluster.loop.add_callback(_replace_lost, cluster)
        if self._client.nthreads():
            self._seen, self._warned = now, False
        elif now - self._seen > _ALONE and not self._warned:
            self._warned = True
            warnings.warn(
                f"the cluster has had no worker for {_ALONE:.0f} s; waiting for one. "
                "Whoever stops here keeps what is done: the same call goes on",
                RuntimeWarning,
                stacklevel=2,
            )


def _replace_lost(cluster: Any) -> None:
    """Starts workers for those whose nanny gave up; this runs on the cluster's loop.

    Dask starts a worker again that dies at work, but not one that dies while starting.
    """
    gone = ("closing", "closed", "failed")
    for name, nanny in list(cluster.workers.items()):
        if nanny.status.name in gone:
            del cluster.workers[name]
    cluster.scale(len(cluster.worker_spec))


_WRITTEN, _BUSY, _UNSEEN = "written", "busy", "unseen"


def _submit(client: "Client", task: Task, sent: bool) -> "Future":
    from dask import config

    # One object where x and y are one, which is then sent once.
    blocks = {block.digest: block for block in (task.x, task.y)}
    for digest, block in blocks.items():
        if sent or not block.on_disk:
            blocks[digest] = block.held()
    task = dataclasses.replace(task, x=blocks[task.x.digest], y=blocks[task.y.digest])
    # With the task itself, which outlives each worker that takes it; Dask's own way of
    # sending data leaves it to a worker, and it is lost with that one.
    with config.set({"distributed.admin.large-graph-warning-threshold": "1 TB"}):
        return client.submit(_write, task, pure=False)


def _write(task: Task) -> str:
    """Computes and writes a tile; this runs on a worker."""
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
            # No such file here, or another: whoever started the run has the right one.
            if task.x.on_disk or task.y.on_disk:
                return _UNSEEN
            raise
        if _own.computer.write(task, lambda done: None):
            return _WRITTEN
    time.sleep(_PATIENCE)
    return _BUSY


def _distributed() -> Any:
    try:
        import distributed
    except ImportError as error:
        raise ImportError(
            "a cluster needs Dask: pip install 'semrsm_jax[cluster]'"
        ) from error
    return distributed
