"""Correlations, and those of similarity with the divergence of outputs."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import scipy.spatial.distance
import scipy.stats
from hypothesis import given, settings
from hypothesis import strategies as st
from jax.test_util import check_grads
from only_rows import OnlyRows

import semrsm_jax as sj
from semrsm_jax.comparison import correlation
from semrsm_jax.output_similarity import over_pairs

# pearson, spearman


@pytest.mark.parametrize("values", ["normal", "ties", "offset", "scale"])
def test_correlations_are_scipys(rng, x64, values):
    a = rng.normal(size=300)
    b = a + rng.normal(size=300)
    if values == "ties":
        a, b = np.round(a), np.round(2 * b)
    elif values == "offset":
        a = a + 1e6
    elif values == "scale":
        a, b = 1e200 * a, 1e-200 * b
    for ours, theirs in (
        (sj.pearson, scipy.stats.pearsonr),
        (sj.spearman, scipy.stats.spearmanr),
        (sj.kendall, scipy.stats.kendalltau),
    ):
        expected = theirs(a, b).statistic
        tolerance = 1e-9 if values == "offset" else 1e-12
        np.testing.assert_allclose(ours(a, b), expected, atol=tolerance, rtol=0)


@settings(max_examples=30)
@given(st.lists(st.integers(0, 5), min_size=12, max_size=12), st.randoms())
def test_spearman_of_ties_is_scipys(values, random):
    a = np.array(values, np.float32)
    b = np.array(random.sample(values, len(values)), np.float32)
    if len(set(values)) > 1:
        expected = scipy.stats.spearmanr(a, b).statistic
        np.testing.assert_allclose(sj.spearman(a, b), expected, atol=1e-6)


@pytest.mark.slow
def test_correlations_under_jit_vmap_and_grad(rng, x64):
    a, b = rng.normal(size=(2, 4, 50))
    for f in (sj.pearson, sj.spearman, sj.kendall):
        loop = [f(*pair) for pair in zip(a, b, strict=True)]
        np.testing.assert_allclose(jax.vmap(f)(a, b), loop, atol=1e-13)
        np.testing.assert_allclose(jax.jit(f)(a[0], b[0]), loop[0], atol=1e-13)
    check_grads(sj.pearson, (a[0], b[0]), order=1)
    assert (jax.grad(sj.spearman)(a[0], b[0]) == 0).all()


def test_kendall_a_counts_all_pairs():
    """By hand: of 6 pairs 2 are concordant, 3 discordant, 1 tied."""
    a, b = [1, 2, 3, 4], [1, 2, 2, 0.5]
    assert sj.kendall(a, b, "a") == pytest.approx((2 - 3) / 6)
    assert sj.kendall(a, np.ones(4), "a") == 0
    with pytest.raises(ValueError, match="variant must be one of 'a', 'b'"):
        sj.kendall(a, b, "c")


def test_entries_that_do_not_count_change_nothing():
    a, b = jnp.array([[1, 2, 4, 1e25], [1, 2, 3, 4]], jnp.float32)
    weights = jnp.array([1.0, 1, 1, 0])
    for f in (correlation.pearson, correlation.cosine, correlation.spearman):
        counted, own = jax.jit(f)(a, b, weights), jax.jit(f)(a[:3], b[:3])
        np.testing.assert_allclose(counted, own, rtol=1e-6)


def test_correlation_of_constants_is_nan():
    for f in (sj.pearson, sj.spearman, sj.kendall):
        assert np.isnan(f(np.full(7, 0.1), np.arange(7)))
    assert sj.pearson([1.0, 2], [5, 3]) == pytest.approx(-1)


@pytest.mark.parametrize(
    ("a", "b", "message"),
    [
        ([1.0, 2], [1.0, 2, 3], "equally many values"),
        ([1.0], [1.0], "at least 2"),
        ([1.0, np.nan], [1.0, 2], "a must be finite"),
        (np.ones((2, 2)), np.ones((2, 2)), "a must have 1 axes"),
    ],
)
def test_correlations_reject(a, b, message):
    for f in (sj.pearson, sj.spearman, sj.kendall):
        with pytest.raises(ValueError, match=message):
            f(a, b)


# output_correlation


@pytest.fixture
def case(rng):
    p = rng.dirichlet(np.full(6, 0.3), 23)
    K = -scipy.spatial.distance.cdist(p, p) + 0.1 * rng.normal(size=(23, 23))
    return (K + K.T) / 2, p


def _expected(K, divergence, pairs):
    a, b = K[pairs], divergence[pairs]
    return scipy.stats.pearsonr(a, b).statistic, scipy.stats.spearmanr(a, b).statistic


@pytest.fixture
def small_blocks(monkeypatch):
    """Tiles and blocks that a small RSM is cut into, too."""
    monkeypatch.setattr(over_pairs, "_TILE", 5)
    monkeypatch.setattr(over_pairs, "_BLOCK", 7)


@pytest.mark.parametrize("ties", [False, True])
def test_output_correlation_is_scipys_over_the_triangle(case, x64, small_blocks, ties):
    K, p = case
    K = np.round(K, 1) if ties else K
    divergence = np.asarray(sj.jensen_shannon_matrix(p))
    expected = _expected(K, divergence, np.triu_indices(23, 1))
    correlation = sj.output_correlation(K, p)
    np.testing.assert_allclose(correlation[:2], expected, atol=1e-12, rtol=0)
    assert correlation.pearson < -0.3
    assert correlation.pairs == 253
    both = sj.output_correlation(K, p, triangle=False)
    np.testing.assert_allclose(both[:2], expected, atol=1e-12, rtol=0)
    assert both.pairs == 506
    opposite = sj.output_correlation(K, p, negative=True)
    np.testing.assert_allclose(opposite[:2], -np.array(expected), atol=1e-12, rtol=0)


@pytest.mark.parametrize("triangle", [False, True])
def test_output_correlation_by_groups_is_scipys(case, x64, small_blocks, triangle):
    K, p = case
    groups = np.arange(23) % 5
    divergence = np.asarray(sj.jensen_shannon_matrix(p))
    every = np.triu(np.ones_like(K), 1) if triangle else 1 - np.eye(23)
    for within, chosen in (
        ("drop", every * np.not_equal.outer(groups, groups)),
        ("keep", every),
    ):
        got = sj.output_correlation(
            K, p, triangle=triangle, groups=groups, within_groups=within
        )
        expected = _expected(K, divergence, np.nonzero(chosen))
        np.testing.assert_allclose(got[:2], expected, atol=1e-12, rtol=0)
        assert got.pairs == chosen.sum()


def test_output_correlation_in_float32_and_one_tile(case):
    K, p = case
    correlation = sj.output_correlation(np.float32(K), np.float32(p))
    divergence = np.asarray(sj.jensen_shannon_matrix(np.float32(p)))
    expected = _expected(np.float32(K), divergence, np.triu_indices(23, 1))
    np.testing.assert_allclose(correlation[:2], expected, atol=1e-6)
    assert sj.output_correlation(K, p, ranks=False).spearman is None


def test_output_correlation_of_two_sets_reads_rows_only(case, x64, small_blocks, rng):
    K, p = case
    K, q = K[:, :11], rng.dirichlet(np.full(6, 0.3), 11)

    divergence = np.asarray(sj.jensen_shannon_matrix(p, q))
    expected = _expected(K, divergence, np.ones(K.shape, bool))
    calls = []
    rows = OnlyRows(K)
    correlation = sj.output_correlation(rows, p, q, progress=lambda *a: calls.append(a))
    assert rows.most <= 5
    np.testing.assert_allclose(correlation[:2], expected, atol=1e-12, rtol=0)
    assert calls[-1] == (253, 253)


def test_output_correlation_from_logits(case, rng):
    K, p = case
    with np.errstate(divide="ignore"):
        logits = np.log(p) + rng.normal(size=(23, 1))
    np.testing.assert_allclose(
        sj.output_correlation(K, logits, from_logits=True),
        sj.output_correlation(K, p),
        atol=1e-5,
    )


def test_output_correlation_of_a_constant_is_nan(case):
    K, p = case
    correlation = sj.output_correlation(np.full_like(K, 0.1), p)
    assert np.isnan(correlation.pearson) and np.isnan(correlation.spearman)


def test_output_correlation_rejects(case, small_blocks):
    K, p = case
    far = K + 9 * (np.arange(23)[:, None] - np.arange(23) == 20)
    for K_, p_, q_, message in (
        (K[:5], p, None, r"K must have shape \(23, 23\).* got \(5, 23\)"),
        (K, p, p[:, 1:] + p[:, :1] / 5, "the same classes, got 6 and 5"),
        (np.where(K > 0.3, np.nan, K), p, None, "K must be finite"),
        (np.triu(K), p, None, "K must be symmetric.*triangle=False"),
        (far, p, None, "K must be symmetric.*triangle=False"),
        (K[:1, :1], p[:1], None, "at least 2 pairs"),
    ):
        K_ = np.where(np.eye(*K_.shape) > 0, np.nan, K_) if "finite" in message else K_
        with pytest.raises(ValueError, match=message):
            sj.output_correlation(K_, p_, q_)


@pytest.mark.parametrize("measure", [sj.pearson, sj.spearman, sj.kendall])
def test_a_large_constant_costs_float64_lists_no_digits(rng, measure):
    """Without x64 too, in which JAX computes in float32."""
    a = rng.normal(size=50)
    b = a + rng.normal(size=50)
    np.testing.assert_allclose(measure(a + 1e9, b - 1e9), measure(a, b), atol=1e-5)
    assert np.isnan(measure(np.full(50, 1e9), b))
