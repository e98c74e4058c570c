"""Error rates and coverage on 1,000 simulated data sets each, in one program."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from inference_cases import distances, gram
from marks import long, with_long

import semrsm_jax as sj

# 1,000 simulated data sets each, in one compiled program.

DATA_SETS = 1000
SAMPLES, CHANNELS = 32, 4


def simulate(one):
    keys = jax.random.split(jax.random.key(11), DATA_SETS)
    return jax.tree.map(np.asarray, jax.jit(lambda k: jax.lax.map(one, k))(keys))


def normal(key, *shape):
    return jax.random.normal(key, shape or (SAMPLES, CHANNELS))


def rejects(p_values):
    return np.mean(p_values <= 0.05)


@pytest.mark.slow
@pytest.mark.parametrize(
    ("statistic", "rsm", "alternative"),
    [
        (sj.CKA(), gram, "greater"),
        long(sj.CKA("biased"), gram, "greater"),
        (sj.RSA("pearson"), distances, "two-sided"),
        long(sj.RSA("spearman"), distances, "less"),
    ],
    ids=lambda v: getattr(v, "__name__", str(v)),
)
def test_type_1_error_of_permutation_test(statistic, rsm, alternative):
    def one(key):
        a, b, draws = jax.random.split(key, 3)
        K, L = rsm(normal(a)), rsm(normal(b))
        return sj.permutation_test(
            K, L, statistic, key=draws, resamples=99, alternative=alternative
        ).p_value

    assert 0.03 <= rejects(simulate(one)) <= 0.07


@pytest.mark.slow
def test_type_1_error_of_max_statistic_over_layers():
    def one(key):
        a, b, draws = jax.random.split(key, 3)
        layers = normal(a, 4, SAMPLES, CHANNELS)
        K = jax.vmap(gram)(jnp.cumsum(layers, 0))
        test = sj.permutation_test(K, gram(normal(b)), key=draws, resamples=99)
        return test.statistic, test.null

    results = zip(*simulate(one), strict=True)
    p_values = np.array([sj.max_statistic(*test).min() for test in results])
    assert 0.03 <= rejects(p_values) <= 0.07


def output_divergence(x):
    """Jensen-Shannon divergence of the classes that a linear readout gives."""
    p = jax.nn.softmax(2 * x)
    m = (p[:, None] + p[None, :]) / 2
    entropy = lambda q: -jnp.sum(q * jnp.log(q), -1)  # noqa: E731
    return entropy(m) - (entropy(p)[:, None] + entropy(p)[None, :]) / 2


@pytest.mark.long
@pytest.mark.parametrize(
    ("statistic", "rsm", "output"),
    [
        (sj.CKA(), gram, gram),
        (sj.RSA("pearson"), distances, distances),
        (sj.RSA("pearson"), gram, output_divergence),
        (sj.RSA("spearman"), distances, distances),
    ],
    ids=["CKA", "pearson", "JSD", "spearman"],
)
def test_type_1_error_of_difference_test(statistic, rsm, output):
    """Two definitions, each as noisy a view of what the output depends on."""

    def one(key):
        z, a, b, c, draws = jax.random.split(key, 5)
        z = normal(z)
        first, second = (rsm(z + 0.6 * normal(k)) for k in (a, b))
        L = output(z + normal(c))
        return sj.difference_test(
            (first, L), (second, L), statistic, key=draws, resamples=400
        ).p_value

    assert 0.03 <= rejects(simulate(one)) <= 0.07


@pytest.mark.slow
@pytest.mark.parametrize("groups", [long(None), np.repeat(np.arange(15), 2)])
def test_type_1_error_of_paired_test(groups):
    def one(key):
        a, b, shared, draws = jax.random.split(key, 4)
        gain = normal(a, 30) - normal(b, 30)
        if groups is not None:
            gain += 2 * normal(shared, 15)[groups]
        test = sj.paired_test(
            gain, jnp.zeros(30), key=draws, resamples=399, groups=groups
        )
        return test.p_value, (test.low <= 0) & (test.high >= 0)

    p_values, covered = simulate(one)
    assert 0.03 <= rejects(p_values) <= 0.07
    assert 0.91 <= covered.mean() <= 0.98


@pytest.mark.slow
@pytest.mark.parametrize("samples", with_long([32, 64], 64))
def test_coverage_of_the_interval_of_cka(samples):
    """Y = X A + noise, for which linear CKA is known: |Sxy|^2 / (|Sxx| |Syy|)."""
    A = np.random.default_rng(0).normal(size=(CHANNELS, CHANNELS)) / 2
    sxx, syy = 1.25 * np.eye(CHANNELS), A.T @ A + 0.49 * np.eye(CHANNELS)
    truth = np.sum(A**2) / np.linalg.norm(sxx) / np.linalg.norm(syy)

    def one(key):
        z, a, b, draws = jax.random.split(key, 4)
        z = normal(z, samples, CHANNELS)
        x = z + 0.5 * normal(a, *z.shape)
        y = z @ A + 0.7 * normal(b, *z.shape)
        interval = sj.bootstrap_interval(gram(x), gram(y), key=draws, resamples=500)
        return (interval.low <= truth) & (truth <= interval.high)

    assert 0.92 <= simulate(one).mean() <= 0.98
