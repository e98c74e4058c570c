"""The neighbors of a pruned search are those of the full computation."""

import sys

import jax.numpy as jnp
import ml_dtypes
import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from marks import long, slow

import semrsm_jax as sj
from semrsm_jax._rows import part
from semrsm_jax.engine import Features
from semrsm_jax.pairs.executor import PairInputs
from semrsm_jax.retrieval import nearest, same_group, same_sample, search
from semrsm_jax.retrieval._bounds import (
    Dual,
    Gelbrich,
    SearchBlock,
    mean_bound,
    summarize,
)

# Of 8 pairs, so that there is something to prune.
BUDGET = 8 * (3 * 12 * 4 + 12 * 12) * 4
KERNELS = (sj.Linear(), sj.Cosine(), sj.RBF(4.0))
SLOW = [HealthCheck.too_slow]


def clustered(rng, count, tokens=12, channels=4, dtype=np.float32):
    """Samples of different scale and mean: some pairs are far more alike."""
    mean = rng.normal(size=(count, 1, channels))
    scale = rng.gamma(2, 1, size=(count, 1, 1))
    x = scale * (mean + 0.3 * rng.normal(size=(count, tokens, channels)))
    return x.astype(dtype)


@pytest.fixture(scope="module")
def data():
    rng = np.random.default_rng(0)
    database = clustered(rng, 40)
    # Equal samples, also in another order of tokens, and a zero one.
    database[[7, 19, 33]] = database[2]
    database[11] = database[2][::-1]
    database[5] = 0
    return clustered(rng, 6), database


def expected(queries, database, k, kernel, exclude=None, **masks):
    stats = sj.pair_statistics(queries, database, **masks)
    return nearest(np.asarray(kernel(stats)), k, exclude)


def check(result, wanted):
    np.testing.assert_array_equal(result.index, wanted.index)
    np.testing.assert_allclose(result.similarity, wanted.similarity, 1e-5, 1e-5)


@pytest.mark.slow
@pytest.mark.parametrize("kernel", KERNELS, ids=repr)
@pytest.mark.parametrize("prune", [None, True, False])
def test_neighbors_are_those_of_all_pairs(data, kernel, prune):
    result = search(*data, 5, kernel=kernel, prune=prune, memory_budget=BUDGET)
    check(result, expected(*data, 5, kernel))
    assert result.index.dtype == np.int32
    assert result.pairs == 240
    if prune is False:
        assert result.solved_share == 1 and result.bounds == ()
    if prune is True:
        assert result.solved_share < 0.8
        names = [bound.name for bound in result.bounds]
        assert names == ["second moments", "sub-sampled dual"]
        assert all(bound.pairs >= bound.pruned for bound in result.bounds)
        # Of inner products, the first bound leaves nothing to these here.
        assert kernel == sj.Linear() or sum(b.pruned for b in result.bounds) > 0


def test_equal_similarities_come_in_the_order_of_the_database(data):
    _, database = data
    result = search(database[2:3], database, 6, prune=True, memory_budget=BUDGET)
    row = result.index[0].tolist()
    copies = [n for n in row if n in (2, 7, 19, 33)]
    assert copies == sorted(copies) and len(copies) == 4


@pytest.mark.parametrize("prune", [True, slow(False)])
def test_exclusion_and_more_neighbors_than_there_are(data, prune):
    queries, database = data
    groups = np.arange(40) // 4
    rule = same_group(np.arange(6), groups)
    settings = {"prune": prune, "memory_budget": BUDGET}
    result = search(queries, database, 50, exclude=rule, **settings)
    check(result, expected(queries, database, 50, sj.Linear(), rule))
    assert result.pairs == 6 * 36
    assert (result.index[:, 36:] == -1).all() and (result.index[:, :36] >= 0).all()
    own = search(database, database, 3, exclude=same_sample(40), **settings)
    check(own, expected(database, database, 3, sj.Linear(), same_sample(40)))
    assert not (own.index == np.arange(40)[:, None]).any()
    own = search(queries, queries, 3, kernel=sj.RBF(), exclude=same_sample(6))
    assert own.pairs == own.solved == 6 * 5
    nothing = search(queries, database, 2, exclude=np.ones((6, 40), bool))
    assert (nothing.index == -1).all() and np.isnan(nothing.similarity).all()
    assert nothing.pairs == nothing.solved == nothing.solved_share == 0


@pytest.mark.parametrize("kernel", KERNELS, ids=repr)
def test_masks_and_other_numbers_of_tokens(data, kernel):
    queries, database = data
    rng = np.random.default_rng(1)
    queries = queries[:, :9]
    masks = rng.random((6, 9)) < 0.7, rng.random((40, 12)) < 0.7
    masks[0][:, 0] = masks[1][:, 0] = True
    for x_mask, y_mask in (masks, (None, None)):
        result = search(
            Features(queries, mask=x_mask),
            Features(database, mask=y_mask),
            4,
            kernel=kernel,
            prune=True,
            memory_budget=BUDGET,
        )
        masked = {"x_mask": x_mask, "y_mask": y_mask}
        check(result, expected(queries, database, 4, kernel, **masked))


@settings(max_examples=10, suppress_health_check=SLOW)
@given(
    seed=st.integers(0, 2**32 - 1),
    k=st.integers(1, 25),
    kernel=st.sampled_from(KERNELS),
    repeated=st.integers(0, 12),
    scale=st.sampled_from([1e-3, 1.0, 1e3]),
)
def test_pruning_never_changes_the_neighbors(seed, k, kernel, repeated, scale):
    rng = np.random.default_rng(seed)
    queries, database = clustered(rng, 4) * scale, clustered(rng, 20) * scale
    database[rng.integers(20, size=repeated)] = database[0]
    exclude = rng.random((4, 20)) < 0.2
    shared = {"kernel": kernel, "exclude": exclude, "memory_budget": BUDGET}
    result = search(queries, database, k, prune=True, **shared)
    everything = search(queries, database, k, prune=False, **shared)
    np.testing.assert_array_equal(result.index, everything.index)
    np.testing.assert_array_equal(result.similarity, everything.similarity)
    check(result, expected(queries, database, k, kernel, exclude))


@pytest.mark.slow
@pytest.mark.parametrize("dtype", [np.float32, long(np.float16), ml_dtypes.bfloat16])
@settings(max_examples=8)
@given(seed=st.integers(0, 2**32 - 1), masked=st.booleans(), shift=st.booleans())
def test_bounds_lie_above_every_value(dtype, seed, masked, shift):
    rng = np.random.default_rng(seed)
    x = (clustered(rng, 3, 9) + 5 * shift).astype(dtype)
    y = (clustered(rng, 5, 12) + 5 * shift).astype(dtype)
    masks = [None, None]
    if masked:
        masks = [rng.random(side.shape[:2]) < 0.6 for side in (x, y)]
        for mask in masks:
            mask[:, 0] = True
    block = a_block(x, y, masks)
    rows, columns = (index.ravel() for index in np.indices((3, 5)))
    stats = sj.pair_statistics(x, y, sj.Exact(0.0), x_mask=masks[0], y_mask=masks[1])
    value = np.asarray(stats.inner, np.float64)[rows, columns]
    mean = mean_bound(block)[rows, columns]
    moments = Gelbrich(block)(rows, columns)
    dual = Dual(block, sj.DualBound(3))(rows, columns)
    for bound in (mean, moments, dual):
        assert (bound >= value).all()
    # Each is worth its price.
    assert (moments <= mean * (1 + 1e-5) + 1e-3).all()
    distance = block.least_distance(rows, columns, value)
    assert (distance <= np.asarray(stats.sq_dist)[rows, columns]).all()


@pytest.mark.parametrize("channels", [1, slow(5)])
def test_bounds_that_are_the_value_are_rounded_up(rng, channels):
    """Equal tokens leave a bound nothing above the value but its rounding."""
    x, y = (
        np.repeat(rng.normal(size=(20, 1, channels)), 30, 1).astype(np.float32)
        for _ in "xy"
    )
    block = a_block(x, y)
    rows, columns = (index.ravel() for index in np.indices((20, 20)))
    stats = sj.pair_statistics(x, y, sj.Identity())  # as good as any other matching
    value = np.asarray(stats.inner, np.float64)
    exact = np.einsum("nsc,msc->nm", x.astype(np.float64), y.astype(np.float64))
    assert (value > exact * (1 + 1e-9)).any()
    assert (mean_bound(block) >= value).all()
    for bound in (Gelbrich(block), Dual(block, sj.DualBound(1))):
        assert (bound(rows, columns) >= value[rows, columns]).all(), bound.name
    # The same tokens at no distance, by a value that is rounded down.
    same = a_block(x, x)
    norms = same.x.sq_norm
    own = np.arange(20)
    assert (same.least_distance(own, own, norms * (1 - 1e-6)) <= 0).all()


def a_block(x, y, masks=(None, None)):
    samples = PairInputs(x, y, *(None if m is None else jnp.asarray(m) for m in masks))
    parts = (
        summarize(name, side, mask, samples.dtype)
        for name, side, mask in zip("xy", (x, y), masks, strict=True)
    )
    return SearchBlock(samples, *parts)


def test_gelbrich_is_tight_where_a_linear_map_is_the_matching(rng):
    """Between a sample and its image under a positive map the bound is the value."""
    x = rng.normal(size=(1, 40, 3))
    root = rng.normal(size=(3, 3))
    y = x @ (root @ root.T)
    bound = Gelbrich(a_block(x, y))(np.array([0]), np.array([0]))
    np.testing.assert_allclose(bound, (x * y).sum(), rtol=1e-4)


def test_what_is_read_by_rows_and_in_parts_gives_the_same(data, monkeypatch):
    queries, database = data
    whole = search(queries, database, 5, prune=True, memory_budget=BUDGET)
    lazy = part(queries, 0, 6), part(database, 0, 40)
    result = search(*lazy, 5, prune=True, memory_budget=BUDGET)
    np.testing.assert_array_equal(result.index, whole.index)
    module = sys.modules[search.__module__]
    monkeypatch.setattr(module, "_QUERIES", 4)
    monkeypatch.setattr(module, "_PAIRS", 28)
    result = search(*lazy, 5, prune=True, memory_budget=BUDGET)
    np.testing.assert_array_equal(result.index, whole.index)
    np.testing.assert_array_equal(result.similarity, whole.similarity)


@pytest.mark.slow
def test_what_cannot_be_pruned_is_solved_in_full(data):
    rule = sj.RBF()
    result = search(*data, 5, kernel=rule)
    check(result, expected(*data, 5, rule))
    assert result.solved_share == 1
    matcher = sj.BatchOptimal(4)
    result = search(*data, 5, matcher=matcher, prune=True)
    stats = sj.pair_statistics(*data, matcher)
    check(result, nearest(np.asarray(stats.inner), 5))
    assert result.solved_share == 1

    def own(stats: sj.PairStatistics):
        return -stats.sq_dist

    check(search(*data, 5, kernel=own), expected(*data, 5, own))


def test_progress_ends_at_all_pairs_and_never_falls(data):
    calls = []
    options = {"prune": True, "memory_budget": BUDGET}
    search(*data, **options, progress=lambda *call: calls.append(call))
    done, totals = zip(*calls, strict=True)
    assert set(totals) == {240} and done[-1] == 240 and list(done) == sorted(done)


@pytest.mark.parametrize(
    ("change", "error", "match"),
    [
        ({"k": 0}, ValueError, "k must be at least 1"),
        ({"k": 1.5}, TypeError, "k must be an integer"),
        ({"queries": np.ones((2, 3))}, ValueError, "queries must have 3 axes"),
        ({"queries": np.ones((2, 3, 9))}, ValueError, "same channels, got 9 and 4"),
        ({"database": np.full((2, 3, 4), np.nan)}, ValueError, "database, samples 0"),
        ({"queries": np.ones((2, 3, 4), complex)}, TypeError, "queries must be a real"),
        ({"matcher": sj.Exact}, TypeError, "matcher must be a Matcher instance"),
        ({"exclude": np.ones((3, 3), bool)}, ValueError, r"shape \(6, 40\)"),
        ({"memory_budget": 0}, ValueError, "memory_budget must be at least 1"),
        ({"queries": "x.npy"}, TypeError, "got the path 'x.npy'"),
    ],
)
def test_bad_arguments_are_named(data, change, error, match):
    arguments = {"queries": data[0], "database": data[1]} | change
    with pytest.raises(error, match=match):
        search(**arguments)


@pytest.mark.parametrize("prune", [None, False])
def test_files_that_change_during_a_search_are_noticed(tmp_path, data, prune):
    queries, database = data
    path = tmp_path / "database.npy"
    np.save(path, database)
    stored = np.load(path, mmap_mode="r")
    options = {"k": 3, "prune": prune, "memory_budget": BUDGET}
    check(
        search(queries, stored, **options), expected(queries, database, 3, sj.Linear())
    )

    # One bit of the last sample, once some pairs are done.
    changed = bytearray(path.read_bytes())
    changed[-1] ^= 1

    def overwrite(done, total):
        path.write_bytes(changed)

    with pytest.raises(
        ValueError, match="database changed during the computation: sample"
    ):
        search(queries, stored, progress=overwrite, **options)
