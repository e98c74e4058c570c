"""Intervals by resampling, differences of two, and paired tests."""

import warnings
from dataclasses import dataclass
from functools import partial

import jax.numpy as jnp
import numpy as np
import pytest
import scipy.stats
from inference_cases import Product, distances, features, rsms  # noqa: F401

from semrsm_jax import (
    RSA,
    bootstrap_interval,
    cka,
    difference_test,
    paired_test,
    permutation_test,
    rsa,
)
from semrsm_jax.comparison import mean_interval, median_interval, score_interval


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
def test_a_difference_has_the_spread_of_single_samples_and_pairs(rng):
    """Of a statistic of pairs alone the jackknife makes twice the variance."""

    @dataclass(frozen=True)
    class Pairs:
        def __call__(self, K, L, *, counts=None):
            off = counts[:, None] * counts * (1 - jnp.eye(len(K)))
            return jnp.sum(off * K) / jnp.sum(off)

    n = 60
    none = np.eye(n) * 0, np.eye(n)
    for x, share in (
        (np.resize([1.0, 1, 1, -1], n), 1),
        (np.repeat([1, -1], n // 2), 2),
    ):
        K = np.outer(x, x) + (share == 2) * 1e-3 * np.add.outer(x, x)
        got = difference_test((K, np.eye(n)), none, Pairs(), key=1, resamples=2000)
        rows = K.sum(1) - K.diagonal()
        without = (rows.sum() - 2 * rows) / ((n - 1) * (n - 2))
        jackknife = np.sqrt((n - 1) / n * np.sum((without - without.mean()) ** 2))
        expected = jackknife / np.sqrt(share)
        assert got.standard_error == pytest.approx(expected, rel=0.15)


@pytest.mark.slow
def test_identical_rsms_have_an_interval_of_one_point(rsms):
    interval = bootstrap_interval(rsms[0], rsms[0], key=0, resamples=500)
    np.testing.assert_allclose(interval[:3], 1, rtol=1e-5)
    pair, statistic = (rsms[0], rsms[1]), RSA("pearson")
    none = difference_test(pair, pair, statistic, key=0, resamples=500)
    assert none.difference == none.low == none.high == 0
    assert none.p_value == 1


@pytest.mark.slow
def test_difference_of_definitions_is_found_and_antisymmetric(features):
    x, y, z = features
    near, far, output = (
        np.asarray(distances(f), np.float32) for f in (x + 0.2 * z, x + 2 * z, x)
    )
    statistic = RSA("pearson")
    test = partial(difference_test, statistic=statistic, key=2, resamples=500)
    difference = test((near, output), (far, output))
    np.testing.assert_allclose(
        difference.first, rsa(near, output, "pearson"), rtol=1e-4
    )
    np.testing.assert_allclose(
        difference.difference,
        difference.first - difference.second,
        rtol=1e-3,
        atol=1e-6,
    )
    assert 0 < difference.low < difference.difference < difference.high
    assert difference.p_value < 0.05
    turned = test((far, output), (near, output))
    np.testing.assert_allclose(turned.difference, -difference.difference, rtol=1e-4)
    np.testing.assert_allclose(
        [turned.low, turned.high], [-difference.high, -difference.low], atol=1e-4
    )
    np.testing.assert_allclose(turned.p_value, difference.p_value, atol=1e-4)


def hall(x, axis=-1):
    """Hall's transformation of Student's t, word for word."""
    n = x.shape[axis]
    t = x.mean(axis) / x.std(axis, ddof=1) * np.sqrt(n)
    a = scipy.stats.skew(x, axis) / np.sqrt(n)
    return t + a * t**2 / 3 + a**2 * t**3 / 27 + a / 6


@pytest.mark.slow
def test_few_and_skewed_differences_are_warned_of():
    skewed = np.r_[np.zeros(11), 5.0]
    with pytest.warns(UserWarning, match="12 queries or groups are few"):
        paired_test(skewed, np.zeros(12), key=0, resamples=19)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        paired_test(np.arange(12.0), np.full(12, 4.0), key=0, resamples=19)


@pytest.mark.parametrize("alternative", ["two-sided", "greater", "less"])
def test_paired_test_is_scipys_permutation_test_of_halls_statistic(
    rng, x64, alternative
):
    a, b = rng.normal(size=(2, 12))
    a += 0.5
    got = paired_test(a, b, key=0, resamples=5000, alternative=alternative)
    exact = scipy.stats.permutation_test(
        (a, b),
        lambda a, b, axis=-1: hall(a - b, axis),
        permutation_type="samples",
        n_resamples=np.inf,
        vectorized=True,
        alternative=alternative,
    )
    assert got.statistic == pytest.approx(exact.statistic)
    assert got.p_value == pytest.approx(exact.pvalue, abs=0.02)
    assert got.difference == pytest.approx(np.mean(a - b))
    assert got.low < got.difference < got.high
    assert got.standard_error == pytest.approx(np.std(a - b, ddof=1) / np.sqrt(12))
    none = paired_test(a, a, key=0, resamples=5000)
    assert none.p_value == 1 and none.low == none.high == 0


def test_unsigned_scores_are_subtracted_with_their_sign(no_x64):
    a, b = np.arange(3, 13, dtype=np.uint64), np.full(10, 5, np.uint64)
    assert paired_test(a, b, key=0, resamples=9).difference == 2.5


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


def mean_of(scores, counts):
    return counts @ scores / jnp.sum(counts)


@pytest.mark.slow
def test_interval_of_a_statistic_is_scipys(rng, x64):
    values = rng.exponential(size=40)
    interval = score_interval(values, mean_of, key=0, resamples=20000)
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


@pytest.mark.slow
def test_interval_of_a_mean_is_halls_and_wider_by_groups(rng, x64):
    values = rng.exponential(size=40)
    interval = score_interval(values, key=0, resamples=2000)
    assert interval.standard_error == pytest.approx(scipy.stats.sem(values))
    # Both ends are as far, on the scale of the transformation.
    far = [hall(values - end) for end in interval[1:3]]
    assert far[0] == pytest.approx(-far[1]) and far[0] > 1.9
    # Of normal and symmetric values that is Student's t.
    normal = rng.normal(size=100)
    even = score_interval(np.r_[normal, -normal], key=0, resamples=20000)
    reach = scipy.stats.t.ppf(0.975, 199) * even.standard_error
    np.testing.assert_allclose(even[1:3], [-reach, reach], rtol=0.03)
    # Copies of each value add no knowledge where they are known to be copies.
    names = np.repeat([f"scene {i:02d}" for i in range(40)], 5)
    copies = np.repeat(values, 5)
    copies[::5], copies[5:10] = np.nan, np.nan
    grouped = score_interval(copies, key=0, groups=names, resamples=2000)
    without = score_interval(np.delete(values, 1), key=0, resamples=2000)
    np.testing.assert_allclose(grouped[:4], without[:4], rtol=1e-9)


@pytest.mark.slow
def test_interval_of_ones_own_statistic_of_several_arrays(rng):
    a, b = np.float32(rng.normal(size=(2, 30)))
    settings = {"key": 0, "groups": np.arange(30) // 3, "resamples": 300}
    own = score_interval((a, b), weighted_means, **settings)
    for k, one in enumerate((a, b)):
        mean = score_interval(one, mean_of, **settings)
        np.testing.assert_allclose([e[k] for e in own[:4]], mean[:4], rtol=1e-4)
        assert mean.low < one.mean() < mean.high
    # The groups say how many samples there are, of arrays of any shape.
    turned = score_interval({"b": b[None]}, lambda s, c: s["b"][0] @ c / 30, **settings)
    assert turned.estimate == pytest.approx(float(b.mean()), rel=1e-5)


def test_resampled_shares_are_shares():
    share = score_interval(np.array([0, 1, 1, 1, 1]), mean_of, key=0).resampled
    np.testing.assert_allclose(5 * share, np.round(5 * share), atol=1e-6)
    assert share.max() <= 1


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


@pytest.mark.slow
def test_an_interval_of_some_samples_is_drawn_in_around_the_estimate_of_all(rsms):
    part = bootstrap_interval(*rsms[:2], Product(), key=0, resamples=500)
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
