"""What happens to runs does happen here: kills, full disks, damage, other inputs."""

import multiprocessing
import os
import random
import resource
import shutil
import signal
import tempfile
import threading
import time
from contextlib import contextmanager, suppress
from pathlib import Path

import numpy as np
import pytest
from stored_runs import contents, features

from semrsm_jax import Identity
from semrsm_jax.engine import InputChangedError, _cluster, local_cluster, run
from semrsm_jax.store import RunStore, open_run, open_similarity
from semrsm_jax.store.tiles import Tile


def calm(folder: Path, x=None, **options) -> RunStore:
    x = features() if x is None else x
    return run(x, store=folder, **{"matcher": Identity(), "tile": 4, **options})


# kill -9

MANY = (30, 40, 16)


def _child(path: str, folder: str) -> None:
    calm(Path(folder), np.load(path, mmap_mode="r"), tile=2)


@pytest.fixture(scope="module")
def server():
    """Processes that start at once: what they import is imported already."""
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload(["semrsm_jax.engine", "zarr", __name__])
    return context


def kill_and_resume(server, path: Path, folder: Path, kills: int, seed: int) -> int:
    """Kills runs of a store at random moments; returns how many tiles they left."""
    dice, left = random.Random(seed), 0
    records = folder / "crc32c"
    for _ in range(kills):
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
    return left


def count(folder: Path) -> int:
    return sum(1 for _ in folder.glob("c.*")) if folder.exists() else 0


def killed_then_equal(server, tmp_path, samples, kills, seed):
    path = tmp_path / "x.npy"
    np.save(path, features(shape=(samples, 40, 16)))
    undisturbed, folder = tmp_path / "calm.zarr", tmp_path / "killed.zarr"
    mapped = np.load(path, mmap_mode="r")
    calm(undisturbed, mapped, tile=2)
    left = kill_and_resume(server, path, folder, kills, seed)
    seen = []
    store = calm(folder, mapped, tile=2, progress=seen.append)
    assert store.missing(verify=True) == []
    assert seen[-1].done == seen[-1].total
    assert left > 0, "no kill found anything done"
    assert contents(folder) == contents(undisturbed)


def test_killed_runs_go_on_and_end_with_the_same_bytes(server, tmp_path):
    killed_then_equal(server, tmp_path, samples=30, kills=3, seed=0)


@pytest.mark.slow
def test_twenty_five_kills(server, tmp_path):
    killed_then_equal(server, tmp_path, samples=80, kills=25, seed=1)


def workers_killed(tmp_path, kills, seed, starting):
    """Kills workers of a local cluster while the run goes on.

    starting: also those that have only just been started, which Dask then gives up.
    """
    dice, x, killed = random.Random(seed), features(shape=MANY), []
    folder = tmp_path / "killed.zarr"
    calm(tmp_path / "calm.zarr", x, tile=2)
    over = threading.Event()

    def killer(client):
        while len(killed) < kills and not over.is_set():
            # Any moment: most are between two tiles' first bytes and last.
            aim = count(folder / "crc32c") + dice.randrange(0, 4)
            end = time.monotonic() + 2
            while count(folder / "crc32c") < aim and time.monotonic() < end:
                over.wait(0.001)
            over.wait(dice.random() * 0.1)
            ready = client.nthreads()
            alive = [
                nanny.pid
                for nanny in list(client.cluster.workers.values())
                if nanny.pid and (starting or nanny.worker_address in ready)
            ]
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
            store = calm(folder, x, tile=2, cluster=client, progress=slowly)
        finally:
            over.set()
            thread.join()
    assert len(killed) == kills
    assert store.missing(verify=True) == []
    assert contents(folder) == contents(tmp_path / "calm.zarr")


@pytest.mark.slow
def test_killed_workers_cost_no_more_than_their_tiles(tmp_path):
    workers_killed(tmp_path, kills=2, seed=0, starting=False)


@pytest.mark.slow
def test_twenty_killed_workers(tmp_path):
    workers_killed(tmp_path, kills=20, seed=1, starting=True)


@pytest.mark.slow
def test_a_cluster_without_workers_is_waited_for_with_a_warning(tmp_path, monkeypatch):
    distributed = pytest.importorskip("distributed")
    monkeypatch.setattr(_cluster, "_WORKERLESS", 0.5)
    folder = tmp_path / "run.zarr"
    settings = {"n_workers": 0, "processes": False, "dashboard_address": ":0"}
    with (
        distributed.LocalCluster(threads_per_worker=1, **settings) as cluster,
        distributed.Client(cluster) as client,
    ):
        hire = threading.Timer(2.5, cluster.scale, (1,))
        hire.start()
        with pytest.warns(RuntimeWarning, match="no worker"):
            store = calm(folder, cluster=client)
        hire.join()
    assert store.missing(verify=True) == []


def test_two_processes_share_the_work(server, tmp_path):
    path, folder = tmp_path / "x.npy", tmp_path / "shared.zarr"
    np.save(path, features(shape=MANY))
    mapped = np.load(path, mmap_mode="r")
    calm(tmp_path / "calm.zarr", mapped, tile=2)
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
    store = calm(tmp_path / "run.zarr")
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


# Damage


def truncated(path: Path) -> None:
    path.write_bytes(path.read_bytes()[:-1])


def zeroed(path: Path) -> None:
    path.write_bytes(bytes(path.stat().st_size))


def flipped(path: Path) -> None:
    found = bytearray(path.read_bytes())
    found[len(found) // 3] ^= 1
    path.write_bytes(found)


def removed(path: Path) -> None:
    path.unlink()


@pytest.mark.parametrize("harm", [truncated, zeroed, flipped, removed])
@pytest.mark.parametrize(
    "chunk",
    ["inner/c.0.1", "sq_dist/c.1.0", "upper_bound/c.2.2", "crc32c/c.1.2.0"],
)
def test_damaged_tiles_are_named_and_computed_again(tmp_path, harm, chunk):
    folder = tmp_path / "run.zarr"
    store = calm(folder)
    before = contents(folder)
    harm(folder / chunk)
    tile = Tile(*map(int, chunk.split("/c.")[1].split(".")[:2]))
    assert len(store.missing(verify=True)) == 1
    with pytest.raises(ValueError, match=rf"tile {tile.row}.{tile.column} is "):
        store.read(tile)
    with pytest.raises(ValueError, match=rf"tile {tile.row}.{tile.column} is |not fin"):
        open_similarity(folder)[:]
    seen = []
    calm(folder, progress=seen.append)
    # The other tiles were there.
    assert seen[-1].resumed > 0.4 * seen[-1].total
    assert contents(folder) == before


@pytest.mark.parametrize("harm", [truncated, zeroed, flipped, removed])
@pytest.mark.parametrize("name", ["x_sq_norm", "y_sq_norm"])
def test_damaged_norms_are_named_and_mended(tmp_path, harm, name):
    folder = tmp_path / "run.zarr"
    store = calm(folder)
    before = contents(folder)
    harm(folder / name / "c.0")
    with pytest.raises(ValueError, match=f"{name} is damaged"):
        store.statistics(0, 3)
    calm(folder)
    assert contents(folder) == before


@pytest.mark.parametrize("harm", [truncated, zeroed, removed])
@pytest.mark.parametrize("name", ["zarr.json", "inner/zarr.json"])
def test_damaged_metadata_is_an_error(tmp_path, harm, name):
    folder = tmp_path / "run.zarr"
    calm(folder)
    harm(folder / name)
    with pytest.raises(ValueError, match="run.zarr"):
        open_run(folder)
    with pytest.raises(ValueError, match="run.zarr"):
        calm(folder)


# Folders and disks


def test_a_full_disk_keeps_what_is_done(tmp_path):
    folder, x = tmp_path / "run.zarr", features(shape=(40, 6, 4))
    store = calm(folder, x, tile=32)
    whole = contents(folder)
    store.forget(Tile(0, 1))
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    # A chunk of 32 x 32 takes 4096 bytes.
    resource.setrlimit(resource.RLIMIT_FSIZE, (4000, limits[1]))
    try:
        with pytest.raises(OSError, match="File too large"):
            calm(folder, x, tile=32)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)
    assert store.missing(verify=True) == [Tile(0, 1)]
    assert not list(folder.rglob(".semrsm-*"))
    calm(folder, x, tile=32)
    assert contents(folder) == whole


@contextmanager
def no_right_to_write(folder: Path):
    """Makes a folder read-only, for root too, who becomes nobody."""
    folder.chmod(0o555)
    root = os.geteuid() == 0
    if root:
        os.seteuid(65534)
    try:
        yield
    finally:
        if root:
            os.seteuid(0)
        folder.chmod(0o755)


def test_a_read_only_folder_is_an_error_before_any_work():
    # Not in pytest's own folder, which nobody else may even look into.
    parent = Path(tempfile.mkdtemp())
    parent.chmod(0o755)
    seen = []
    try:
        with (
            no_right_to_write(parent),
            pytest.raises(ValueError, match="cannot be written: Permission denied"),
        ):
            calm(parent / "run.zarr", progress=seen.append)
        assert not seen
        assert list(parent.iterdir()) == []
    finally:
        shutil.rmtree(parent)


def test_a_file_where_a_folder_should_be(tmp_path):
    (tmp_path / "file").write_text("text")
    with pytest.raises(ValueError, match="is a file, expected a folder"):
        calm(tmp_path / "file")
    with pytest.raises(ValueError, match="file is a file"):
        calm(tmp_path / "file" / "run.zarr")
    assert (tmp_path / "file").read_text() == "text"


def test_a_folder_of_something_else_is_left_alone(tmp_path):
    (tmp_path / "letters").mkdir()
    (tmp_path / "letters" / "to mother.txt").write_text("Dear mother")
    with pytest.raises(ValueError, match="is no zarr array or group"):
        calm(tmp_path / "letters")
    assert [p.name for p in (tmp_path / "letters").iterdir()] == ["to mother.txt"]
    (tmp_path / "empty").mkdir()
    assert calm(tmp_path / "empty").missing() == []


def test_paths_with_spaces_and_other_letters(tmp_path):
    folder = tmp_path / "neu hier" / "größe 日本.zarr"
    np.save(tmp_path / "ein [red] Häuschen.npy", features())
    x = np.load(tmp_path / "ein [red] Häuschen.npy", mmap_mode="r")
    calm(folder, x)
    assert open_similarity(folder).shape == (11, 11)


# Inputs


def test_an_input_that_changes_during_a_run_is_found(tmp_path):
    path, folder = tmp_path / "x.npy", tmp_path / "run.zarr"
    x = features(shape=(40, 6, 4))
    np.save(path, x)
    calm(tmp_path / "calm.zarr", x)
    status = path.stat()

    def change(progress):
        if progress.stage == "matching" and progress.done:
            # The same size and the same time, other values.
            with path.open("r+b") as stream:
                stream.seek(-4, os.SEEK_END)
                stream.write(np.float32(7).tobytes())
            os.utime(path, ns=(status.st_atime_ns, status.st_mtime_ns))

    mapped = np.load(path, mmap_mode="r")
    with pytest.raises(InputChangedError, match="x changed during .*: sample 39"):
        calm(folder, mapped, progress=change)
    np.save(path, x)
    store = calm(folder, np.load(path, mmap_mode="r"))
    assert store.missing(verify=True) == []
    for name in ("inner", "sq_dist"):
        expected = contents(tmp_path / "calm.zarr" / name)
        assert contents(folder / name) == expected


def test_an_input_that_is_truncated_during_a_run_is_found(tmp_path):
    path = tmp_path / "x.npy"
    np.save(path, features(shape=(40, 6, 4)))

    def change(progress):
        if progress.stage == "matching" and progress.done:
            os.truncate(path, 500)

    with pytest.raises(ValueError, match="was truncated while it was read"):
        calm(tmp_path / "run.zarr", np.load(path, mmap_mode="r"), progress=change)
