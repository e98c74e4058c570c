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

import semrsm_jax as sj
from semrsm_jax.retrieval import same_group, same_sample


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
    # The package has a function of the module's name.
    module = sys.modules["semrsm_jax.retrieval._nearest"]
    monkeypatch.setattr(module, "_BLOCK_BYTES", 2 * 8 * 9)


# nearest


@settings(deadline=None, max_examples=40)
@given(st.integers(1, 11), st.integers(0, 2**32 - 1), st.floats(0, 1))
def test_nearest_is_a_stable_sort(k, seed, share):
    rng = np.random.default_rng(seed)
    K = rng.integers(-2, 2, (7, 9)).astype(np.float32) * 1.0
    excluded = rng.uniform(size=K.shape) < share
    found = sj.nearest(
        np.where(K == 0, rng.choice([-0.0, 0.0], K.shape), K), k, excluded
    )
    np.testing.assert_array_equal(found.index, sorted_neighbors(K, k, excluded))
    there = found.index >= 0
    expected = np.take_along_axis(K, np.maximum(found.index, 0), 1)
    np.testing.assert_array_equal(found.similarity[there], expected[there])
    assert np.isnan(found.similarity[~there]).all()


def test_nearest_streams_rows_of_anything(rng, blocks_of_two_rows, tmp_path):
    K = rng.normal(size=(7, 9))
    np.save(tmp_path / "K.npy", K)

    class Rows:
        shape, dtype = K.shape, K.dtype

        def __getitem__(self, rows):
            assert isinstance(rows, slice) and rows.stop - rows.start <= 2
            return K[rows]

    calls = []
    found = sj.nearest(Rows(), 3, progress=lambda *a: calls.append(a))
    expected = sorted_neighbors(K, 3, np.zeros(K.shape, bool))
    np.testing.assert_array_equal(found.index, expected)
    assert found.index.dtype == np.int32
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
    found = sj.nearest(K, 3)
    np.testing.assert_array_equal(found.index, [[2, 1, 0]])
    assert found.similarity.dtype == np.float64


def test_nearest_leaves_out_the_same_video(rng, blocks_of_two_rows):
    K = rng.normal(size=(7, 9))
    videos, others = rng.choice(["a", "b", "c"], 7), rng.choice(["a", "b", "d"], 9)
    found = sj.nearest(K, 9, same_group(videos, others))
    expected = sorted_neighbors(K, 9, videos[:, None] == others)
    np.testing.assert_array_equal(found.index, expected)


def test_nearest_of_an_rsm_with_itself(rng):
    K = rng.normal(size=(6, 6)) + 10 * np.eye(6)
    np.testing.assert_array_equal(sj.nearest(K, 1).index[:, 0], np.arange(6))
    found = sj.nearest(K, 5, same_sample(6)).index
    np.testing.assert_array_equal(found, sorted_neighbors(K, 5, np.eye(6, dtype=bool)))
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
        ([1, -1], [0, 0], "query_counts must be counts of at least 0, got -1"),
        ([1, 1], [0, np.nan], "database_counts must be finite"),
        ([1, 1], [1], "the same classes, got 2 and 1"),
        (1, [1], "query_counts must have an axis of classes"),
    ):
        with pytest.raises(ValueError, match=message):
            score(q, d)


@pytest.mark.parametrize("score", [sj.instance_f1, sj.class_iou])
def test_scores_at_k_is_a_loop(rng, score):
    q, d = rng.integers(0, 3, (6, 5)), rng.integers(0, 3, (8, 5))
    index = np.stack([rng.permutation(8) for _ in range(6)])[:, :4]
    index[1, 2:] = -1
    index[2] = -1
    found = sj.scores_at_k(index, q, d, score)
    assert found.mean.shape == found.best.shape == (6, 4)
    for row in range(6):
        for k in range(1, 5):
            scores = [float(score(q[row], d[i])) for i in index[row, :k] if i >= 0]
            expected = (np.mean(scores), max(scores)) if scores else (np.nan, np.nan)
            ours = found.mean[row, k - 1], found.best[row, k - 1]
            np.testing.assert_allclose(ours, expected, rtol=1e-6)
    jitted = jax.jit(sj.scores_at_k, static_argnums=3)(index, q, d, score)
    np.testing.assert_allclose(jitted.mean, found.mean, rtol=1e-6)


def test_scores_at_k_refuses():
    q, d = np.ones((2, 3)), np.ones((4, 3))
    for index, error, message in (
        ([[0], [4]], ValueError, "from -1 to 3, the database, got 0 to 4"),
        ([[0]], ValueError, "a row for each of 2 queries"),
        ([[0.0], [1.0]], TypeError, "neighbors must be integers"),
    ):
        with pytest.raises(error, match=message):
            sj.scores_at_k(index, q, d)


# baselines

BASELINES = [
    sj.AveragePooling(),
    sj.ClassToken(),
    sj.WhitenedPooling(components=3),
    sj.VLAD(clusters=3),
]
each_baseline = pytest.mark.parametrize(
    "baseline", BASELINES, ids=lambda b: type(b).__name__
)


@pytest.fixture(scope="module")
def tokens():
    rng = np.random.default_rng(1)
    x, y = (rng.normal(size=(n, 5, 6)).astype(np.float32) for n in (4, 7))
    return x + 0.5, y + 0.5


@each_baseline
def test_baselines_have_the_interface_of_an_rsm(tokens, baseline):
    x, y = tokens
    K = baseline(x, y)
    assert K.shape == sj.rsm(x, y, sj.Identity()).shape
    assert np.abs(K).max() <= 1 + 1e-6
    own = baseline(y)
    np.testing.assert_allclose(np.diag(own), 1, rtol=1e-5)
    np.testing.assert_allclose(own, own.T, atol=1e-6)
    # The same seed, the same words.
    np.testing.assert_array_equal(baseline(x, y), K)
    assert baseline == type(baseline)(**vars(baseline))


def test_average_pooling_is_sklearns_cosine(tokens):
    x, y = tokens
    expected = sklearn.metrics.pairwise.cosine_similarity(x.mean(1), y.mean(1))
    np.testing.assert_allclose(sj.AveragePooling()(x, y), expected, atol=1e-6)


def test_class_token_is_one_tokens_cosine(tokens):
    x, y = tokens
    for index in (0, 4):
        expected = sklearn.metrics.pairwise.cosine_similarity(x[:, index], y[:, index])
        ours = sj.ClassToken(index)(x, y)
        np.testing.assert_allclose(ours, expected, atol=1e-6)
    with pytest.raises(ValueError, match="index must be below 5"):
        sj.ClassToken(5)(x, y)


@pytest.mark.parametrize("components", [2, None])
def test_whitened_pooling_is_sklearns(tokens, x64, components):
    x, y = (t.astype(np.float64) for t in tokens)
    pooled = [t.mean(1) / np.linalg.norm(t.mean(1), axis=1)[:, None] for t in (x, y)]
    pca = sklearn.decomposition.PCA(components or 6, whiten=True).fit(pooled[1])
    expected = sklearn.metrics.pairwise.cosine_similarity(*map(pca.transform, pooled))
    ours = sj.WhitenedPooling(components, epsilon=0)(x, y)
    np.testing.assert_allclose(ours, expected, atol=1e-9)


def test_whitening_ignores_directions_without_variance(tokens):
    x, y = (np.concatenate([t, t[..., :2]], -1) for t in tokens)
    plain = sj.WhitenedPooling()(*tokens)
    assert np.isfinite(sj.WhitenedPooling(epsilon=0)(x, y)).all()
    assert plain.shape == (4, 7)


def test_vlad_is_the_sum_of_residuals(tokens):
    x, y = tokens
    vlad = sj.VLAD(clusters=3, seed=5, power=0.5)
    fitted = vlad.fit(y)
    centers = np.asarray(fitted.parameters[0])
    words = np.argmin(np.linalg.norm(x[:, :, None] - centers, axis=-1), axis=-1)
    expected = np.zeros((len(x), 3, 6))
    for n, s in np.ndindex(words.shape):
        expected[n, words[n, s]] += x[n, s] - centers[words[n, s]]
    expected = expected.reshape(len(x), -1)
    expected = np.sign(expected) * np.sqrt(np.abs(expected))
    expected /= np.linalg.norm(expected, axis=1)[:, None]
    np.testing.assert_allclose(fitted.vectors(x), expected, atol=1e-5)
    assert not np.allclose(sj.VLAD(3, seed=6)(x, y), vlad(x, y), atol=1e-3)


def test_vlad_finds_the_words_there_are(rng):
    words = 10 * np.eye(4)
    tokens = words[rng.integers(0, 4, (30, 8))] + 0.01 * rng.normal(size=(30, 8, 4))
    centers = sj.VLAD(clusters=4, tokens=100).fit(tokens).parameters[0]
    np.testing.assert_allclose(np.sort(centers, 0), np.sort(words, 0), atol=0.02)


@each_baseline
def test_permuted_tokens_change_only_the_class_token(tokens, baseline, rng):
    x, y = tokens
    permuted = x[:, rng.permutation(5)]
    same = np.allclose(baseline(permuted, y), baseline(x, y), atol=1e-5)
    assert same != isinstance(baseline, sj.ClassToken)


@each_baseline
def test_baselines_read_batch_by_batch(tokens, baseline, monkeypatch):
    from semrsm_jax.retrieval import descriptors

    x, y = tokens
    expected = baseline(x, y)
    monkeypatch.setattr(descriptors, "_BATCH_BYTES", 3 * 5 * 6 * 4)

    class Rows:
        dtype = y.dtype

        def __init__(self, array):
            self.array, self.shape = array, array.shape

        def __getitem__(self, rows):
            assert isinstance(rows, slice) and rows.stop - rows.start <= 3
            return self.array[rows]

    np.testing.assert_allclose(baseline(Rows(x), Rows(y)), expected, atol=1e-5)


@each_baseline
def test_masked_tokens_do_not_take_part(tokens, baseline):
    x, y = tokens
    padded = [np.concatenate([t, np.full_like(t[:, :2], 50)], 1) for t in (x, y)]
    masks = [np.arange(7) < np.full(len(t), 5)[:, None] for t in (x, y)]
    K = baseline(*padded, x_mask=masks[0], y_mask=masks[1])
    np.testing.assert_allclose(K, baseline(x, y), atol=1e-5)


@each_baseline
def test_fitted_baselines_under_jit_and_vmap(tokens, baseline):
    x, y = tokens
    fitted = baseline.fit(y)
    expected = fitted(x, y)
    np.testing.assert_allclose(jax.jit(fitted)(x, y), expected, atol=1e-5)
    batched = jax.vmap(fitted)(jnp.stack([x, x]), jnp.stack([y, y]))
    np.testing.assert_allclose(batched[1], expected, atol=1e-5)
    gradient = jax.grad(lambda x: fitted(x, y).sum())(jnp.zeros_like(x))
    assert jnp.isfinite(gradient).all()


@each_baseline
def test_silent_samples_have_similarity_zero(tokens, baseline):
    x, y = tokens
    if type(baseline) in (sj.AveragePooling, sj.ClassToken):
        assert (baseline(np.zeros_like(x), y) == 0).all()
    assert np.isfinite(baseline(np.zeros_like(x), y)).all()


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda x, y: BASELINES[0](x[0], y), "x must have 3 axes"),
        (lambda x, y: BASELINES[0](x, y[..., :2]), "the same channels, got 6 and 2"),
        (lambda x, y: BASELINES[0](x * np.nan, y), "x must be finite"),
        (lambda x, y: BASELINES[2](x[:1]), "database must hold at least 2 samples"),
        (lambda x, y: sj.WhitenedPooling(9)(x, y), "at most 6, for 7"),
        (lambda x, y: sj.WhitenedPooling(0), "components must be at least"),
        (lambda x, y: sj.WhitenedPooling(epsilon=-1), "epsilon must be"),
        (lambda x, y: sj.VLAD(36)(x, y), "at most the 35 tokens"),
        (lambda x, y: sj.VLAD(0), "clusters must be at least 1"),
        (lambda x, y: sj.VLAD(power=0), "power must be above 0"),
        (lambda x, y: sj.ClassToken(-1), "index must be at least 0"),
        (lambda x, y: jax.jit(BASELINES[3])(x, y), "fit it outside of jit"),
    ],
)
def test_baselines_refuse(tokens, call, message):
    with pytest.raises(ValueError, match=message):
        call(*tokens)
