from dataclasses import dataclass
from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import scipy.stats

from semrsm_jax import (
    CKA,
    RSA,
    benjamini_hochberg,
    bootstrap_interval,
    cka,
    difference_test,
    holm,
    max_statistic,
    paired_test,
    permutation_test,
    rsa,
)
from semrsm_jax.comparison import mean_interval, median_interval, score_interval
from semrsm_jax.comparison.inference._resampling import null_p_value


@dataclass(frozen=True)
class Product:
    """A statistic of one's own, cheap to compile."""

    def __call__(self, K, L, *, counts=None):
        weights = 1 if counts is None else counts[:, None] * counts[None, :]
        return jnp.sum(weights * K * L) / jnp.sum(weights * jnp.ones_like(K))


@dataclass(frozen=True)
class Spearman:
    def __call__(self, K, L, *, counts=None):
        return rsa(K, L, "spearman", counts=counts)


def gram(x):
    return x @ x.T


def distances(x):
    return jnp.sum((x[:, None] - x[None, :]) ** 2, -1)


@pytest.fixture(scope="module")
def features():
    rng = np.random.default_rng(1)
    x = rng.normal(size=(20, 3))
    return x, x + rng.normal(size=(20, 3)), rng.normal(size=(20, 3))


@pytest.fixture(scope="module")
def rsms(features):
    return [np.float32(gram(x)) for x in features]


@pytest.mark.slow
def test_related_rsms_are_told_from_unrelated_ones(rsms):
    K, related, unrelated = rsms
    for statistic in (CKA(), RSA()):
        test = permutation_test(K, related, statistic, key=0, resamples=199)
        assert test.p_value == pytest.approx(1 / 200)
        assert test.null.shape == (199,)
        np.testing.assert_allclose(test.statistic, statistic(K, related), rtol=1e-5)
    assert permutation_test(K, unrelated, key=0, resamples=199).p_value > 0.05
    # Ranks are taken once, not of each permutation, which changes nothing.
    plain = permutation_test(K, related, Spearman(), key=0, resamples=199)
    np.testing.assert_allclose(test.null, plain.null, atol=1e-5)


@pytest.mark.slow
def test_null_is_that_of_permuted_samples(rng):
    K, L = rng.normal(size=(2, 3, 3)).astype(np.float32)
    orders = [[0, 1, 2], [0, 2, 1], [1, 0, 2], [1, 2, 0], [2, 0, 1], [2, 1, 0]]
    possible = [Product()(K, L[order][:, order]) for order in orders]
    null = np.asarray(permutation_test(K, L, Product(), key=0, resamples=300).null)
    nearest = np.abs(null[:, None] - np.array(possible)).argmin(1)
    np.testing.assert_allclose(null, np.array(possible)[nearest], atol=1e-6)
    # Each of the six is as likely.
    assert scipy.stats.chisquare(np.bincount(nearest, minlength=6)).pvalue > 0.01


@pytest.mark.slow
def test_p_value_counts_the_null_and_itself(rsms):
    K, L = rsms[0], rsms[2]
    tests = {
        side: permutation_test(K, L, Product(), key=1, resamples=99, alternative=side)
        for side in ("greater", "less", "two-sided")
    }
    null, observed = tests["greater"].null, tests["greater"].statistic
    greater, less = np.sum(null >= observed), np.sum(null <= observed)
    assert tests["greater"].p_value == pytest.approx((greater + 1) / 100)
    assert tests["less"].p_value == pytest.approx((less + 1) / 100)
    both = min(1, 2 * (min(greater, less) + 1) / 100)
    assert tests["two-sided"].p_value == pytest.approx(both)


def test_what_differs_by_rounding_is_tied():
    observed = jnp.float32(-3)
    steps = np.array([1 - 2**-22, 1, 1 + 2**-22, 1 - 1e-4, 1 + 1e-4])
    null = observed * jnp.float32(steps)  # three ties, one above and one below
    for side, count in (("greater", 4), ("less", 4), ("two-sided", 9)):
        p_value = null_p_value(observed, null, side)
        assert p_value == pytest.approx(min(1, (count + 1) / 6)), side


@pytest.mark.slow
def test_stacks_share_permutations_and_max_statistic_corrects(rsms):
    K, related, unrelated = rsms
    one = permutation_test(K, unrelated, key=3, resamples=99)
    both = permutation_test(np.stack([related, unrelated]), K, key=3, resamples=99)
    assert both.null.shape == (99, 2)
    pairs = permutation_test(
        np.stack([related, K]), np.stack([K, unrelated]), key=3, resamples=99
    )
    np.testing.assert_allclose(pairs.null[:, 1], one.null, rtol=1e-4, atol=1e-6)
    np.testing.assert_allclose(both.statistic[1], one.statistic, rtol=1e-4)
    corrected = max_statistic(both.statistic, both.null)
    assert np.all(corrected >= np.asarray(both.p_value))
    assert corrected[0] == pytest.approx(0.01)


def test_same_key_same_numbers(rsms):
    K, _, L = rsms
    first = permutation_test(K, L, Product(), key=5, resamples=99)
    again = permutation_test(K, L, Product(), key=jax.random.key(5), resamples=99)
    other = permutation_test(K, L, Product(), key=6, resamples=99)
    np.testing.assert_array_equal(first.null, again.null)
    assert not np.array_equal(first.null, other.null)
    legacy = permutation_test(K, L, Product(), key=jax.random.PRNGKey(5), resamples=99)
    np.testing.assert_array_equal(first.null, legacy.null)


def test_equal_statistics_compile_once(rsms):
    traces = []

    @dataclass(frozen=True)
    class Counted(Product):
        def __call__(self, K, L, *, counts=None):
            traces.append(1)
            return super().__call__(K, L, counts=counts)

    for key in (0, 1):
        permutation_test(rsms[0], rsms[1], Counted(), key=key, resamples=9)
    before = len(traces)
    permutation_test(rsms[0], rsms[1], Counted(), key=2, resamples=9)
    assert len(traces) == before


@pytest.mark.slow
def test_interval_holds_the_estimate_and_widens(rsms):
    K, L, _ = rsms
    narrow, wide = (
        bootstrap_interval(K, L, key=0, resamples=500, confidence=c) for c in (0.5, 0.9)
    )
    np.testing.assert_allclose(wide.estimate, cka(K, L, "unbiased"), rtol=1e-4)
    assert wide.low < narrow.low < narrow.estimate < narrow.high < wide.high
    assert wide.resampled.shape == (500,)
    np.testing.assert_allclose(wide.resampled.mean(), wide.estimate, atol=0.05)


@pytest.mark.slow
def test_spread_is_that_of_single_samples_and_pairs(rng):
    """A statistic of pairs beyond their samples: of it the plain bootstrap makes 3."""

    @dataclass(frozen=True)
    class Pairs:
        def __call__(self, K, L, *, counts=None):
            off = counts[:, None] * counts * (1 - jnp.eye(len(K)))
            return jnp.sum(off * K) / jnp.sum(off)

    n = 60
    signs = rng.choice([-1.0, 1.0], size=(400, n))
    truth = np.std([(s.sum() ** 2 - n) / (n * (n - 1)) for s in signs])
    errors = [
        bootstrap_interval(
            np.outer(s, s), np.eye(n), Pairs(), key=1, resamples=400
        ).standard_error
        for s in signs[:30]
    ]
    # Each s' s is known up to a chi-square of its own: their median will do.
    assert 0.6 < np.median(errors) / truth < 1.3


@pytest.mark.slow
def test_identical_rsms_have_an_interval_of_one_point(rsms):
    found = bootstrap_interval(rsms[0], rsms[0], key=0, resamples=500)
    np.testing.assert_allclose(found[:3], 1, rtol=1e-5)
    pair, statistic = (rsms[0], rsms[1]), RSA("pearson")
    none = difference_test(pair, pair, statistic, key=0, resamples=500)
    assert none.difference == none.low == none.high == 0
    assert none.p_value == 1


def test_difference_of_definitions_is_found_and_antisymmetric(features):
    x, y, z = features
    near, far, output = (
        np.asarray(distances(f), np.float32) for f in (x + 0.2 * z, x + 2 * z, x)
    )
    statistic = RSA("pearson")
    test = partial(difference_test, statistic=statistic, key=2, resamples=500)
    found = test((near, output), (far, output))
    np.testing.assert_allclose(found.first, rsa(near, output, "pearson"), rtol=1e-4)
    np.testing.assert_allclose(
        found.difference, found.first - found.second, rtol=1e-3, atol=1e-6
    )
    assert 0 < found.low < found.difference < found.high
    t = found.difference / found.standard_error
    np.testing.assert_allclose(
        found.p_value, 2 * scipy.stats.t.sf(t, 19), rtol=1e-3, atol=1e-7
    )
    assert found.p_value < 0.05
    turned = test((far, output), (near, output))
    np.testing.assert_allclose(turned.difference, -found.difference, rtol=1e-4)
    np.testing.assert_allclose(
        [turned.low, turned.high], [-found.high, -found.low], atol=1e-4
    )
    np.testing.assert_allclose(turned.p_value, found.p_value, atol=1e-4)


@pytest.mark.slow
def test_paired_test_meets_scipys_permutation_test(rng, x64):
    a, b = rng.normal(size=(2, 12))
    a += 0.5
    got = paired_test(a, b, key=0, resamples=20000)
    exact = scipy.stats.permutation_test(
        (a, b),
        lambda a, b: np.mean(a - b),
        permutation_type="samples",
        n_resamples=np.inf,
    )
    assert got.p_value == pytest.approx(exact.pvalue, abs=0.015)
    assert got.difference == pytest.approx(np.mean(a - b))
    assert got.low < got.difference < got.high
    none = paired_test(a, a, key=0, resamples=20000)
    assert none.p_value == 1 and none.low == none.high == 0


@pytest.mark.slow
def test_paired_test_of_several_scores_and_groups(rng):
    a, b = rng.normal(size=(2, 30, 4)).astype(np.float32)
    several = paired_test(a, b, key=0, resamples=200)
    assert several.null.shape == (200, 4) and several.p_value.shape == (4,)
    np.testing.assert_allclose(several.difference, (a - b).mean(0), rtol=1e-4)
    one = paired_test(a[:, 2], b[:, 2], key=0, resamples=200)
    np.testing.assert_allclose(one.null, several.null[:, 2], atol=1e-5)
    np.testing.assert_allclose(one.low, several.low[2], atol=1e-5)
    # Copies of each query add no knowledge where they are known to be copies.
    copies = paired_test(
        np.repeat(a, 5, 0), np.repeat(b, 5, 0), key=0, resamples=200,
        groups=np.repeat(np.arange(30), 5),
    )  # fmt: skip
    np.testing.assert_allclose(copies.p_value, several.p_value)
    np.testing.assert_allclose(copies.low, several.low, atol=1e-5)


def weighted_means(scores, counts):
    """A statistic of several arrays."""
    return jnp.stack([counts @ each / jnp.sum(counts) for each in scores])


@pytest.mark.slow
def test_interval_of_a_mean_is_scipys_and_wider_by_groups(rng, x64):
    values = rng.exponential(size=40)
    interval = score_interval(values, key=0, resamples=20000)
    # Newer releases call it rng; SciPy 1.14 knows only this name.
    settings = {"random_state": np.random.default_rng(0)}
    expected = scipy.stats.bootstrap(
        (values,), np.mean, n_resamples=20000, method="BCa", **settings
    )
    ends = expected.confidence_interval
    # Ours is wider by sqrt(n / (n - 1)), for the standard error is unbiased.
    np.testing.assert_allclose(
        interval[1:3], [ends.low, ends.high], atol=0.1 * expected.standard_error
    )
    exact = values.std(ddof=1) / np.sqrt(40)
    np.testing.assert_allclose(interval.standard_error, exact, rtol=0.02)
    # Copies of each value add no knowledge where they are known to be copies.
    names = np.repeat([f"scene {i:02d}" for i in range(40)], 5)
    copies = np.repeat(values, 5)
    copies[::5], copies[5:10] = np.nan, np.nan
    grouped = score_interval(copies, key=0, groups=names, resamples=20000)
    without = score_interval(np.delete(values, 1), key=0, resamples=20000)
    np.testing.assert_allclose(grouped[:4], without[:4], rtol=1e-9)


@pytest.mark.slow
def test_interval_of_ones_own_statistic_of_several_arrays(rng):
    a, b = np.float32(rng.normal(size=(2, 30)))
    settings = {"key": 0, "groups": np.arange(30) // 3, "resamples": 300}
    own = score_interval((a, b), weighted_means, **settings)
    for k, one in enumerate((a, b)):
        mean = score_interval(one, **settings)
        np.testing.assert_allclose([e[k] for e in own[:4]], mean[:4], rtol=1e-4)
        assert mean.low < one.mean() < mean.high
    # The groups say how many samples there are, of arrays of any shape.
    turned = score_interval({"b": b[None]}, lambda s, c: s["b"][0] @ c / 30, **settings)
    assert turned.estimate == pytest.approx(float(b.mean()), rel=1e-5)


def test_mean_and_median_intervals(rng):
    draws = rng.normal(1, 2, size=(5, 4000))
    low, high = mean_interval(draws)[1:3]
    assert np.mean((low <= 1) & (high >= 1)) == pytest.approx(0.95, abs=0.01)
    one = mean_interval(draws[:, 0], 0.9)
    expected = scipy.stats.t.interval(0.9, 4, one.estimate, one.standard_error)
    np.testing.assert_allclose(one[1:3], expected)
    assert np.isnan(mean_interval([1.0]).low)
    # Of 6 values, the extremes hold the median with 1 - 2 / 2**6.
    assert median_interval([5.0, 1, 2, 3, 4, 60]).floats() == (3.5, 1, 60)
    assert np.isnan(median_interval(np.arange(5.0)).low)


def test_an_interval_of_some_samples_is_drawn_in_around_the_estimate_of_all(rsms):
    part = bootstrap_interval(rsms[0], rsms[1], key=0, resamples=500)
    placed = part.scaled(0.5, 1 / 4)
    assert placed.estimate == 0.5
    width = (placed.high - placed.low) / (part.high - part.low)
    assert width == pytest.approx(0.5, rel=1e-5)
    np.testing.assert_allclose(placed.resampled.std(), part.resampled.std() / 2, 1e-4)
    assert placed.standard_error == pytest.approx(float(part.standard_error) / 2)


@pytest.mark.slow
def test_groups_are_resampled_and_exchanged_as_wholes(rsms, rng):
    """Copies of each sample, known to be copies, weigh as much as the sample alone."""
    K, L = rsms[0], rsms[1]
    groups, index = np.repeat(np.arange(20), 2), np.repeat(np.arange(20), 2)
    K2, L2 = (m[index][:, index] for m in (K, L))
    alone = bootstrap_interval(K, L, Product(), key=0, resamples=500)
    pairs = bootstrap_interval(K2, L2, Product(), key=0, resamples=500, groups=groups)
    np.testing.assert_allclose(pairs[:4], alone[:4], rtol=1e-4)
    alone = difference_test((K, L), (K, K), Product(), key=0, resamples=500)
    pairs = difference_test(
        (K2, L2), (K2, K2), Product(), key=0, resamples=500, groups=groups
    )
    np.testing.assert_allclose(pairs[:5], alone[:5], rtol=1e-3)
    assert pairs.interval.floats() == tuple(map(float, pairs[:3]))
    # Groups need not stand together, and are exchanged as their samples would be.
    order = rng.permutation(40)
    alone = permutation_test(K, L, Product(), key=0, resamples=99)
    apart = (m[order][:, order] for m in (K2, L2))
    pairs = permutation_test(
        *apart, Product(), key=0, resamples=99, groups=groups[order]
    )
    np.testing.assert_allclose(pairs.null, alone.null, rtol=1e-4)
    np.testing.assert_allclose(pairs.statistic, alone.statistic, rtol=1e-4)


def test_holm_steps_down():
    # Holm 1979: multiplied by 4, 3, 2, 1 from the smallest up, never falling.
    p = np.array([[0.04, 0.01], [0.03, 0.005]])
    np.testing.assert_allclose(holm(p), [[0.06, 0.03], [0.06, 0.02]])
    assert holm([0.9, 0.8]).tolist() == [1, 1]
    assert holm([]).shape == (0,)


def test_benjamini_hochberg_is_scipys(rng):
    p = rng.random((3, 5))
    expected = scipy.stats.false_discovery_control(p, axis=None)
    np.testing.assert_allclose(benjamini_hochberg(p).ravel(), expected.ravel())
    assert np.all(benjamini_hochberg(p) <= holm(p) + 1e-15)
    assert benjamini_hochberg([]).shape == (0,)


def test_max_statistic_counts_the_most_extreme(rng):
    null = rng.normal(size=(19, 3))
    got = max_statistic(np.array([9.0, 0.5, -9.0]), null)
    middle = (1 + np.sum(null.max(1) >= 0.5)) / 20
    np.testing.assert_allclose(got, [0.05, middle, 1], rtol=1e-6)
    both = max_statistic(np.array([9.0, 0.5, -9.0]), null, "two-sided")
    np.testing.assert_allclose(both[[0, 2]], 0.05, rtol=1e-6)
    less = max_statistic(np.array([9.0, 0.5, -9.0]), null, "less")
    np.testing.assert_allclose(less[[0, 2]], [1, 0.05], rtol=1e-6)


EYE = np.eye(6)


@pytest.mark.parametrize(
    ("call", "words"),
    [
        (lambda: permutation_test(EYE, np.eye(5), key=0), "same samples"),
        (lambda: permutation_test(np.ones(3), EYE, key=0), "stack"),
        (lambda: permutation_test([EYE] * 2, [EYE] * 3, key=0), "equally many"),
        (lambda: permutation_test(EYE * np.nan, EYE, key=0), "K must be finite"),
        (lambda: permutation_test(EYE, EYE, key=0, resamples=0), "at least 1"),
        (
            lambda: permutation_test(EYE, EYE, key=0, alternative="more"),
            "alternative must be one of",
        ),
        (lambda: permutation_test(EYE, EYE, RSA(), key=0), "statistic must be defined"),
        (lambda: permutation_test(np.eye(3), np.eye(3), key=0), "at least 4 samples"),
        (lambda: bootstrap_interval(EYE, np.eye(5), key=0), "same samples"),
        (lambda: bootstrap_interval(EYE, EYE, key=0, confidence=95), "confidence"),
        (lambda: bootstrap_interval(EYE, EYE, key=0, resamples=1), "at least 2"),
        (lambda: bootstrap_interval(EYE, EYE, RSA(), key=0), "must be defined"),
        (
            lambda: difference_test((EYE, EYE), (np.eye(5), np.eye(5)), key=0),
            "first and second",
        ),
        (lambda: paired_test(np.ones(3), np.ones(4), key=0), "same queries"),
        (lambda: paired_test(np.ones(1), np.ones(1), key=0), "at least 2 samples"),
        (lambda: paired_test([1, np.nan], [1, 2], key=0), "a must be finite"),
        (lambda: paired_test([1, 2], [1, 2], key=0, groups=[1]), "groups must have"),
        (lambda: paired_test([1, 2], [1, 2], key=0, groups=[1, 1]), "or groups"),
        (lambda: score_interval(1.0, key=0), "axis of samples"),
        (lambda: score_interval([1.0, np.inf], key=0), "scores must be finite"),
        (lambda: score_interval([1.0, np.nan], key=0), "at least 2 samples .*got 1"),
        (lambda: score_interval((), jnp.sum, key=0), "axis of samples"),
        (lambda: mean_interval([]), "values must hold"),
        (
            lambda: bootstrap_interval(EYE, EYE, key=0, resamples=10**12),
            "resamples must be at most 10,000,000 .*got 1,000,000,000,000",
        ),
        (
            lambda: permutation_test(EYE, EYE, key=0, resamples=10**12),
            "resamples must be at most",
        ),
        (lambda: permutation_test(EYE, EYE, key=0, groups=[0] * 4 + [1] * 2), "size"),
        (lambda: holm([0.5, 1.5]), "p_values must lie"),
        (lambda: benjamini_hochberg([np.nan]), "p_values must lie"),
        (lambda: max_statistic(np.ones(2), np.ones((5, 3))), "null must be"),
    ],
)
def test_inference_rejects(call, words):
    with pytest.raises(ValueError, match=words):
        call()


@pytest.mark.parametrize("key", [None, 1.5, True])
def test_key_must_be_a_seed_or_key(key):
    with pytest.raises(TypeError, match="key must be"):
        paired_test(np.ones(4), np.ones(4), key=key)


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        ({"confidence": "0.95"}, "confidence must be a number .*got '0.95'"),
        ({"confidence": True}, "confidence must be a number"),
        ({"groups": [0.5, 1, 2, 3]}, "groups must be integers or text"),
        ({"resamples": 10.5}, "resamples must be an integer"),
    ],
)
def test_arguments_of_another_type_are_named(arguments, words):
    for call in (
        lambda **a: paired_test(np.ones(4), np.ones(4), key=0, **a),
        lambda **a: score_interval(np.ones(4), key=0, **a),
        lambda **a: bootstrap_interval(np.eye(4), np.eye(4), key=0, **a),
    ):
        with pytest.raises(TypeError, match=words):
            call(**arguments)


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
        (CKA(), gram, "greater"),
        (CKA("biased"), gram, "greater"),
        (RSA("pearson"), distances, "two-sided"),
        (RSA("spearman"), distances, "less"),
    ],
    ids=lambda v: getattr(v, "__name__", str(v)),
)
def test_type_1_error_of_permutation_test(statistic, rsm, alternative):
    def one(key):
        a, b, draws = jax.random.split(key, 3)
        K, L = rsm(normal(a)), rsm(normal(b))
        return permutation_test(
            K, L, statistic, key=draws, resamples=99, alternative=alternative
        ).p_value

    assert 0.03 <= rejects(simulate(one)) <= 0.07


@pytest.mark.slow
def test_type_1_error_of_max_statistic_over_layers():
    def one(key):
        a, b, draws = jax.random.split(key, 3)
        layers = normal(a, 4, SAMPLES, CHANNELS)
        K = jax.vmap(gram)(jnp.cumsum(layers, 0))
        test = permutation_test(K, gram(normal(b)), key=draws, resamples=99)
        return test.statistic, test.null

    found = zip(*simulate(one), strict=True)
    p_values = np.array([max_statistic(*test).min() for test in found])
    assert 0.03 <= rejects(p_values) <= 0.07


def output_divergence(x):
    """Jensen-Shannon divergence of the classes that a linear readout gives."""
    p = jax.nn.softmax(2 * x)
    m = (p[:, None] + p[None, :]) / 2
    entropy = lambda q: -jnp.sum(q * jnp.log(q), -1)  # noqa: E731
    return entropy(m) - (entropy(p)[:, None] + entropy(p)[None, :]) / 2


@pytest.mark.slow
@pytest.mark.parametrize(
    ("statistic", "rsm", "output"),
    [
        (CKA(), gram, gram),
        (RSA("pearson"), distances, distances),
        (RSA("pearson"), gram, output_divergence),
        (RSA("spearman"), distances, distances),
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
        return difference_test(
            (first, L), (second, L), statistic, key=draws, resamples=400
        ).p_value

    assert 0.03 <= rejects(simulate(one)) <= 0.07


@pytest.mark.slow
@pytest.mark.parametrize("groups", [None, np.repeat(np.arange(15), 2)])
def test_type_1_error_of_paired_test(groups):
    def one(key):
        a, b, shared, draws = jax.random.split(key, 4)
        gain = normal(a, 30) - normal(b, 30)
        if groups is not None:
            gain += 2 * normal(shared, 15)[groups]
        test = paired_test(gain, jnp.zeros(30), key=draws, resamples=399, groups=groups)
        return test.p_value, (test.low <= 0) & (test.high >= 0)

    p_values, covered = simulate(one)
    assert 0.03 <= rejects(p_values) <= 0.07
    assert 0.91 <= covered.mean() <= 0.98


@pytest.mark.slow
@pytest.mark.parametrize("samples", [32, 64])
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
        found = bootstrap_interval(gram(x), gram(y), key=draws, resamples=500)
        return (found.low <= truth) & (truth <= found.high)

    assert 0.92 <= simulate(one).mean() <= 0.98
