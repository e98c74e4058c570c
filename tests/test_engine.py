"""Runs equal the computation in memory, resume, and refuse another input."""

import hashlib
import pickle

import ml_dtypes
import numpy as np
import pytest
from stored_runs import EXACT, assert_equals_memory, contents, features

from semrsm_jax import (
    BatchOptimal,
    DualBound,
    Exact,
    Greedy,
    Identity,
    center,
    to_tokens,
)
from semrsm_jax.engine import Features, _workers, run, token_rows
from semrsm_jax.engine.progress import Tally
from semrsm_jax.store import open_run, open_runs
from semrsm_jax.store.tiles import TileGrid


@pytest.mark.slow
@pytest.mark.parametrize("matcher", [EXACT, Identity(), Greedy(), BatchOptimal(4)])
@pytest.mark.parametrize("between", [False, True])
def test_a_run_equals_pair_statistics(tmp_path, matcher, between):
    x, y = features(), features(1, (7, 5 if matcher == EXACT else 6, 4))
    y = y if between else None
    store = run(x, y, store=tmp_path / "run.zarr", matcher=matcher, tile=4)
    assert store.missing(verify=True) == []
    assert_equals_memory(store, x, y, matcher)


@pytest.mark.slow
def test_masks_bound_and_centering(tmp_path):
    x, mask = features(), np.ones((11, 6), bool)
    mask[3, 4:] = mask[5, 0] = False
    rule = Identity()
    store = run(
        Features(x, mask=mask, ids=[f"image {n}" for n in range(11)]),
        store=tmp_path / "a.zarr",
        matcher=rule,
        bound=DualBound(2),
        tile=16,
    )
    assert_equals_memory(store, x, None, rule, x_mask=mask, bound=DualBound(2))
    assert store.manifest.x.sample_ids[10] == "image 10"
    y = features(2, (5, 6, 4))
    store = run(x, y, store=tmp_path / "b.zarr", matcher=rule, center="channel", tile=4)
    mean = y.mean((0, 1))
    assert_equals_memory(store, x - mean, y - mean, rule)


@pytest.mark.slow
def test_float64_and_bfloat16(tmp_path, x64):
    x = np.random.default_rng(0).normal(size=(5, 6, 4))
    store = run(x, store=tmp_path / "a.zarr", matcher=EXACT, tile=2)
    assert store.dtype == np.float64
    assert_equals_memory(store, x)
    x = x.astype(ml_dtypes.bfloat16)
    store = run(x, store=tmp_path / "b.zarr", matcher=Identity(), tile=2)
    assert store.dtype == np.float32
    assert_equals_memory(store, x, None, Identity())


def test_samples_of_equal_content_keep_their_own_mask_and_mean(tmp_path, monkeypatch):
    x, mask = features(shape=(5, 6, 4)), np.ones((5, 6), bool)
    mask[:, 4:] = False
    # As the thread of a cluster, which outlives a run.
    computer = _workers.TileComputer()
    monkeypatch.setattr(_workers, "TileComputer", lambda: computer)
    for folder, axis in (("a", None), ("b", "channel")):
        given = Features(x, mask=mask), x
        store = run(*given, store=tmp_path / folder, matcher=Identity(), center=axis)
        mean = 0 if axis is None else x.mean((0, 1))
        assert_equals_memory(store, x - mean, x - mean, Identity(), x_mask=mask)


@pytest.mark.filterwarnings("error:.*varies by")
@pytest.mark.parametrize("axis", ["channel", "position"])
def test_a_run_is_centered_as_by_center(tmp_path, axis):
    # Of float64, whose digits the constant would cost in float32.
    x, mask = 1e8 + features(shape=(5, 6, 4)).astype(float), np.ones((5, 6), bool)
    mask[:, 5] = mask[1, 2:] = False
    given = Features(x, mask=mask)
    store = run(given, store=tmp_path / "run", matcher=Identity(), center=axis)
    x = center(x, axis, mask=mask)
    assert_equals_memory(store, x, None, Identity(), x_mask=mask)


def test_one_sample(tmp_path):
    x = features(shape=(1, 6, 4))
    store = run(x, store=tmp_path / "run.zarr", matcher=EXACT)
    assert_equals_memory(store, x)


def test_symmetric_matchers_compute_one_triangle(tmp_path):
    seen = []
    x = features()
    run(x, store=tmp_path / "a.zarr", matcher=EXACT, tile=4, progress=seen.append)
    assert seen[-1].stage == "matching"
    assert seen[-1].total == seen[-1].done == 55
    run(x, store=tmp_path / "b.zarr", matcher=Greedy(), tile=4, progress=seen.append)
    assert seen[-1].total == 121


def test_resuming_computes_exactly_what_is_missing(tmp_path, monkeypatch):
    x, folder = features(), tmp_path / "run.zarr"
    store = run(x, store=folder, matcher=EXACT, tile=4)
    whole = contents(folder)
    tiles = list(store.grid)
    store.forget(tiles[1])
    store.forget(tiles[3])
    computed = []
    write = type(store).write
    monkeypatch.setattr(
        type(store), "write", lambda s, t, m: (computed.append(t), write(s, t, m))
    )
    seen = []
    run(x, store=folder, matcher=EXACT, progress=seen.append)
    assert sorted(computed) == [tiles[1], tiles[3]]
    assert contents(folder) == whole
    first = next(p for p in seen if p.stage == "matching")
    missing = sum(store.grid.pairs(t).count for t in computed)
    assert first.done == first.resumed == first.total - missing
    assert first.resumed_share == first.resumed / first.total
    run(x, store=folder, matcher=EXACT)
    assert len(computed) == 2


@pytest.mark.parametrize(
    ("change", "named"),
    [
        ({"matcher": Identity()}, "matcher name Exact, not Identity"),
        ({"matcher": Exact(1e-3, "scipy")}, "matcher tolerance 1e-06, not 0.001"),
        ({"x": features(1)}, "x sha256"),
        ({"x": features().astype(np.float16)}, "x dtype float32, not float16"),
        ({"x": features()[:10]}, "x shape"),
        ({"y": features()}, "y None, not features of SHA-256"),
        ({"tile": 5}, "tile 4, not 5"),
        ({"bound": DualBound(2)}, "bound"),
        ({"center": "channel"}, "preprocessing center None, not channel"),
        (
            {"x": Features(features(), preprocessing={"resize": 16})},
            "x preprocessing resize None, not 16",
        ),
        ({"x": Features(features(), ids=[*"abcdefghijk"])}, "x sample_ids"),
        ({"x": Features(features(), mask=np.ones((11, 6), bool))}, "x mask"),
    ],
)
def test_another_run_is_refused_by_what_differs(tmp_path, change, named):
    given = {"x": features(), "matcher": EXACT, "tile": 4}
    folder = tmp_path / "run.zarr"
    run(**given, store=folder)
    before = contents(folder)
    with pytest.raises(ValueError, match=f"another run, of .*{named}"):
        run(**{**given, **change}, store=folder)
    assert contents(folder) == before


@pytest.mark.slow
def test_several_layers_in_one_run(tmp_path):
    layers = {"conv1": features(), "block.1/relu": features(1, (11, 3, 2))}
    folder = tmp_path / "run.zarr"
    stores = run(layers, store=folder, matcher=EXACT, tile=4)
    for name, x in layers.items():
        assert_equals_memory(stores[name], x)
        assert open_run(folder, name).manifest == stores[name].manifest
    assert set(open_runs(folder)) == set(layers)
    with pytest.raises(ValueError, match="layer must be one of 'conv1', 'block.1/relu"):
        open_run(folder, "conv2")
    run({**layers, ".hidden": features(2)}, store=folder, matcher=EXACT, tile=4)
    assert len(open_runs(folder)) == 3
    with pytest.raises(ValueError, match="something else than"):
        run(layers, store=stores["conv1"].path)
    with pytest.raises(ValueError, match="not a run"):
        run(features(), store=folder, matcher=EXACT)


@pytest.mark.slow
@pytest.mark.parametrize("layout", ["NHWC", "NCHW", "NSC", "NCS"])
def test_files_are_read_block_by_block_in_any_layout(tmp_path, layout):
    z = features(shape=(9, 3, 2, 4) if len(layout) == 4 else (9, 6, 4))
    np.save(tmp_path / "z.npy", z)
    mapped = np.load(tmp_path / "z.npy", mmap_mode="r")
    rows = pickle.loads(pickle.dumps(token_rows(mapped, layout)))
    assert rows.shape == to_tokens(z, layout).shape
    np.testing.assert_array_equal(rows[2:7], to_tokens(z, layout)[2:7])
    store = run(rows, store=tmp_path / "run.zarr", matcher=EXACT, tile=4)
    assert_equals_memory(store, to_tokens(z, layout))
    digest = hashlib.sha256(
        b"".join(
            hashlib.sha256(np.ascontiguousarray(sample)).digest()
            for sample in np.asarray(to_tokens(z, layout))
        )
    )
    assert store.manifest.x.sha256 == digest.hexdigest()


def test_bad_arguments(tmp_path):
    def refused(*inputs, **options):
        with pytest.raises((TypeError, ValueError)) as caught:
            run(*inputs, **{"store": tmp_path / "run.zarr", **options})
        assert not (tmp_path / "run.zarr").exists()
        return str(caught.value)

    x = features()
    assert "x must have 3 axes (N, S, C), got shape (6, 4)" in refused(x[0])
    assert "same channels, got 4 and 3" in refused(x, x[..., :3])
    assert "got 1 NaN" in refused(np.where(np.arange(4) == 0, np.nan, x)[:1, :1])
    assert "matcher must be a Matcher" in refused(x, matcher=Exact)
    assert "center must be one of" in refused(x, center="token")
    assert "tile must be at least 1, got 0" in refused(x, tile=0)
    assert "x: ids must name 11 samples, got 2 names" in refused(
        Features(x, ids=["a", "b"])
    )
    assert "x: ids must be unique, got 'a' again" in refused(
        Features(x, ids=["a"] * 11)
    )
    assert "y must hold the same layers as x" in refused({"a": x}, {"b": x})
    assert "at least one layer" in refused({})
    assert "got the path" in refused("x.npy")
    assert "real array" in refused(x.astype(complex))
    assert "at least one entry along N" in refused(x[:0])
    masked = np.ma.masked_equal(x, x[1, 2, 3])
    assert "y must not be masked, got 1 masked values" in refused(x, masked)
    with pytest.raises(ValueError, match="features must not be masked"):
        token_rows(masked, "NCS")


def test_what_was_written_to_a_copy_on_write_map_is_matched(tmp_path):
    np.save(tmp_path / "x.npy", features())
    mapped = np.load(tmp_path / "x.npy", mmap_mode="c")
    mapped += 1
    np.testing.assert_array_equal(token_rows(mapped, "NSC")[:], features() + 1)


@pytest.mark.parametrize("triangle", [False, True])
@pytest.mark.parametrize("side", [1, 3, 4, 20])
def test_tiles_cover_every_pair_once(triangle, side):
    grid = TileGrid(11, 11 if triangle else 7, side, triangle, not triangle)
    count = np.zeros((grid.rows, grid.columns), int)
    for tile in grid:
        pairs = grid.pairs(tile)
        rows, columns = pairs.locate(np.arange(pairs.count))
        x, y = grid.x_rows(tile).start + rows, grid.y_rows(tile).start + columns
        np.add.at(count, (x, y), 1)
    expected = np.ones((grid.rows, grid.columns), int)
    np.testing.assert_array_equal(count, np.triu(expected, 1) if triangle else expected)
    assert grid.pair_count == count.sum()
    for most in range(1, 30):
        size = grid.chunk_size(most)
        assert 1 <= size <= most


# Progress


def test_progress_tells_rate_and_remaining_time(monkeypatch):
    clock = [100.0]
    monkeypatch.setattr("semrsm_jax.engine.progress.time.monotonic", lambda: clock[0])
    tally = Tally("matching", total=100, resumed=40)
    task = object()
    tally.now(0)
    clock[0] += 10
    seen = tally.add(task, 20, written=False)
    assert (seen.done, seen.rate, seen.eta) == (60, 2.0, 20.0)
    clock[0] += 5
    seen = tally.add(task, 30, written=True)
    assert (seen.done, seen.rate, seen.eta) == (70, 2.0, 15.0)
    clock[0] += 60
    seen = tally.add(object(), 30, written=True)
    assert (seen.done, seen.eta, seen.resumed_share) == (100, 0.0, 0.4)
