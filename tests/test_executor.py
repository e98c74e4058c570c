"""The one loop over pairs: on the host and in batches, halved when memory runs out."""

import jax
import jax.numpy as jnp
import ml_dtypes
import numpy as np
import pytest
from marks import long

from semrsm_jax import (
    BatchOptimal,
    Cosine,
    Exact,
    Greedy,
    Identity,
    match,
    pair_statistics,
)
from semrsm_jax._resources import core_limit, one_blas_thread
from semrsm_jax._rows import part
from semrsm_jax.pairs.executor import PairInputs, Rule, execute
from semrsm_jax.pairs.selection import PairList
from semrsm_jax.reporting import correspondences
from semrsm_jax.retrieval import search

OUT_OF_MEMORY = [
    jax.errors.JaxRuntimeError("RESOURCE_EXHAUSTED: Out of memory"),
    MemoryError(),
]


def features(rng, samples=7, tokens=9, channels=4):
    return np.maximum(rng.normal(size=(samples, tokens, channels)), 0).astype("f")


def assert_close(stats, expected, rtol=1e-6):
    for a, b in zip(*map(jax.tree.leaves, (stats, expected)), strict=True):
        np.testing.assert_allclose(a, b, rtol=rtol, atol=1e-6)


@pytest.mark.slow
@pytest.mark.parametrize("error", OUT_OF_MEMORY, ids=["device", "host"])
@pytest.mark.parametrize("matcher", [Exact(), Identity()], ids=str)
def test_statistics_search_and_report_survive_out_of_memory(
    rng, limited, matcher, error
):
    x, y = features(rng), features(rng, 11)
    pairs = np.stack(np.triu_indices(7, 1), 1).astype(np.int32)

    def compute():
        calls = []
        return (
            *pair_statistics(x, y, matcher),
            *search(x, y, 3, matcher=matcher, kernel=Cosine(), prune=False)[:2],
            *correspondences.match_pairs(x, pairs, matcher, lambda *n: calls.append(n)),
            calls[-1],
        )

    expected = compute()
    sizes = limited(3, error)
    assert_close(compute(), expected, 1e-5)
    assert max(sizes) <= 3 and len(sizes) > 30


def test_one_pair_without_memory_and_other_errors_are_raised(rng, limited):
    x = features(rng)
    limited(0, OUT_OF_MEMORY[0])
    with pytest.raises(RuntimeError, match="RESOURCE_EXHAUSTED"):
        pair_statistics(x)
    limited(0, RuntimeError("another"))
    with pytest.raises(RuntimeError, match="another"):
        search(x, x)


def test_equal_samples_have_distance_zero_and_neighbors_change_no_bit(rng):
    x = features(rng, 5, 16, 8) + 100
    x[3] = x[1][rng.permutation(16)]
    stats = pair_statistics(x)
    assert stats.sq_dist[1, 3] == 0
    alone = pair_statistics(x[1:2], x[[4]])
    for name in ("inner", "sq_dist", "upper_bound"):
        assert getattr(stats, name)[1, 4] == getattr(alone, name)[0, 0]


@pytest.mark.parametrize("matcher", [Exact(), Identity()], ids=str)
@pytest.mark.parametrize(
    "dtype", [np.float16, ml_dtypes.bfloat16, np.float64, np.int32], ids=str
)
def test_inputs_of_any_kind_are_matched_alike(rng, dtype, matcher):
    x = np.round(4 * features(rng)).astype(dtype)
    expected = pair_statistics(x.astype(np.float32), matcher=matcher)
    kinds = x, jnp.asarray(x), part(x, 0, 7), np.asfortranarray(x)
    for kind in kinds:
        stats = pair_statistics(kind, matcher=matcher, memory_budget=4000)
        assert_close(stats, expected)


def test_the_number_of_threads_changes_no_bit(rng):
    x = features(rng, 8, 20, 6)
    results = []
    for threads in (1, 3):
        with core_limit(threads):
            results.append(pair_statistics(x))
    for a, b in zip(*results, strict=True):
        np.testing.assert_array_equal(a, b)


def test_an_overflowing_affinity_gives_nan(rng):
    x = features(rng, 3) + 1
    x[1] *= 1e25
    inputs = PairInputs(x[:2], x * np.float32(1e12))
    pairs = PairList(np.array([0, 1]), np.array([0, 1]))
    (chunk,) = execute(inputs, Rule(Exact()), pairs, size=2)
    inner, _, upper_bound = chunk.values
    assert np.isnan(inner[1]) and np.isfinite(inner[0])
    assert (np.isnan(inner) == np.isnan(upper_bound)).all()


@pytest.mark.slow
@pytest.mark.parametrize("matcher", [Exact(), Exact(solver="scipy"), Greedy()], ids=str)
@pytest.mark.parametrize("dtype", ["float32", "float16"])
def test_tokens_of_listed_pairs_are_those_of_match(rng, matcher, dtype):
    x = (200 * features(rng)).astype(dtype)  # products beyond float16
    rows, columns = np.array([3, 0, 3, 6]), np.array([1, 5, 1, 2])
    chunks = execute(
        PairInputs(x, x), Rule(matcher), PairList(rows, columns), 3, tokens=True
    )
    permutation, products = (
        np.concatenate(v) for v in zip(*(c.values for c in chunks), strict=True)
    )
    m = match(x[rows], x[columns], matcher=matcher)
    np.testing.assert_allclose(products.sum(-1), m.value, rtol=1e-5)
    x = x.astype("f")
    partner = np.take_along_axis(x[columns], permutation[..., None], 1)
    np.testing.assert_allclose(products, (x[rows] * partner).sum(-1), rtol=1e-5)


def test_blas_threads_are_given_back():
    from semrsm_jax._resources import _openblas

    libraries = _openblas()
    assert libraries
    before = [get() for get, _ in libraries]
    try:
        for _, limit in libraries:
            limit(2)
        with one_blas_thread(), one_blas_thread():
            assert {get() for get, _ in libraries} == {1}
        assert {get() for get, _ in libraries} == {2}
    finally:
        for (_, limit), count in zip(libraries, before, strict=True):
            limit(count)


@pytest.mark.slow
def test_progress_counts_every_pair_once(rng):
    for matcher, total in ((Exact(), 15), (BatchOptimal(4), 15), (Greedy(), 36)):
        calls = []
        pair_statistics(
            features(rng, 6, 9, 3),
            matcher=matcher,
            memory_budget=4000,
            progress=lambda *call, calls=calls: calls.append(call),
        )
        done, totals = zip(*calls, strict=True)
        assert set(totals) == {total} and done[-1] == total
        assert len(done) > 2 and sorted(set(done)) == list(done)


@pytest.mark.slow
@pytest.mark.parametrize(
    ("samples", "other"), [long(7, None), (8, None), (3, (5, 11, 24))], ids=str
)
def test_rows_under_jit_are_those_of_eager_pairs(rng, samples, other):
    x = features(rng, samples, channels=24)
    y = None if other is None else features(rng, *other)
    masks = {"x_mask": rng.random(x.shape[:2]) < 0.8}
    masks["x_mask"][:, 0] = True
    # At most two pairs at once, so that a chunk is a part of one row.
    budget = 2 * 4 * ((2 * 9 + 11) * 24 + 99)

    def run(x, y):
        return pair_statistics(x, y, memory_budget=budget, **masks)

    assert_close(jax.jit(run)(x, y), run(x, y), 1e-5)
    gradient = jax.grad(lambda x: run(x, y).inner.sum())(x)
    whole = jax.grad(lambda x: pair_statistics(x, y, **masks).inner.sum())(x)
    np.testing.assert_allclose(gradient, whole, rtol=1e-4, atol=1e-5)
