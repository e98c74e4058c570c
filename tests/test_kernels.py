import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax.test_util import check_grads
from marks import slow

from semrsm_jax import RBF, Cosine, Identity, Linear, pair_statistics, rsm


def statistics(rng, samples):
    x = rng.normal(size=(samples, 5, 3)).astype(np.float32)
    return pair_statistics(x, matcher=Identity()), x.reshape(samples, -1)


@pytest.fixture
def stats(rng):
    return statistics(rng, 7)


def squared_distances(flat):
    return ((flat[:, None] - flat[None]) ** 2).sum(-1)


def test_linear_and_cosine_are_those_of_the_flattened_representations(stats):
    stats, flat = stats
    np.testing.assert_allclose(Linear()(stats), flat @ flat.T, rtol=1e-4, atol=1e-5)
    norm = np.linalg.norm(flat, axis=1)
    expected = flat @ flat.T / np.outer(norm, norm)
    np.testing.assert_allclose(Cosine()(stats), expected, atol=1e-5)


@pytest.mark.parametrize("samples", [7, slow(4)])  # an odd and an even number of pairs
def test_bandwidth_rules(rng, samples):
    stats, flat = statistics(rng, samples)
    d2 = squared_distances(flat)
    triangle = np.sort(d2[np.tril_indices(samples, -1)])
    lower = triangle[(triangle.size - 1) // 2]
    expected = {
        None: np.sqrt(np.median(d2[d2 > 0])),
        "median": np.sqrt(np.median(triangle)),
        "official": np.sqrt(lower) + 1e-3,
        "paper": np.sqrt(np.median(np.sqrt(d2[d2 > 0]))),
        2.5: 2.5,
    }
    for rule, sigma in expected.items():
        kernel = RBF(bandwidth=rule)
        np.testing.assert_allclose(kernel.sigma(stats), sigma, rtol=1e-5)
        fitted = kernel.fitted(lambda: [np.asarray(stats.sq_dist)])
        np.testing.assert_allclose(fitted.bandwidth, sigma, rtol=1e-5)
        np.testing.assert_allclose(
            kernel(stats), np.exp(-d2 / (2 * sigma**2)), rtol=1e-3, atol=1e-6
        )
        np.testing.assert_allclose(jax.jit(kernel)(stats), kernel(stats), rtol=1e-6)


def test_a_distance_that_is_not_known_gives_no_bandwidth():
    with pytest.raises(ValueError, match="distances must not be NaN"):
        RBF().fitted(lambda: [np.array([1.0, 2.0]), np.array([np.nan])])


def test_identical_samples_have_rbf_similarity_one():
    x = np.ones((3, 4, 2), np.float32)
    for rule in (None, "official", "paper", 0.1):
        kernel = RBF(rule)
        np.testing.assert_array_equal(rsm(x, matcher=Identity(), kernel=kernel), 1)


def test_zero_representations_have_cosine_zero():
    x = np.zeros((2, 3, 2), np.float32)
    x[1] = 1
    K = rsm(x, matcher=Identity(), kernel=Cosine())
    np.testing.assert_allclose(K, [[0, 0], [0, 1]], atol=1e-6)


@pytest.mark.parametrize("scale", [1e-15, slow(1e-4), slow(1e4), 1e12])
@pytest.mark.parametrize("kernel", [Cosine(), RBF()])
def test_bounded_kernels_do_not_depend_on_the_scale(rng, scale, kernel):
    x = rng.normal(size=(5, 4, 3)).astype(np.float32)
    K = rsm(x, matcher=Identity(), kernel=kernel)
    scaled = rsm(x * np.float32(scale), matcher=Identity(), kernel=kernel)
    np.testing.assert_allclose(scaled, K, rtol=1e-4)


@pytest.mark.parametrize("bandwidth", [0, -1.0, np.inf, np.nan, "mean", "", (1,), True])
def test_rbf_refuses(bandwidth):
    error = TypeError if isinstance(bandwidth, tuple | bool) else ValueError
    with pytest.raises(error, match="bandwidth must be a finite number above 0, None"):
        RBF(bandwidth=bandwidth)


def test_a_traced_bandwidth_is_named():
    with pytest.raises(TypeError, match="bandwidth must be a finite number above 0"):
        jax.jit(lambda sigma: RBF(bandwidth=sigma).bandwidth)(1.0)


@pytest.mark.slow
@pytest.mark.parametrize("kernel", [Linear(), Cosine(), RBF(2.0), RBF(), RBF("paper")])
def test_gradients_are_right_and_finite_at_zero_and_at_identical_samples(
    rng, x64, kernel
):
    def run(x):
        return rsm(x, matcher=Identity(), kernel=kernel)

    check_grads(run, (jnp.asarray(rng.normal(size=(4, 3, 2))),), 1, modes=["rev"])
    for x in (jnp.zeros((3, 2, 2)), jnp.ones((3, 2, 2))):
        assert np.isfinite(jax.grad(lambda x: run(x).sum())(x)).all()


def test_equal_kernels_do_not_retrace(stats):
    stats, _ = stats
    apply = jax.jit(lambda stats, kernel: kernel(stats), static_argnames="kernel")
    for kernel in (RBF(2.0), RBF(2.0), RBF(3.0)):
        apply(stats, kernel=kernel)
    assert apply._cache_size() == 2
