"""Runs that are killed, and several processes on one store."""

import multiprocessing
import os
import random
import signal
import threading
import time
from contextlib import suppress
from pathlib import Path

import distributed
import numpy as np
import pytest
from stored_runs import contents, features, small_run

from semrsm_jax.engine import _cluster, local_cluster
from semrsm_jax.store import RunStore
from semrsm_jax.store.tiles import Tile

# kill -9

MANY = (30, 40, 16)


def _child(path: str, folder: str) -> None:
    small_run(Path(folder), np.load(path, mmap_mode="r"), tile=2)


@pytest.fixture(scope="module")
def server():
    """Processes that start at once: what they import is imported already."""
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload(["semrsm_jax.engine", "zarr", __name__])
    return context


def count(folder: Path) -> int:
    return sum(1 for _ in folder.glob("c.*")) if folder.exists() else 0


@pytest.mark.slow
def test_25_killed_runs_end_with_the_same_bytes(server, tmp_path, record_property):
    path = tmp_path / "x.npy"
    np.save(path, features(shape=(80, 40, 16)))
    undisturbed, folder = tmp_path / "calm.zarr", tmp_path / "killed.zarr"
    mapped = np.load(path, mmap_mode="r")
    small_run(undisturbed, mapped, tile=2)
    dice, left, records = random.Random(1), 0, folder / "crc32c"
    for _ in range(25):
        child = server.Process(target=_child, args=(str(path), str(folder)))
        child.start()
        before, end = count(records), time.monotonic() + 60
        # Any moment from the first look at the files on; most are between two tiles'
        # first bytes and last.
        aim = before + dice.randrange(0, 6)
        while count(records) < aim and child.is_alive() and time.monotonic() < end:
            time.sleep(0.0005)
        time.sleep(dice.random() * 0.03)
        os.kill(child.pid, signal.SIGKILL)
        child.join()
        assert child.exitcode == -signal.SIGKILL, "the run ended before it was killed"
        left += count(records) - before
    assert left > 0, "no kill left a finished tile"
    seen = []
    store = small_run(folder, mapped, tile=2, progress=seen.append)
    assert store.missing(verify=True) == []
    assert seen[-1].done == seen[-1].total
    assert contents(folder) == contents(undisturbed)
    record_property("count", "25 runs killed, the bytes of none changed")


@pytest.mark.long
def test_20_killed_workers_cost_no_more_than_their_tiles(tmp_path, record_property):
    """Also of those that have only just been started, which Dask then gives up."""
    kills, dice, x, killed = 20, random.Random(1), features(shape=MANY), []
    folder = tmp_path / "killed.zarr"
    small_run(tmp_path / "calm.zarr", x, tile=2)
    over = threading.Event()

    def killer(client):
        while len(killed) < kills and not over.is_set():
            # Any moment: most are between two tiles' first bytes and last.
            aim = count(folder / "crc32c") + dice.randrange(0, 4)
            end = time.monotonic() + 2
            while count(folder / "crc32c") < aim and time.monotonic() < end:
                over.wait(0.001)
            over.wait(dice.random() * 0.1)
            nannies = list(client.cluster.workers.values())
            alive = [nanny.pid for nanny in nannies if nanny.pid]
            if alive:
                pid = dice.choice(alive)
                with suppress(ProcessLookupError):
                    os.kill(pid, signal.SIGKILL)
                    killed.append(pid)

    def slowly(progress):
        # The run is not to end before the kills do.
        while len(killed) < kills and progress.done > 0.9 * progress.total:
            time.sleep(0.05)

    with local_cluster(2) as client:
        thread = threading.Thread(target=killer, args=(client,))
        thread.start()
        try:
            store = small_run(folder, x, tile=2, cluster=client, progress=slowly)
        finally:
            over.set()
            thread.join()
    assert len(killed) == kills
    assert store.missing(verify=True) == []
    assert contents(folder) == contents(tmp_path / "calm.zarr")
    record_property("count", "20 workers killed, the bytes of the run unchanged")


@pytest.mark.slow
def test_a_cluster_without_workers_is_waited_for_with_a_warning(tmp_path, monkeypatch):
    monkeypatch.setattr(_cluster, "_WORKERLESS", 0.5)
    folder = tmp_path / "run.zarr"
    settings = {"n_workers": 0, "processes": False, "dashboard_address": ":0"}
    with (
        distributed.LocalCluster(threads_per_worker=1, **settings) as cluster,
        distributed.Client(cluster) as client,
    ):
        with pytest.warns(RuntimeWarning, match="no worker") as warned:

            def hire():
                # However long the run takes to begin, the warning comes first.
                stop = time.monotonic() + 60
                while not warned and time.monotonic() < stop:
                    time.sleep(0.05)
                cluster.scale(1)

            hiring = threading.Thread(target=hire)
            hiring.start()
            store = small_run(folder, cluster=client)
            hiring.join()
    assert store.missing(verify=True) == []


@pytest.mark.slow
def test_two_processes_share_the_work(server, tmp_path):
    path, folder = tmp_path / "x.npy", tmp_path / "shared.zarr"
    np.save(path, features(shape=MANY))
    mapped = np.load(path, mmap_mode="r")
    small_run(tmp_path / "calm.zarr", mapped, tile=2)
    children = [
        server.Process(target=_child, args=(str(path), str(folder))) for _ in range(2)
    ]
    for child in children:
        child.start()
    for child in children:
        child.join(120)
        assert child.exitcode == 0
    assert contents(folder) == contents(tmp_path / "calm.zarr")


def test_a_claimed_tile_is_left_to_who_claimed_it(tmp_path):
    store = small_run(tmp_path / "run.zarr")
    tile = Tile(0, 1)
    with store.claim(tile) as mine:
        assert not mine  # it is finished
    store.forget(tile)
    other = RunStore.open(store.path)
    with store.claim(tile) as mine:
        assert mine
        with other.claim(tile) as also_mine:
            assert not also_mine
    with other.claim(tile) as mine:
        assert mine
    assert not list((store.path / "crc32c").glob(".lock.*"))
