"""Plans, and runs short of memory, on several devices and on clusters."""

import os
import subprocess
import sys
from types import SimpleNamespace

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from stored_runs import EXACT, assert_equals_memory, contents, features

from semrsm_jax import Identity, _resources, pair_statistics
from semrsm_jax._rows import Rows
from semrsm_jax.engine import _cluster, _plan, _tile, local_cluster, plan, run
from semrsm_jax.store.manifest import MATRICES

# Memory


@pytest.mark.parametrize(
    "error",
    [jax.errors.JaxRuntimeError("RESOURCE_EXHAUSTED: Out of memory"), MemoryError()],
)
def test_out_of_memory_halves_the_pairs_in_flight(tmp_path, limited, error):
    x = features()
    expected = pair_statistics(x, matcher=EXACT)
    sizes = limited(3, error)
    store = run(x, store=tmp_path / "run.zarr", matcher=EXACT, tile=4)
    # Halved until it is enough, and the later tiles begin with that.
    first = store.made["pairs_in_flight"]
    assert first > 3
    assert set(sizes) == {next(first >> n for n in range(9) if first >> n <= 3)}
    np.testing.assert_allclose(store.statistics(0, 11).inner, expected.inner, rtol=1e-5)


def test_blocks_too_large_for_a_device_stay_on_the_host(tmp_path, monkeypatch):
    x, asarray = features(), jnp.asarray

    def limited(value, *arguments):
        if isinstance(value, np.ndarray) and value.shape == (4, 6, 4):
            raise jax.errors.JaxRuntimeError("RESOURCE_EXHAUSTED: Out of memory")
        return asarray(value, *arguments)

    monkeypatch.setattr(_tile.jnp, "asarray", limited)
    store = run(x, store=tmp_path / "run.zarr", matcher=Identity(), tile=4)
    monkeypatch.undo()
    assert_equals_memory(store, x, None, Identity())


def test_the_budget_decides_tiles_and_pairs_in_flight(tmp_path):
    x = features(shape=(120, 6, 4))
    small = run(x, store=tmp_path / "a.zarr", matcher=Identity(), memory_budget=10_000)
    large = run(x, store=tmp_path / "b.zarr", matcher=Identity(), memory_budget=10**8)
    # Two blocks of 16 samples of 96 bytes take 3 kB, of 32 more than half the budget.
    assert small.grid.side == 16 < large.grid.side
    assert small.made["pairs_in_flight"] < large.made["pairs_in_flight"]
    assert_equals_memory(small, x, None, Identity())


def test_copies_of_files_in_the_memory_of_a_job_are_free(tmp_path, monkeypatch):
    monkeypatch.setattr(_resources, "Path", lambda path: tmp_path / path[1:])
    job = tmp_path / "sys/fs/cgroup/job"
    files = {
        job / "memory.max": "1000",
        job / "memory.current": "900",
        job / "memory.stat": "anon 550\ninactive_file 200\nactive_file 100\n",
        job / "step/memory.max": "max",
        tmp_path / "proc/self/cgroup": "12:pids:/other\n0::/job/step\n",
    }
    for path, text in files.items():
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
    assert _resources.free_memory() == 400


# Plans


@pytest.mark.parametrize("samples", [5, 100])
def test_a_plan_counts_the_pairs_that_it_measured(monkeypatch, samples):
    clock = [0.0]

    def match(inputs, rule, pairs, size, progress):
        for start in range(0, pairs.count, size):
            stop = min(start + size, pairs.count)
            clock[0] += stop - start  # a second a pair
            progress(stop)

    monkeypatch.setattr(_plan, "match_block", match)
    monkeypatch.setattr(_plan, "time", SimpleNamespace(perf_counter=lambda: clock[0]))
    x = features(shape=(samples, 6, 4))
    planned = plan(x, x, matcher=EXACT)
    assert planned.pairs_measured >= samples**2 / 20 and planned.rate == 1


@pytest.mark.slow
def test_plan_is_what_the_run_then_takes(tmp_path):
    x = features(shape=(60, 6, 4))
    planned = plan(x, matcher=EXACT)
    store = run(x, store=tmp_path / "run.zarr", matcher=EXACT)
    assert planned.pairs == store.grid.pair_count == 60 * 59 // 2
    assert (planned.tile, planned.tiles) == (store.grid.side, len(list(store.grid)))
    assert planned.pairs_in_flight == store.made["pairs_in_flight"]
    arrays = sum(
        p.stat().st_size for name in MATRICES for p in (store.path / name).glob("c.*")
    )
    assert arrays < planned.disk < 1.1 * arrays
    assert planned.rate > 0
    assert planned.seconds == pytest.approx(planned.pairs / planned.rate)
    assert plan(x, features(1, (9, 5, 4)), matcher=EXACT, workers=2).pairs == 540


# Devices and clusters

DEVICES = """
import sys
import jax, numpy as np
from semrsm_jax import Exact
from semrsm_jax._resources import default_device
from semrsm_jax.engine import run

x, folder = np.load(sys.argv[1], mmap_mode="r"), sys.argv[2]
assert len(jax.local_devices()) == 8
with jax.default_device(jax.local_devices()[3]):
    assert default_device() == jax.local_devices()[3]
for count in (1, 8):
    run(x, store=f"{folder}/{count}.zarr", matcher=Exact(solver="scipy"), tile=4,
        devices=jax.local_devices()[:count])
"""


@pytest.mark.slow
def test_eight_devices_give_what_one_gives(tmp_path):
    np.save(tmp_path / "x.npy", features(shape=(30, 6, 4)))
    subprocess.run(
        [sys.executable, "-c", DEVICES, tmp_path / "x.npy", tmp_path],
        check=True,
        env={**os.environ, "XLA_FLAGS": "--xla_force_host_platform_device_count=8"},
    )
    one, eight = (contents(tmp_path / f"{count}.zarr") for count in (1, 8))
    assert len(one) > 36 * 4
    assert one == eight


@pytest.fixture(scope="module")
def cluster():
    with local_cluster(2) as client:
        yield client


@pytest.mark.slow
@pytest.mark.parametrize("on_disk", [False, True])
def test_a_cluster_gives_what_this_process_gives(tmp_path, cluster, on_disk):
    x, y = features(shape=(22, 6, 4)), features(1, (13, 6, 4))
    if on_disk:
        for name, array in {"x": x, "y": y}.items():
            np.save(tmp_path / f"{name}.npy", array)
        x, y = (np.load(tmp_path / f"{name}.npy", mmap_mode="r") for name in "xy")
    settings, seen = {"matcher": EXACT, "tile": 4}, []
    here = run(x, y, store=tmp_path / "a.zarr", **settings)
    settings |= {"cluster": cluster, "progress": seen.append}
    there = run(x, y, store=tmp_path / "b.zarr", **settings)
    assert there.missing(verify=True) == []
    assert seen[-1].done == seen[-1].total == 22 * 13
    for a, b in zip(here.statistics(0, 22), there.statistics(0, 22), strict=True):
        np.testing.assert_array_equal(a, b)


@pytest.mark.slow
def test_features_that_workers_cannot_see_are_sent(tmp_path, cluster):
    x, here = features(), os.getpid()

    def read(start, stop):
        if os.getpid() != here:
            raise FileNotFoundError("x.npy")
        return x[start:stop]

    rows = Rows(x.shape, x.dtype, read)
    store = run(rows, store=tmp_path / "run.zarr", matcher=EXACT, cluster=cluster)
    assert_equals_memory(store, x)


def test_a_store_that_workers_cannot_see_is_an_error(tmp_path):
    missing = SimpleNamespace(store=str(tmp_path / "no"))
    with pytest.raises(ValueError, match="cannot see .*folder that all workers share"):
        _cluster._write(missing)
