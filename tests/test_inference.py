"""Permutation tests, corrections for several tests, and rejected arguments."""

from dataclasses import dataclass
from functools import partial
from itertools import permutations
from types import SimpleNamespace

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import scipy.stats
from inference_cases import Product, features, rsms  # noqa: F401

from semrsm_jax import (
    CKA,
    HSIC,
    RSA,
    MutualKNN,
    benjamini_hochberg,
    bootstrap_interval,
    difference_test,
    holm,
    max_statistic,
    paired_test,
    permutation_test,
    rsa,
)
from semrsm_jax.comparison import mean_interval, score_interval
from semrsm_jax.comparison.grouping import carried_groups, check_groups
from semrsm_jax.comparison.inference._resampling import null_p_value


@dataclass(frozen=True)
class Spearman:
    def __call__(self, K, L, *, counts=None):
        return rsa(K, L, "spearman", counts=counts)


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
    K, L = rng.normal(size=(2, 4, 4)).astype(np.float32)
    orders = [list(order) for order in permutations(range(4))]
    possible = [Product()(K, L[order][:, order]) for order in orders]
    null = np.asarray(permutation_test(K, L, Product(), key=0, resamples=600).null)
    nearest = np.abs(null[:, None] - np.array(possible)).argmin(1)
    np.testing.assert_allclose(null, np.array(possible)[nearest], atol=1e-6)
    # Each of them is as likely.
    assert scipy.stats.chisquare(np.bincount(nearest, minlength=24)).pvalue > 0.01


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
    for side in ("greater", "less"):  # an undefined value is never counted out
        assert null_p_value(observed, jnp.full(4, jnp.nan), side) == 1


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


def test_groups_that_rsms_carry_are_taken_unless_they_differ():
    a, b = (SimpleNamespace(x_groups=tuple(each)) for each in ("aabb", "abab"))
    assert carried_groups(None, a, a, np.eye(4)) == a.x_groups
    assert carried_groups([1, 2], a, b) == [1, 2]
    assert carried_groups(None, np.eye(4)) is None
    with pytest.raises(ValueError, match="carry different ones"):
        carried_groups(None, a, b)


@pytest.mark.parametrize("dtype", [object, np.dtypes.StringDType()])
def test_groups_may_be_text_of_any_dtype(dtype):
    members, units = check_groups(np.array(["b", "a", "b"], dtype), 3)
    assert units == 2 and members.tolist() == [1, 0, 1]


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
    assert got.dtype == np.float64 and got[0] <= 0.05


EYE, THIRDS = np.eye(6), [0, 0, 1, 1, 2, 2]
ELEVEN = np.outer(np.arange(11.0), np.arange(11.0)) % 7
NINE, FIFTHS = np.arange(9.0), [*"aabbccdde"]
permuted = partial(permutation_test, key=0)
resampled = partial(bootstrap_interval, key=0)
differing = partial(difference_test, key=0)


@pytest.mark.parametrize(
    ("call", "words"),
    [
        (lambda: permuted(EYE, np.eye(5)), "same samples"),
        (lambda: permuted(np.ones(3), EYE), "stack"),
        (lambda: permuted([EYE] * 2, [EYE] * 3), "equally many"),
        (lambda: permuted(EYE * np.nan, EYE), "K must be finite"),
        (lambda: permuted(EYE, EYE, resamples=0), "at least 1"),
        (lambda: permuted(EYE, EYE, alternative="more"), "alternative must be one of"),
        (lambda: permuted(EYE, EYE, RSA()), "statistic must be defined"),
        (lambda: permuted(np.eye(3), np.eye(3), Product()), "more for"),
        (lambda: permuted(EYE, EYE, groups=THIRDS), "below 0.167"),
        (lambda: paired_test(NINE, -NINE, key=0, groups=FIFTHS), "below 0.0625"),
        (
            lambda: differing((EYE, EYE), (EYE, EYE), groups=THIRDS),
            "got 3: their signs cannot give p below 0.25",
        ),
        (lambda: resampled(EYE, EYE, within_groups="drop"), "'drop' needs groups"),
        (
            lambda: resampled(EYE, EYE, Product(), groups=THIRDS, within_groups="drop"),
            "needs a statistic that takes groups",
        ),
        (
            lambda: resampled(EYE, EYE, within_groups="leave"),
            "within_groups must be one of",
        ),
        (lambda: resampled(EYE, np.eye(5)), "same samples"),
        (lambda: resampled(EYE, EYE, confidence=95), "confidence"),
        (lambda: resampled(EYE, EYE, resamples=1), "at least 2"),
        (lambda: resampled(EYE, EYE, RSA()), "must be defined"),
        (lambda: resampled(ELEVEN, ELEVEN, MutualKNN(10)), "must be more than 11"),
        (
            lambda: resampled(
                EYE + ELEVEN[:6, :6], EYE, within_groups="drop", groups=THIRDS
            ),
            "too few samples or groups",
        ),
        (lambda: resampled(np.eye(3), np.eye(3)), "at least 4 samples"),
        (lambda: CKA("debiased"), "estimator must be one of"),
        (lambda: HSIC("debiased"), "estimator must be one of"),
        (lambda: differing((EYE, EYE), (np.eye(5), np.eye(5))), "first and second"),
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
            lambda: resampled(EYE, EYE, resamples=10**12),
            "resamples must be at most 10,000,000 .*got 1,000,000,000,000",
        ),
        (lambda: permuted(EYE, EYE, resamples=10**12), "resamples must be at most"),
        (lambda: permuted(EYE, EYE, groups=[0] * 4 + [1] * 2), "size"),
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
        paired_test(np.ones(8), np.ones(8), key=key)
    # JAX would take seeds that differ by 2^32 for one.
    for seed in (2**32, 2**70):
        with pytest.raises(ValueError, match="key must be a seed below"):
            paired_test(np.arange(8), np.ones(8), key=seed)


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        ({"confidence": "0.95"}, "confidence must be a number .*got '0.95'"),
        ({"confidence": True}, "confidence must be a number"),
        ({"groups": [0.5, *range(7)]}, "groups must be integers or text"),
        ({"resamples": 10.5}, "resamples must be an integer"),
    ],
)
def test_arguments_of_another_type_are_named(arguments, words):
    for call in (
        lambda **a: paired_test(np.ones(8), np.ones(8), key=0, **a),
        lambda **a: score_interval(np.ones(8), key=0, **a),
        lambda **a: bootstrap_interval(np.eye(8), np.eye(8), key=0, **a),
    ):
        with pytest.raises(TypeError, match=words):
            call(**arguments)
