"""CKA and HSIC of features, without their RSMs, and from batches."""

from fractions import Fraction

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from hsic_formulas import unbiased
from jax.test_util import check_grads

import semrsm_jax as sj

ESTIMATORS = ("biased", "unbiased")


def test_cka_of_features_meets_published_values(x64):
    state = np.random.RandomState(1337)
    x = state.randn(100, 10)
    y = state.randn(100, 10) + x
    np.testing.assert_allclose(sj.cka(x @ x.T, y @ y.T), 0.55761, atol=1e-5)
    np.testing.assert_allclose(sj.cka(x @ x.T, y @ y.T, "unbiased"), 0.51346, atol=1e-5)
    np.testing.assert_allclose(sj.linear_cka(x, y), 0.55761, atol=1e-5)
    np.testing.assert_allclose(sj.linear_cka(x, y, "unbiased"), 0.51346, atol=1e-5)


@pytest.mark.slow
@pytest.mark.parametrize("estimator", ESTIMATORS)
@pytest.mark.parametrize("channels", [(2, 3), (2, 40), (30, 40)])
def test_linear_measures_are_those_of_the_rsms(rng, x64, estimator, channels):
    X, Y = (rng.normal(size=(20, c)) + 3 for c in channels)
    Y[:, :2] += X[:, :2]
    K, L = X @ X.T, Y @ Y.T
    for linear, measure in ((sj.linear_cka, sj.cka), (sj.linear_hsic, sj.hsic)):
        got, expected = linear(X, Y, estimator), measure(K, L, estimator)
        np.testing.assert_allclose(got, expected, rtol=1e-10)
        jitted = jax.jit(linear, static_argnums=2)(X, Y, estimator)
        np.testing.assert_allclose(jitted, got, rtol=1e-12)
    tokens = X.reshape(20, 1, -1)
    np.testing.assert_allclose(
        sj.linear_cka(tokens, Y, estimator), sj.linear_cka(X, Y, estimator), rtol=1e-12
    )


@pytest.mark.slow
@pytest.mark.parametrize("base", [1000000, 10000000], ids=["NumAcc3", "NumAcc4"])
def test_features_with_a_large_mean_keep_8_digits(rng, x64, base):
    """NIST StRD: 1001 values around base + 0.2, whose standard deviation is 0.1.

    As float64 holds them, those of NumAcc4 have 0.10000000056: no more can be kept.
    """
    values = np.array([base + 0.2, *[base + 0.1, base + 0.3] * 500])
    deviation = float(sj.linear_hsic(values[:, None], values[:, None])) ** 0.25
    assert -np.log10(abs(deviation - 0.1) / 0.1) > 8
    # Against exact arithmetic, with a feature that it partly follows.
    other = rng.integers(-3, 4, 1001)
    a = [Fraction(round(10 * (v - base))) for v in values]
    b = [Fraction(int(v)) for v in other]
    a, b = ([v - sum(u) / 1001 for v in u] for u in (a, b))
    aa, bb, ab = (
        sum(x * y for x, y in zip(u, v, strict=True))
        for u, v in ((a, a), (b, b), (a, b))
    )
    expected = float(ab * ab / (aa * bb))
    got = sj.linear_cka(values[:, None], other[:, None].astype(float))
    np.testing.assert_allclose(got, expected, rtol=1e-8)


@pytest.mark.parametrize("estimator", ESTIMATORS)
def test_badly_scaled_features(rng, estimator):
    X, Y = rng.normal(size=(2, 30, 3))
    expected = sj.linear_cka(X, Y, estimator)
    # float64 features of NumPy are centered before float32 narrows them.
    np.testing.assert_allclose(
        sj.linear_cka(X + 1e8, Y - 1e8, estimator), expected, rtol=2e-5
    )
    for scale in (1e-30, 1e30):
        np.testing.assert_allclose(
            sj.linear_cka(X * scale, Y * scale, estimator), expected, rtol=1e-5
        )
    constant = np.full((30, 3), 1e7 / 3)
    for dtype in (np.float32, np.float64, np.int64):
        assert sj.linear_cka(constant.astype(dtype), Y, estimator) == 0
        assert sj.linear_cka(jnp.asarray(constant, jnp.float32), Y, estimator) == 0


@pytest.mark.slow
def test_linear_cka_has_gradients(rng, x64):
    X, Y = rng.normal(size=(2, 8, 2))
    check_grads(lambda X, Y: sj.linear_cka(X, Y, "unbiased"), (X, Y), 1)


@pytest.mark.parametrize(
    ("X", "Y", "estimator", "words"),
    [
        (np.ones(4), np.ones((4, 2)), "biased", "X must have at least 2 axes"),
        (np.ones((4, 2)), np.ones((5, 2)), "biased", "same samples, got 4 and 5"),
        (np.ones((3, 2)), np.ones((3, 2)), "unbiased", "at least 4 samples, got 3"),
        (np.ones((4, 2)), np.full((4, 2), np.nan), "biased", "Y must be finite"),
        (np.ones((4, 0)), np.ones((4, 2)), "biased", "along C"),
        (np.ones((4, 2)), np.ones((4, 2)), "both", "estimator must be one of"),
    ],
)
def test_linear_measures_reject(X, Y, estimator, words):
    for measure in (sj.linear_cka, sj.linear_hsic):
        with pytest.raises(ValueError, match=words):
            measure(X, Y, estimator)


# Batches, and sums that are carried on


def related(rng, n=96):
    X = rng.normal(size=(n, 4))
    return X, X @ rng.normal(size=(4, 6)) + rng.normal(size=(n, 6))


@pytest.mark.slow
@pytest.mark.parametrize("cuts", [[], [8, 20]], ids=["one", "three"])
def test_batches_average_numerator_and_denominators_not_ratios(rng, x64, cuts):
    X, Y = related(rng, 28)
    parts = np.split(np.arange(28), cuts)

    def mean(A, B):
        grams = ((A[p] @ A[p].T, B[p] @ B[p].T) for p in parts)
        return sum(len(K) * unbiased(K, L) for K, L in grams)

    expected = mean(X, Y) / np.sqrt(mean(X, X) * mean(Y, Y))
    features = sj.minibatch_linear_cka((X[p], Y[p]) for p in parts)
    blocks = sj.minibatch_cka((X[p] @ X[p].T, Y[p] @ Y[p].T) for p in parts)
    np.testing.assert_allclose([features, blocks], expected, rtol=1e-10)


def test_minibatch_sums_survive_scale_and_constant_batches(rng):
    X, Y = (m.astype(np.float32) for m in related(rng, 24))
    batches = [(X[:8], Y[:8]), (X[8:], Y[8:])]
    expected = sj.minibatch_linear_cka(batches)
    for scale in (1e-15, 1e15):
        scaled = [(x * np.float32(scale), y) for x, y in batches]
        np.testing.assert_allclose(sj.minibatch_linear_cka(scaled), expected, rtol=1e-5)
        constant = (np.ones((8, 4), np.float32), Y[:8])
        # It adds to the structure of Y alone, whatever the scale of the others.
        lower = sj.minibatch_linear_cka([constant, *batches])
        assert lower < expected
        for order in ([constant, *scaled], [*scaled, constant]):
            np.testing.assert_allclose(sj.minibatch_linear_cka(order), lower, rtol=1e-5)
            swapped = [(y, x) for x, y in order]
            np.testing.assert_allclose(
                sj.minibatch_linear_cka(swapped), lower, rtol=1e-5
            )
    nothing = [(np.ones((8, 4)), Y[:8])]
    assert sj.minibatch_linear_cka(nothing) == 0
    assert sj.minibatch_compute(sj.minibatch_init()) == 0


def test_minibatch_update_is_pure_and_jits(rng, x64):
    X, Y = related(rng, 24)
    sums = sj.minibatch_init()
    once = jax.jit(sj.minibatch_update_features)(sums, X[:12], Y[:12])
    np.testing.assert_allclose(
        once, sj.minibatch_update_features(sums, X[:12], Y[:12]), rtol=1e-10
    )
    scanned, _ = jax.lax.scan(
        lambda sums, batch: (sj.minibatch_update_features(sums, *batch), None),
        sums,
        (X.reshape(2, 12, 4), Y.reshape(2, 12, 6)),
    )
    np.testing.assert_allclose(
        sj.minibatch_compute(scanned),
        sj.minibatch_linear_cka([(X[:12], Y[:12]), (X[12:], Y[12:])]),
        rtol=1e-10,
    )


@pytest.mark.slow
def test_minibatch_is_unbiased_within_its_standard_error_over_1000_splits(rng, x64):
    """Numerator, denominators and CKA, over splits of 96 samples into batches of 16."""
    X, Y = (jnp.asarray(m) for m in related(rng))

    def split(key):
        order = jax.random.permutation(key, 96).reshape(6, 16)

        def add(sums, index):
            return sj.minibatch_update_features(sums, X[index], Y[index]), None

        sums, _ = jax.lax.scan(add, sj.minibatch_init(), order)
        k, m = sums.scale_k**2, sums.scale_l**2
        parts = sums.cross * k * m, sums.own_k * k**2, sums.own_l * m**2
        return jnp.stack(parts) / sums.samples

    result = jax.jit(jax.vmap(split))(jax.random.split(jax.random.key(0), 1000))
    expected = [sj.linear_hsic(*pair, "unbiased") for pair in ((X, Y), (X, X), (Y, Y))]
    error = result.std(0) / np.sqrt(1000)
    # Three standard errors: one is left by each of the three every third time.
    assert np.all(np.abs(result.mean(0) - np.array(expected)) < 3 * error)
    # The accumulated ratio meets the full-batch value; a mean of ratios does not.
    cross, own_x, own_y = result.mean(0)
    full = sj.linear_cka(X, Y, "unbiased")
    np.testing.assert_allclose(cross / np.sqrt(own_x * own_y), full, atol=2e-3)


@pytest.mark.parametrize(
    ("batches", "words"),
    [
        ([], "at least one batch"),
        ([(np.eye(3), np.eye(3))], "at least 4 samples, got 3"),
        ([(np.eye(4), np.eye(5))], "same samples"),
    ],
)
def test_minibatches_reject(batches, words):
    for measure in (sj.minibatch_cka, sj.minibatch_linear_cka):
        with pytest.raises(ValueError, match=words):
            measure(batches)
    with pytest.raises(ValueError, match="K must be finite"):
        sj.minibatch_update(sj.minibatch_init(), np.full((4, 4), np.nan), np.eye(4))


def test_a_batch_of_many_samples_is_that_of_all(rng):
    X, Y = related(rng, 50_000)
    got, expected = sj.minibatch_linear_cka([(X, Y)]), sj.linear_cka(X, Y, "unbiased")
    np.testing.assert_allclose(got, expected, rtol=1e-4)


@pytest.mark.parametrize("scale", [1e-20, 1e20])
def test_minibatches_of_any_scale_have_the_same_cka(rng, scale):
    X, Y = related(rng, 24)
    parts = [(X[a : a + 8], Y[a : a + 8]) for a in (0, 8, 16)]
    expected = sj.minibatch_linear_cka(parts)
    scaled = [(x * scale, y / scale) for x, y in parts]
    np.testing.assert_allclose(sj.minibatch_linear_cka(scaled), expected, rtol=1e-5)
    # HSIC of both has a value of order 1, though each factor's square has not.
    np.testing.assert_allclose(
        sj.linear_hsic(X * scale, Y / scale), sj.linear_hsic(X, Y), rtol=1e-4
    )
    with pytest.raises(ValueError, match="X and Y must have an HSIC in the range of"):
        sj.linear_hsic(X * scale, Y)


def test_features_without_unbiased_structure_have_a_cka_of_zero(rng):
    """The linear RSM of the unit matrix is constant off its diagonal."""
    Y = rng.normal(size=(8, 3))
    assert sj.linear_cka(np.eye(8), Y, "unbiased") == 0
    np.testing.assert_array_equal(sj.linear_cka_matrix([np.eye(8)], [Y], "unbiased"), 0)
