import jax
import jax.numpy as jnp
import numpy as np
import pytest
import scipy.stats
from hypothesis import given, settings
from hypothesis import strategies as st
from jax.test_util import check_grads
from marks import long
from rsatoolbox_names import METHODS

from semrsm_jax import rsa
from semrsm_jax.comparison import correlation

KENDALL = jax.jit(correlation.kendall_tau_a)


def symmetric(rng, n=9, decimals=None):
    K = rng.normal(size=(n, n)) + 1
    K = (K + K.T) / 2
    return K if decimals is None else K.round(decimals)


def upper(K):
    return K[np.triu_indices(len(K), 1)]


def tau_a(a, b):
    signs = [np.sign(v[:, None] - v[None, :]) for v in (a, b)]
    return np.sum(signs[0] * signs[1]) / (a.size * (a.size - 1))


ORACLES = {
    "pearson": lambda a, b: scipy.stats.pearsonr(a, b).statistic,
    "spearman": lambda a, b: scipy.stats.spearmanr(a, b).statistic,
    "kendall_tau_a": tau_a,
    "kendall_tau_b": lambda a, b: scipy.stats.kendalltau(a, b).statistic,
    "cosine": lambda a, b: a @ b / np.sqrt((a @ a) * (b @ b)),
}


@pytest.mark.slow
@pytest.mark.parametrize("decimals", [None, 1, 0])
@pytest.mark.parametrize("method", ORACLES)
def test_rsa_is_scipys_with_and_without_ties(rng, x64, method, decimals):
    K, L = (symmetric(rng, decimals=decimals) for _ in range(2))
    expected = ORACLES[method](upper(K), upper(L))
    np.testing.assert_allclose(rsa(K, L, method), expected, atol=1e-12)


@pytest.mark.slow
@settings(max_examples=40)
@given(st.sampled_from([2, 3, 33]), st.integers(1, 8), st.integers(0, 2**31 - 1))
def test_kendall_counts_every_pair(size, values, seed):
    a, b = np.random.default_rng(seed).integers(0, values, (2, size)).astype(np.float32)
    got = KENDALL(jnp.asarray(a), jnp.asarray(b))
    assert np.isclose(got, tau_a(a, b), atol=1e-5)


@pytest.mark.parametrize("weighted", [long(False), long(True)])
def test_kendall_counts_more_pairs_than_float32_has_integers(weighted):
    """All of n entries tied: n (n - 1) / 2 pairs, n above 2^24."""
    n = 2**24 + 2**20
    v = jnp.zeros(n, jnp.float32)
    counts = jax.jit(lambda v, w: correlation._kendall(v, v, w)[1:])
    counted = counts(v, jnp.ones_like(v) if weighted else None)
    np.testing.assert_allclose(counted, n * (n - 1) / 2, rtol=1e-6)


@pytest.mark.slow
@pytest.mark.parametrize("method", METHODS)
def test_rsa_is_rsatoolboxs(rng, x64, method):
    from rsatoolbox import rdm

    distances = [
        np.sum((x[:, None] - x[None]) ** 2, -1) for x in rng.normal(size=(2, 12, 3))
    ]
    rdms = [rdm.RDMs(d[None]) for d in distances]
    expected = rdm.compare(*rdms, method=METHODS[method]).item()
    np.testing.assert_allclose(rsa(*distances, method), expected, atol=1e-12)


@pytest.mark.parametrize("method", METHODS)
def test_diagonal_plays_no_part_and_scale_none(rng, x64, method):
    K, L = symmetric(rng), symmetric(rng)
    expected = rsa(K, L, method)
    np.testing.assert_allclose(rsa(L, K, method), expected, atol=1e-12)
    K[np.diag_indices(9)] += 100
    for scale in (1.0, 1e-150, 1e150):
        np.testing.assert_allclose(rsa(scale * K, L, method), expected, atol=1e-12)
    np.testing.assert_allclose(rsa(K, K, method), 1, atol=1e-12)


@pytest.mark.parametrize("method", METHODS)
def test_a_pair_counts_with_the_mean_of_both_directions(rng, x64, method):
    K, L = rng.normal(size=(9, 9)), symmetric(rng)
    np.testing.assert_allclose(
        rsa(K, L, method), rsa((K + K.T) / 2, L, method), atol=1e-12
    )


@pytest.mark.slow
@pytest.mark.parametrize("method", METHODS)
def test_counts_are_repeated_samples_without_pairs_of_copies(rng, x64, method):
    K, L = symmetric(rng), symmetric(rng)
    ones = rsa(K, L, method, counts=np.ones(9))
    np.testing.assert_allclose(ones, rsa(K, L, method), atol=1e-12)
    counts = rng.integers(0, 4, 9)
    index = np.repeat(np.arange(9), counts)
    got = rsa(K, L, method, counts=counts)
    if method.startswith("whitened"):
        if method == "whitened_pearson":
            K, L = (m - upper(m).mean() for m in (K, L))
        for m in (K, L):
            np.fill_diagonal(m, 0)
        H = np.eye(len(index)) - 1 / len(index)
        A, B = (H @ m[index][:, index] @ H for m in (K, L))
        expected = np.sum(A * B) / np.sqrt(np.sum(A * A) * np.sum(B * B))
    elif method.startswith("kendall"):
        pairs = np.triu_indices(9, 1)
        w = counts[pairs[0]] * counts[pairs[1]]
        a, b = (np.sign(np.subtract.outer(upper(m), upper(m))) for m in (K, L))
        expected = w @ (a * b) @ w / (w.sum() ** 2 - np.sum(w**2))
    else:
        i, j = np.triu_indices(len(index), 1)
        i, j = index[i], index[j]
        i, j = i[i != j], j[i != j]
        expected = ORACLES[method](K[i, j], L[i, j])
    np.testing.assert_allclose(got, expected, atol=1e-12)


def test_pairs_within_groups_are_left_out(rng, x64):
    K, L = symmetric(rng), symmetric(rng)
    groups = np.arange(len(K)) // 2
    i, j = np.triu_indices(len(K), 1)
    apart = groups[i] != groups[j]
    for method in ("pearson", "spearman"):
        expected = ORACLES[method](K[i, j][apart], L[i, j][apart])
        np.testing.assert_allclose(rsa(K, L, method, groups=groups), expected)
    with pytest.raises(ValueError, match="weighs all pairs together"):
        rsa(K, L, "whitened_cosine", groups=groups)


@pytest.mark.slow
@pytest.mark.parametrize("method", METHODS)
def test_jit_vmap_and_float32(rng, method):
    K, L = (jnp.asarray(symmetric(rng), jnp.float32) for _ in range(2))
    value = rsa(K, L, method)
    assert value.dtype == jnp.float32
    together = jax.jit(jax.vmap(lambda K, L: rsa(K, L, method)))
    batch = together(jnp.stack([K, L]), jnp.stack([L, L]))
    np.testing.assert_allclose(batch, [value, 1], rtol=1e-5)
    half = rsa(K.astype(jnp.bfloat16), L.astype(jnp.bfloat16), method)
    assert abs(float(half) - float(value)) < 0.1


@pytest.mark.slow
@pytest.mark.parametrize("method", ["pearson", "cosine", "whitened_cosine"])
def test_gradients(rng, x64, method):
    K, L = symmetric(rng, 5), symmetric(rng, 5)
    check_grads(lambda K, L: rsa(K, L, method), (K, L), 1)


@pytest.mark.parametrize("method", METHODS)
def test_equal_entries_have_no_correlation(rng, method):
    K, constant = symmetric(rng), np.full((9, 9), 1e7 / 3)
    zero = np.zeros((9, 9))
    if method == "kendall_tau_a":
        assert rsa(constant, K, method) == 0
    elif method in ("cosine", "whitened_cosine"):
        assert np.isfinite(rsa(constant, K, method))
        assert np.isnan(rsa(zero, K, method))
    else:
        assert np.isnan(rsa(constant, K, method))


@pytest.mark.parametrize(
    ("K", "L", "arguments", "words"),
    [
        (np.eye(3), np.eye(4), {}, "same samples"),
        (np.ones((3, 4)), np.eye(3), {}, "K must be square"),
        (np.eye(2), np.eye(2), {}, "at least 3 samples"),
        (np.eye(3), np.eye(3), {"method": "kendall"}, "method must be one of"),
        (np.full((4, 4), np.nan), np.eye(4), {}, "K must be finite"),
        (np.eye(3), np.eye(3), {"counts": [1, 2]}, "counts must have one entry"),
        (np.eye(3), np.eye(3), {"counts": [1, 2, -1]}, "counts must not be negative"),
    ],
)
def test_rsa_rejects(K, L, arguments, words):
    with pytest.raises(ValueError, match=words):
        rsa(K, L, **arguments)


@pytest.mark.parametrize("method", ["pearson", "spearman", "whitened_pearson"])
def test_a_large_constant_costs_float64_rsms_no_digits(rng, method):
    """Without x64 too, in which JAX computes in float32."""
    K, L = rng.normal(size=(2, 9, 9))
    K, L = K + K.T, K + K.T + L + L.T
    np.testing.assert_allclose(rsa(K + 1e9, L, method), rsa(K, L, method), atol=1e-5)
    np.testing.assert_allclose(rsa(K * 1e60, L, method), rsa(K, L, method), atol=1e-5)


def test_cosine_keeps_the_constant_and_loses_the_scale(rng):
    K, L = rng.normal(size=(2, 9, 9)) + 3
    np.testing.assert_allclose(
        rsa(K * 1e60, L, "cosine"), rsa(K, L, "cosine"), rtol=1e-5
    )
    assert abs(rsa(K + 1e3, L, "cosine") - rsa(K, L, "cosine")) > 1e-3
