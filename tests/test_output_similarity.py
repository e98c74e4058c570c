import jax
import jax.numpy as jnp
import numpy as np
import pytest
import scipy.spatial.distance
import scipy.special
import scipy.stats
from hypothesis import given, settings
from hypothesis import strategies as st
from jax.test_util import check_grads

import semrsm_jax as sj
from semrsm_jax.output_similarity import over_pairs


def probabilities(rng, shape, zeros=False, dtype=np.float64):
    p = rng.dirichlet(np.full(shape[-1], 0.3), shape[:-1])
    if zeros:
        p = np.where(rng.uniform(size=shape) < 0.4, 0, p)
        p[..., 0] += 1e-3
        p /= p.sum(-1, keepdims=True)
    return p.astype(dtype)


# jensen_shannon_divergence


@pytest.mark.parametrize("base", [None, 2, 10.0])
def test_divergence_is_scipys_squared_distance(rng, x64, base):
    p, q = probabilities(rng, (2, 200, 7), zeros=True)
    expected = scipy.spatial.distance.jensenshannon(p, q, base, axis=1) ** 2
    ours = sj.jensen_shannon_divergence(p, q, base=base)
    assert ours.dtype == jnp.float64
    np.testing.assert_allclose(ours, expected, rtol=1e-12, atol=1e-14)


def test_divergence_keeps_the_digits_of_nearly_equal_distributions(rng):
    """The direct formula has no digit left here: JSD is about 1e-10 in float32."""
    p = probabilities(rng, (50,))
    q = p * (1 + 3e-5 * rng.choice([-1, 1], 50))
    q /= q.sum()
    p32, q32 = p.astype(np.float32), q.astype(np.float32)
    p, q = p32.astype(np.float64), q32.astype(np.float64)
    m = (p + q) / 2
    second_order = np.sum((p - q) ** 2 / m) / 8
    ours = sj.jensen_shannon_divergence(p32, q32)
    assert ours.dtype == jnp.float32
    np.testing.assert_allclose(ours, second_order, rtol=1e-2)


def test_divergence_lies_between_0_and_log_2(rng):
    assert sj.jensen_shannon_divergence([1.0, 0], [0, 1.0]) == np.float32(np.log(2))
    assert sj.jensen_shannon_divergence([1.0, 0], [0, 1.0], base=2) == 1
    p = probabilities(rng, (100, 1000), dtype=np.float32)
    assert (sj.jensen_shannon_divergence(p, p) == 0).all()
    assert sj.jensen_shannon_divergence([1.0], [1.0]) == 0


def test_divergence_broadcasts_and_equals_the_matrix(rng):
    p, q = probabilities(rng, (3, 5)), probabilities(rng, (4, 5))
    grid = sj.jensen_shannon_divergence(p[:, None], q)
    matrix = sj.jensen_shannon_matrix(p, q, base=2)
    assert grid.shape == matrix.shape == (3, 4)
    np.testing.assert_allclose(matrix, grid / np.log(2), rtol=1e-6)
    own = sj.jensen_shannon_matrix(p)
    np.testing.assert_array_equal(own, own.T)
    assert (np.diag(own) == 0).all()


def test_divergence_of_large_logits(rng, x64):
    a, b = rng.normal(size=(2, 20, 6))
    softmax = scipy.special.softmax
    expected = sj.jensen_shannon_divergence(softmax(a, 1), softmax(b, 1))
    for offset in (0, 1e4, -1e4):
        ours = sj.jensen_shannon_divergence(a + offset, b - offset, from_logits=True)
        np.testing.assert_allclose(ours, expected, rtol=1e-9)
    # Classes that underflow to a probability of zero, and one that is ruled out.
    sure = np.array([1e30, 0, -1e30, -np.inf])
    other = np.array([0, 1e30, -1e30, -np.inf])
    ours = sj.jensen_shannon_divergence(sure, other, from_logits=True)
    assert ours == pytest.approx(np.log(2), rel=1e-15)


@pytest.mark.slow
def test_gradient_is_the_formulas_and_finite_at_zero(rng, x64):
    p, q = probabilities(rng, (2, 6))
    gradient = jax.grad(sj.jensen_shannon_divergence, (0, 1))
    m = (p + q) / 2
    for ours, one in zip(gradient(p, q), (p, q), strict=True):
        np.testing.assert_allclose(ours, np.log(one / m) / 2, rtol=1e-9)
    for one, other in (([0, 0, 1.0], [0, 0.5, 0.5]), ([1e-320, 1.0], [1.0, 0])):
        for ours in gradient(jnp.asarray(one), jnp.asarray(other)):
            assert jnp.isfinite(ours).all()
    np.testing.assert_array_equal(gradient(jnp.array([0.0, 1]), jnp.eye(2)[1])[0], 0)

    def of_logits(a, b):
        return sj.jensen_shannon_divergence(a, b, from_logits=True)

    a, b = rng.normal(size=(2, 5)) * 3
    check_grads(of_logits, (a, b), order=1)
    far = jax.grad(of_logits)(jnp.array([2000.0, 0, -2000]), jnp.array([0.0, 900, 0]))
    assert jnp.isfinite(far).all()


def test_gradient_of_the_matrix(rng, x64):
    p = probabilities(rng, (4, 3))
    ours = jax.grad(lambda p: sj.jensen_shannon_matrix(p).sum())(p)
    m = (p[:, None] + p) / 2
    np.testing.assert_allclose(ours, np.log(p[:, None] / m).sum(1), rtol=1e-9)


def test_divergence_under_jit_and_vmap(rng):
    p, q = probabilities(rng, (2, 8, 5), zeros=True, dtype=np.float32)
    eager = sj.jensen_shannon_divergence(p, q)
    np.testing.assert_allclose(jax.jit(sj.jensen_shannon_divergence)(p, q), eager, 1e-6)
    np.testing.assert_allclose(
        jax.vmap(sj.jensen_shannon_divergence)(p, q), eager, 1e-6
    )
    np.testing.assert_allclose(
        jax.jit(sj.jensen_shannon_matrix)(p, q).diagonal(), eager, 1e-6
    )


@pytest.mark.parametrize("dtype", [jnp.float16, jnp.bfloat16])
def test_divergence_accumulates_half_precision_in_float32(rng, dtype):
    p = jax.nn.softmax(jnp.asarray(rng.normal(size=(2, 500)), dtype))
    ours = sj.jensen_shannon_divergence(p[0], p[1])
    assert ours.dtype == jnp.float32
    p = np.asarray(p, np.float64)
    expected = scipy.spatial.distance.jensenshannon(p[0], p[1]) ** 2
    np.testing.assert_allclose(ours, expected, rtol=0.02)


@pytest.mark.parametrize(
    ("p", "q", "options", "message"),
    [
        ([0.5, 0.6], [0.5, 0.5], {}, "p must sum to 1 .* got a sum of 1.1; logits"),
        ([0.5, 0.5], [1.5, -0.5], {}, "q must be probabilities, at least 0, got -0.5"),
        ([0.5, 0.5], [0.5, np.nan], {}, "q must be finite"),
        ([0.5, 0.5], [1.0], {}, "the same classes, got 2 and 1"),
        (0.5, [1.0], {}, "p must have an axis of classes, got a scalar"),
        (np.zeros((2, 0)), [1.0], {}, "at least one entry along C"),
        (np.full((2, 2), 0.5), np.full((3, 2), 0.5), {}, r"\(2, 2\) and \(3, 2\)"),
        ([0.5, 0.5], [0.5, 0.5], {"base": 1}, "base must be None or .*got 1"),
        ([0.5, 0.5], [0.5, 0.5], {"base": -2.0}, "base must be None or"),
        ([0, np.nan], [0, 0.0], {"from_logits": True}, "p must be logits without NaN"),
        ([0, 0.0], [0, np.inf], {"from_logits": True}, "q must be logits without NaN"),
        ([-np.inf] * 2, [0, 0.0], {"from_logits": True}, "p must leave each sample"),
    ],
)
def test_divergence_rejects(p, q, options, message):
    with pytest.raises(ValueError, match=message):
        sj.jensen_shannon_divergence(p, q, **options)


def test_divergence_rejects_booleans_and_more_axes():
    with pytest.raises(TypeError, match="p must be a real array"):
        sj.jensen_shannon_divergence([True, False], [0.5, 0.5])
    with pytest.raises(ValueError, match="p must have 2 axes"):
        sj.jensen_shannon_matrix([0.5, 0.5])


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


@settings(deadline=None, max_examples=30)
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
    p = probabilities(rng, (23, 6))
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
    found = sj.output_correlation(K, p)
    np.testing.assert_allclose(found[:2], expected, atol=1e-12, rtol=0)
    assert found.pearson < -0.3
    assert found.pairs == 253
    both = sj.output_correlation(K, p, triangle=False)
    np.testing.assert_allclose(both[:2], expected, atol=1e-12, rtol=0)
    assert both.pairs == 506
    opposite = sj.output_correlation(K, p, negative=True)
    np.testing.assert_allclose(opposite[:2], -np.array(expected), atol=1e-12, rtol=0)


def test_output_correlation_in_float32_and_one_tile(case):
    K, p = case
    found = sj.output_correlation(np.float32(K), np.float32(p))
    divergence = np.asarray(sj.jensen_shannon_matrix(np.float32(p)))
    expected = _expected(np.float32(K), divergence, np.triu_indices(23, 1))
    np.testing.assert_allclose(found[:2], expected, atol=1e-6)
    assert sj.output_correlation(K, p, ranks=False).spearman is None


def test_output_correlation_of_two_sets_reads_rows_only(case, x64, small_blocks, rng):
    K, p = case
    K, q = K[:, :11], probabilities(rng, (11, 6))

    class Rows:
        shape, dtype = K.shape, K.dtype

        def __getitem__(self, rows):
            assert isinstance(rows, slice) and rows.stop - rows.start <= 5
            return K[rows]

    divergence = np.asarray(sj.jensen_shannon_matrix(p, q))
    expected = _expected(K, divergence, np.ones(K.shape, bool))
    calls = []
    found = sj.output_correlation(Rows(), p, q, progress=lambda *a: calls.append(a))
    np.testing.assert_allclose(found[:2], expected, atol=1e-12, rtol=0)
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
    found = sj.output_correlation(np.full_like(K, 0.1), p)
    assert np.isnan(found.pearson) and np.isnan(found.spearman)


def test_output_correlation_rejects(case):
    K, p = case
    for K_, p_, q_, message in (
        (K[:5], p, None, r"K must have shape \(23, 23\).* got \(5, 23\)"),
        (K, p, p[:, 1:] + p[:, :1] / 5, "the same classes, got 6 and 5"),
        (np.where(K > 0.3, np.nan, K), p, None, "K must be finite"),
        (np.triu(K), p, None, "K must be symmetric.*triangle=False"),
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
