import jax
import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from jax.test_util import check_grads

from semrsm_jax import cka, hsic


def rsms(rng, n=8, symmetric=True):
    K, L = rng.normal(size=(2, n, n))
    return (K + K.T, L + L.T) if symmetric else (K, L)


def biased(K, L):
    n = len(K)
    H = np.eye(n) - 1 / n
    return np.trace(K @ H @ L @ H) / (n - 1) ** 2


def unbiased(K, L):
    """Song et al. 2012, Eq. 5, word for word."""
    n = len(K)
    K, L = K - np.diag(np.diag(K)), L - np.diag(np.diag(L))
    one = np.ones(n)
    return (
        np.trace(K @ L)
        + (one @ K @ one) * (one @ L @ one) / ((n - 1) * (n - 2))
        - 2 / (n - 2) * (one @ K @ L @ one)
    ) / (n * (n - 3))


@pytest.mark.parametrize("symmetric", [True, False])
def test_hsic_is_that_of_the_formula(rng, x64, symmetric):
    K, L = rsms(rng, symmetric=symmetric)
    np.testing.assert_allclose(hsic(K, L), biased(K, L), rtol=1e-11)
    if symmetric:
        np.testing.assert_allclose(hsic(K, L, "unbiased"), unbiased(K, L), rtol=1e-11)


@pytest.mark.parametrize("estimator", ["biased", "unbiased"])
def test_cka_of_equal_structures_is_one_at_any_scale_and_offset(rng, x64, estimator):
    K, _ = rsms(rng)
    for scale in (1e-150, 1.0, 1e150):
        np.testing.assert_allclose(cka(K, scale * K, estimator), 1, rtol=1e-10)
    np.testing.assert_allclose(cka(K, K + 7, estimator), 1, rtol=1e-10)
    np.testing.assert_allclose(cka(K, -K, estimator), -1, rtol=1e-10)


def test_cka_of_features_meets_published_values(x64):
    state = np.random.RandomState(1337)
    x = state.randn(100, 10)
    y = state.randn(100, 10) + x
    np.testing.assert_allclose(cka(x @ x.T, y @ y.T), 0.55761, atol=1e-5)
    np.testing.assert_allclose(cka(x @ x.T, y @ y.T, "unbiased"), 0.51346, atol=1e-5)


def test_float32_does_not_overflow(rng):
    K, L = rsms(rng)
    expected = float(cka(K, L))
    assert np.isclose(cka(np.float32(K) * 1e30, np.float32(L) * 1e30), expected, 1e-4)


@pytest.mark.parametrize("estimator", ["biased", "unbiased"])
def test_constant_rsm_has_no_structure(rng, estimator):
    K, _ = rsms(rng)
    constant = np.full((8, 8), 1e7 / 3)
    assert hsic(np.zeros((8, 8)), K, estimator) == 0
    assert cka(constant, K, estimator) == 0
    assert cka(constant, constant, estimator) == 0


def test_one_sample_has_no_structure():
    assert hsic([[3.0]], [[2.0]]) == 0
    assert cka([[3.0]], [[2.0]]) == 0


@settings(max_examples=30, deadline=None)
@given(st.integers(4, 9), st.integers(0, 2**31 - 1))
def test_cka_is_symmetric_and_invariant_to_the_order_of_samples(n, seed):
    rng = np.random.default_rng(seed)
    K, L = rsms(rng, n)
    order = rng.permutation(n)
    for estimator in ("biased", "unbiased"):
        value = float(cka(K, L, estimator))
        assert np.isclose(value, cka(L, K, estimator), atol=1e-5)
        shuffled = cka(K[order][:, order], L[order][:, order], estimator)
        assert np.isclose(value, shuffled, atol=1e-4)


@pytest.mark.parametrize(
    ("K", "L", "estimator", "words"),
    [
        (np.eye(3), np.eye(4), "biased", "same samples"),
        (np.ones((3, 4)), np.eye(3), "biased", "K must be square"),
        (np.ones(3), np.eye(3), "biased", "K must have 2 axes"),
        (np.eye(3), np.eye(3), "unbiased", "at least 4 samples"),
        (np.eye(3), np.eye(3), "debiased", "estimator must be one of"),
        (np.full((4, 4), np.nan), np.eye(4), "biased", "K must be finite"),
        (np.zeros((0, 0)), np.zeros((0, 0)), "biased", "along N"),
    ],
)
def test_comparison_refuses(K, L, estimator, words):
    for measure in (hsic, cka):
        with pytest.raises(ValueError, match=words):
            measure(K, L, estimator)


@pytest.mark.parametrize("estimator", ["biased", "unbiased"])
def test_gradients_jit_and_vmap(rng, x64, estimator):
    K, L = (jnp.asarray(a) for a in rsms(rng, 5))
    for measure in (hsic, cka):
        check_grads(lambda K, L, m=measure: m(K, L, estimator), (K, L), 1)
        value = measure(K, L, estimator)
        jitted = jax.jit(measure, static_argnums=2)(K, L, estimator)
        np.testing.assert_allclose(jitted, value, rtol=1e-12)
        batch = jax.vmap(lambda K, L, m=measure: m(K, L, estimator))(
            jnp.stack([K, L]), jnp.stack([L, L])
        )
        np.testing.assert_allclose(batch[0], value, rtol=1e-12)
