"""CKA and HSIC of features, without their RSMs."""

from fractions import Fraction

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax.test_util import check_grads

from semrsm_jax import (
    cka,
    hsic,
    linear_cka,
    linear_hsic,
)

ESTIMATORS = ("biased", "unbiased")


def test_cka_of_features_meets_published_values(x64):
    state = np.random.RandomState(1337)
    x = state.randn(100, 10)
    y = state.randn(100, 10) + x
    np.testing.assert_allclose(cka(x @ x.T, y @ y.T), 0.55761, atol=1e-5)
    np.testing.assert_allclose(cka(x @ x.T, y @ y.T, "unbiased"), 0.51346, atol=1e-5)
    np.testing.assert_allclose(linear_cka(x, y), 0.55761, atol=1e-5)
    np.testing.assert_allclose(linear_cka(x, y, "unbiased"), 0.51346, atol=1e-5)


@pytest.mark.slow
@pytest.mark.parametrize("estimator", ESTIMATORS)
@pytest.mark.parametrize("channels", [(2, 3), (2, 40), (30, 40)])
def test_linear_measures_are_those_of_the_rsms(rng, x64, estimator, channels):
    X, Y = (rng.normal(size=(20, c)) + 3 for c in channels)
    Y[:, :2] += X[:, :2]
    K, L = X @ X.T, Y @ Y.T
    for linear, measure in ((linear_cka, cka), (linear_hsic, hsic)):
        got, expected = linear(X, Y, estimator), measure(K, L, estimator)
        np.testing.assert_allclose(got, expected, rtol=1e-10)
        jitted = jax.jit(linear, static_argnums=2)(X, Y, estimator)
        np.testing.assert_allclose(jitted, got, rtol=1e-12)
    tokens = X.reshape(20, 1, -1)
    np.testing.assert_allclose(
        linear_cka(tokens, Y, estimator), linear_cka(X, Y, estimator), rtol=1e-12
    )


@pytest.mark.slow
@pytest.mark.parametrize("base", [1000000, 10000000], ids=["NumAcc3", "NumAcc4"])
def test_features_with_a_large_mean_keep_8_digits(rng, x64, base):
    """NIST StRD: 1001 values around base + 0.2, whose standard deviation is 0.1.

    As float64 holds them, those of NumAcc4 have 0.10000000056: no more can be kept.
    """
    values = np.array([base + 0.2, *[base + 0.1, base + 0.3] * 500])
    deviation = float(linear_hsic(values[:, None], values[:, None])) ** 0.25
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
    got = linear_cka(values[:, None], other[:, None].astype(float))
    np.testing.assert_allclose(got, expected, rtol=1e-8)


@pytest.mark.parametrize("estimator", ESTIMATORS)
def test_badly_scaled_features(rng, estimator):
    X, Y = rng.normal(size=(2, 30, 3))
    expected = linear_cka(X, Y, estimator)
    # float64 features of NumPy are centered before float32 narrows them.
    np.testing.assert_allclose(
        linear_cka(X + 1e8, Y - 1e8, estimator), expected, rtol=2e-5
    )
    for scale in (1e-30, 1e30):
        np.testing.assert_allclose(
            linear_cka(X * scale, Y * scale, estimator), expected, rtol=1e-5
        )
    constant = np.full((30, 3), 1e7 / 3)
    for dtype in (np.float32, np.float64, np.int64):
        assert linear_cka(constant.astype(dtype), Y, estimator) == 0
        assert linear_cka(jnp.asarray(constant, jnp.float32), Y, estimator) == 0


@pytest.mark.slow
def test_linear_cka_has_gradients(rng, x64):
    X, Y = rng.normal(size=(2, 8, 2))
    check_grads(lambda X, Y: linear_cka(X, Y, "unbiased"), (X, Y), 1)


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
    for measure in (linear_cka, linear_hsic):
        with pytest.raises(ValueError, match=words):
            measure(X, Y, estimator)
