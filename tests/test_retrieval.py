"""Neighbors and their scores against loops, sorting and scikit-learn."""

import sys
from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import sklearn.decomposition
import sklearn.metrics
import sklearn.metrics.pairwise
from hypothesis import given, settings
from hypothesis import strategies as st
from only_rows import OnlyRows

import semrsm_jax as sj
from semrsm_jax.comparison.inference import paired_test, score_interval
from semrsm_jax.retrieval import evaluate_retrieval, same_group, same_sample


def sorted_neighbors(K, k, excluded):
    """Stable sorting of each row, most similar first: ties to the lower column."""
    index = np.full((len(K), k), -1)
    for row, values in enumerate(K):
        allowed = np.flatnonzero(~excluded[row])
        order = allowed[np.argsort(-values[allowed], kind="stable")][:k]
        index[row, : len(order)] = order
    return index


@pytest.fixture
def blocks_of_two_rows(monkeypatch):
    module = sys.modules["semrsm_jax.retrieval._nearest"]
    monkeypatch.setattr(module, "_BLOCK_BYTES", 2 * 8 * 9)


# nearest


@settings(max_examples=40)
@given(st.integers(1, 11), st.integers(0, 2**32 - 1), st.floats(0, 1))
def test_nearest_is_a_stable_sort(k, seed, share):
    rng = np.random.default_rng(seed)
    K = rng.integers(-2, 2, (7, 9)).astype(np.float32) * 1.0
    excluded = rng.uniform(size=K.shape) < share
    values = sj.nearest(
        np.where(K == 0, rng.choice([-0.0, 0.0], K.shape), K), k, excluded
    )
    np.testing.assert_array_equal(values.index, sorted_neighbors(K, k, excluded))
    there = values.index >= 0
    expected = np.take_along_axis(K, np.maximum(values.index, 0), 1)
    np.testing.assert_array_equal(values.similarity[there], expected[there])
    assert np.isnan(values.similarity[~there]).all()


def test_nearest_streams_rows_of_anything(rng, blocks_of_two_rows, tmp_path):
    K = rng.normal(size=(7, 9))
    np.save(tmp_path / "K.npy", K)

    calls = []
    rows = OnlyRows(K)
    result = sj.nearest(rows, 3, progress=lambda *a: calls.append(a))
    assert rows.most <= 2
    expected = sorted_neighbors(K, 3, np.zeros(K.shape, bool))
    np.testing.assert_array_equal(result.index, expected)
    assert result.index.dtype == np.int32
    assert calls == [(2, 7), (4, 7), (6, 7), (7, 7)]
    mapped = np.load(tmp_path / "K.npy", mmap_mode="r")
    np.testing.assert_array_equal(sj.nearest(mapped, 3).index, expected)


def test_nearest_takes_lists_and_half_precision():
    K = [[0.5, 2.0, 1.0]]
    for similar in (K, jnp.asarray(K, jnp.bfloat16), np.asarray(K, np.float16)):
        np.testing.assert_array_equal(sj.nearest(similar, 2).index, [[1, 2]])


def test_nearest_orders_64_bits_without_x64():
    """Float32 would take these for equal and give the lower column."""
    K = np.array([[1.0, 1 + 1e-12, 1 + 2e-12]])
    result = sj.nearest(K, 3)
    np.testing.assert_array_equal(result.index, [[2, 1, 0]])
    assert result.similarity.dtype == np.float64


def test_nearest_leaves_out_the_same_video(rng, blocks_of_two_rows):
    K = rng.normal(size=(7, 9))
    videos, others = rng.choice(["a", "b", "c"], 7), rng.choice(["a", "b", "d"], 9)
    result = sj.nearest(K, 9, same_group(videos, others))
    expected = sorted_neighbors(K, 9, videos[:, None] == others)
    np.testing.assert_array_equal(result.index, expected)


def test_nearest_of_an_rsm_with_itself(rng):
    K = rng.normal(size=(6, 6)) + 10 * np.eye(6)
    np.testing.assert_array_equal(sj.nearest(K, 1).index[:, 0], np.arange(6))
    result = sj.nearest(K, 5, same_sample(6)).index
    np.testing.assert_array_equal(result, sorted_neighbors(K, 5, np.eye(6, dtype=bool)))
    scenes = [0, 0, 1, 1, 2, 2]
    assert (sj.nearest(K, 5, same_group(scenes)).index[:, 4] == -1).all()


def test_nearest_under_jit_and_vmap(rng):
    K = rng.normal(size=(3, 7, 9)).astype(np.float32)
    rule = same_group(np.arange(7) % 3, np.arange(9) % 3)
    loop = [sj.nearest(k, 4, rule) for k in K]
    search = partial(sj.nearest, k=4, exclude=rule)
    for batched in (jax.vmap(search)(K), jax.jit(jax.vmap(search))(K)):
        for ours, expected in zip(batched, zip(*loop, strict=True), strict=True):
            np.testing.assert_array_equal(ours, np.stack(expected))
    mask = rng.uniform(size=(7, 9)) < 0.5
    jitted = jax.jit(sj.nearest, static_argnums=1)(K[0], 4, mask)
    np.testing.assert_array_equal(jitted.index, sj.nearest(K[0], 4, mask).index)
    with_nan = jax.jit(search)(np.where(K[0] > 1, np.nan, K[0]))
    assert not np.isin(np.asarray(with_nan.similarity), K[0][K[0] > 1]).any()


@pytest.mark.parametrize(
    ("K", "k", "exclude", "error", "message"),
    [
        (np.eye(3), 0, None, ValueError, "k must be at least 1"),
        (np.eye(3), 1.0, None, TypeError, "k must be an integer"),
        (np.ones(3), 1, None, ValueError, r"K must have 2 axes \(N, M\), got"),
        (np.ones((3, 0)), 1, None, ValueError, "at least one entry along M"),
        (np.full((2, 2), np.nan), 1, None, ValueError, "K must be finite"),
        (np.eye(3), 1, np.eye(2, dtype=bool), ValueError, r"shape \(3, 3\).*\(2, 2\)"),
        (np.eye(3), 1, np.eye(3), TypeError, "exclude must be boolean"),
        (np.eye(3), 1, same_group([1, 2]), ValueError, "groups for 2 rows"),
        (np.eye(3), 1, same_group([1, 2, 3, 4], [1, 2, 3]), ValueError, "for 4 rows"),
        (np.eye(3), 1, same_group([1, 2, 3], [1]), ValueError, r"got \(3, 1\)"),
        (np.eye(3) > 0, 1, None, TypeError, "K must be a real array"),
    ],
)
def test_nearest_refuses(K, k, exclude, error, message):
    with pytest.raises(error, match=message):
        sj.nearest(K, k, exclude)


# scores


def test_instance_f1_is_equations_9_to_12(rng):
    q, d = rng.integers(0, 4, (2, 50, 6))
    tp = fn = fp = 0
    for c in range(6):
        tp = tp + np.minimum(q[:, c], d[:, c])
        fn = fn + np.maximum(0, q[:, c] - d[:, c])
        fp = fp + np.maximum(0, d[:, c] - q[:, c])
    np.testing.assert_allclose(
        sj.instance_f1(q, d), 2 * tp / (2 * tp + fp + fn), rtol=1e-6
    )
    # By hand: 2 cups, 1 fork against 1 cup, 1 knife: TP 1, FN 2, FP 1.
    assert sj.instance_f1([2, 1, 0], [1, 0, 1]) == pytest.approx(2 / 5)


def test_scores_of_present_classes_are_sklearns(rng):
    q, d = rng.integers(0, 2, (2, 40, 6))
    q[:, 0] = 1
    np.testing.assert_allclose(
        sj.class_iou(3 * q, d),
        [sklearn.metrics.jaccard_score(a, b) for a, b in zip(q, d, strict=True)],
        rtol=1e-6,
    )
    np.testing.assert_allclose(
        sj.instance_f1(q, d),
        [sklearn.metrics.f1_score(a, b) for a, b in zip(q, d, strict=True)],
        rtol=1e-6,
    )
    np.testing.assert_array_equal(sj.class_iou(q > 0, d > 0), sj.class_iou(q, d))


@pytest.mark.slow
@pytest.mark.parametrize("score", [sj.instance_f1, sj.class_iou])
def test_scores_under_jit_vmap_and_broadcasting(rng, score):
    q, d = rng.integers(0, 3, (5, 4)), rng.integers(0, 3, (6, 4))
    grid = score(q[:, None], d)
    assert grid.shape == (5, 6)
    np.testing.assert_allclose(jax.jit(score)(q[:, None], d), grid, rtol=1e-6)
    vmapped = jax.vmap(jax.vmap(score, (None, 0)), (0, None))(q, d)
    np.testing.assert_allclose(vmapped, grid, rtol=1e-6)


@pytest.mark.parametrize("score", [sj.instance_f1, sj.class_iou])
def test_scores_of_empty_images(score):
    assert score([0, 0], [0, 0]) == 0
    assert score([0, 0], [0, 0], zero_division=1.0) == 1
    assert score([1, 0], [0, 0]) == score([0, 0], [1, 0]) == 0


@pytest.mark.parametrize("score", [sj.instance_f1, sj.class_iou])
def test_scores_refuse(score):
    for q, d, message in (
        ([1, -1], [0, 0], "query_counts must be from 0 to 1e\\+30, got -1"),
        ([1, 1], [0, 2e30], "database_counts must be from 0 to 1e\\+30, got 2e"),
        ([1, 1], [0, np.nan], "database_counts must be finite"),
        ([1, 1], [1], "the same classes, got 2 and 1"),
        (1, [1], "query_counts must have an axis of classes"),
    ):
        with pytest.raises(ValueError, match=message):
            score(q, d)
    for q, d, zero, message in (
        (["cup", "fork"], [0, 1], 0.0, "query_counts must be a real array"),
        ([0, 1], [[0, 1], [1]], 0.0, "database_counts must be a real array"),
        ([0, 1], [0, 1], "warn", "zero_division must be a real"),
    ):
        with pytest.raises(TypeError, match=message):
            score(q, d, zero_division=zero)


@pytest.mark.slow
@pytest.mark.parametrize("score", [sj.instance_f1, sj.class_iou])
def test_scores_at_k_is_a_loop(rng, score):
    q, d = rng.integers(0, 3, (6, 5)), rng.integers(0, 3, (8, 5))
    index = np.stack([rng.permutation(8) for _ in range(6)])[:, :4]
    index[1, 2:] = -1
    index[2] = -1
    result = sj.scores_at_k(index, q, d, score)
    assert result.mean.shape == result.best.shape == (6, 4)
    for row in range(6):
        for k in range(1, 5):
            scores = [float(score(q[row], d[i])) for i in index[row, :k] if i >= 0]
            expected = (np.mean(scores), max(scores)) if scores else (np.nan, np.nan)
            ours = result.mean[row, k - 1], result.best[row, k - 1]
            np.testing.assert_allclose(ours, expected, rtol=1e-6)
    jitted = jax.jit(sj.scores_at_k, static_argnums=3)(index, q, d, score)
    np.testing.assert_allclose(jitted.mean, result.mean, rtol=1e-6)


def test_scores_at_k_refuses():
    q, d = np.ones((2, 3)), np.ones((4, 3))
    for index, error, message in (
        ([[0], [4]], ValueError, "from -1 to 3, the database, got 0 to 4"),
        ([[0]], ValueError, "a row for each of 2 queries"),
        ([[0.0], [1.0]], TypeError, "neighbors must be integers"),
    ):
        with pytest.raises(error, match=message):
            sj.scores_at_k(index, q, d)


# evaluation


@pytest.mark.slow
def test_definitions_are_evaluated_on_the_queries_that_have_neighbors(rng):
    q, d = rng.integers(0, 3, (9, 4)), rng.integers(0, 3, (9, 4))
    index = np.stack([rng.permutation(9)[:3] for _ in range(9)])
    first, second = index.copy(), index[:, ::-1].copy()
    first[1] = -1
    neighbors = {
        name: sj.Neighbors(each, np.ones(each.shape))
        for name, each in (("one", first), ("two", second))
    }
    videos = [*"aabbcdefg"]
    results = evaluate_retrieval(
        neighbors, q, d, groups=videos, resamples=20, key=1, confidence=0.9
    )
    one, two = (np.asarray(sj.scores_at_k(i, q, d).mean) for i in (first, second))
    scored = np.delete(np.arange(9), 1)
    assert (results["one"].queries, results["two"].queries) == (8, 9)
    np.testing.assert_allclose(results["one"].mean.value, one[scored].mean(0), 1e-6)
    np.testing.assert_allclose(results["two"].mean.value, two.mean(0), 1e-6)
    settings = {"key": 1, "resamples": 20, "confidence": 0.9}
    groups = np.array(videos)[scored]
    test = paired_test(two[scored], one[scored], groups=groups, **settings)
    np.testing.assert_allclose(results["two"].mean.less_first.p_value, test.p_value)
    interval = score_interval(one[scored], groups=groups, **settings)
    np.testing.assert_allclose(results["one"].mean.low, interval.low)
    assert results["one"].mean.less_first is None
    plain = evaluate_retrieval(neighbors, q, d)["two"].best
    assert plain.low is None and plain.less_first is None
    nobody = {"none": sj.Neighbors(np.full((9, 1), -1), np.full((9, 1), np.nan))}
    with pytest.raises(ValueError, match="no query has a neighbor"):
        evaluate_retrieval(nobody, q, d)
