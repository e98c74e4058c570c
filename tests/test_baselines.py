"""The classical descriptors against scikit-learn and loops."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import sklearn.decomposition
import sklearn.metrics.pairwise
from only_rows import OnlyRows

import semrsm_jax as sj
from semrsm_jax.retrieval import descriptors

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


@pytest.mark.slow
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


@pytest.mark.slow
@pytest.mark.parametrize("components", [2, None])
def test_whitened_pooling_is_sklearns(tokens, x64, components):
    x, y = (t.astype(np.float64) for t in tokens)
    pooled = [t.mean(1) / np.linalg.norm(t.mean(1), axis=1)[:, None] for t in (x, y)]
    pca = sklearn.decomposition.PCA(components or 6, whiten=True).fit(pooled[1])
    expected = sklearn.metrics.pairwise.cosine_similarity(*map(pca.transform, pooled))
    ours = sj.WhitenedPooling(components, epsilon=0)(x, y)
    np.testing.assert_allclose(ours, expected, atol=1e-9)


def test_whitening_ignores_directions_without_variance(tokens, rng):
    x, y = (t[..., :4] for t in tokens)
    turned = np.linalg.qr(rng.normal(size=(6, 4)))[0].T.astype(np.float32)
    whitened = sj.WhitenedPooling(epsilon=0)
    expected = whitened(x, y)
    np.testing.assert_allclose(whitened(x @ turned, y @ turned), expected, atol=1e-5)


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
    x, y = tokens
    expected = baseline(x, y)
    monkeypatch.setattr(descriptors, "_BATCH_BYTES", 3 * 5 * 6 * 4)

    rows = OnlyRows(x), OnlyRows(y)
    np.testing.assert_allclose(baseline(*rows), expected, atol=1e-5)
    assert max(each.most for each in rows) <= 3


@each_baseline
def test_masked_tokens_do_not_take_part(tokens, baseline):
    x, y = tokens
    padded = [np.concatenate([t, np.full_like(t[:, :2], 50)], 1) for t in (x, y)]
    masks = [np.arange(7) < np.full(len(t), 5)[:, None] for t in (x, y)]
    K = baseline(*padded, x_mask=masks[0], y_mask=masks[1])
    np.testing.assert_allclose(K, baseline(x, y), atol=1e-5)


@pytest.mark.slow
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
