"""The Jensen-Shannon divergence: oracle, digits, gradients, edges."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import scipy.spatial.distance
import scipy.special
import scipy.stats
from jax.test_util import check_grads

import semrsm_jax as sj


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
    np.testing.assert_allclose(ours, second_order, rtol=1e-6)


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
