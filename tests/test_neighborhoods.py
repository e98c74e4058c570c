"""Nearest neighbors in common, against the definitions of their papers, in NumPy."""

import numpy as np
import pytest
from hsic_formulas import unbiased

import semrsm_jax as sj
from semrsm_jax import CKNNA, Jaccard, MutualKNN
from semrsm_jax.comparison.grouping import SampleGroups

K_NEAREST = 4


@pytest.fixture
def features(rng):
    X = rng.normal(size=(18, 6))
    return X, X @ rng.normal(size=(6, 9)) + 2 * rng.normal(size=(18, 9))


@pytest.fixture
def rsms(features):
    return tuple(X @ X.T for X in features)


def sets(K, k):
    """The k nearest others of each sample, as sets."""
    K = K.copy()
    np.fill_diagonal(K, -np.inf)
    return [set(np.argsort(-row)[:k].tolist()) for row in K]


def cknna(K, L, k):
    """`AlignmentMetrics.cknna` of the authors' code, unbiased."""
    masks = [
        np.array([[j in row for j in range(len(K))] for row in sets(M, k)])
        for M in (K, L)
    ]
    both = masks[0] & masks[1]
    own = [unbiased(mask * M, mask * M) for mask, M in zip(masks, (K, L), strict=True)]
    return unbiased(both * K, both * L) / np.sqrt(own[0] * own[1])


def test_values_are_those_of_the_definitions(rsms, x64):
    K, L = rsms
    pairs = list(zip(sets(K, K_NEAREST), sets(L, K_NEAREST), strict=True))
    mutual = np.mean([len(a & b) for a, b in pairs]) / K_NEAREST
    jaccard = np.mean([len(a & b) / len(a | b) for a, b in pairs])
    assert float(MutualKNN(K_NEAREST)(K, L)) == pytest.approx(mutual, abs=1e-12)
    assert float(Jaccard(K_NEAREST)(K, L)) == pytest.approx(jaccard, abs=1e-12)
    for k in (K_NEAREST, 11, 17):
        assert float(CKNNA(k)(K, L)) == pytest.approx(cknna(K, L, k), abs=1e-10)
    # With all others as neighbors nothing is left out: unbiased CKA.
    assert float(CKNNA(17)(K, L)) == pytest.approx(float(sj.cka(K, L, "unbiased")))


@pytest.mark.parametrize("measure", [MutualKNN(3), Jaccard(3), CKNNA(9)], ids=str)
def test_counts_are_copies_that_are_not_neighbors_of_each_other(rsms, x64, measure):
    K, L = rsms
    counts = np.array([1, 0, 2, 1, 3, 1, 1, 0, 1] * 2, float)
    index = np.repeat(np.arange(18), counts.astype(int))
    same = index[:, None] == index
    # A copy is the farthest of all; others that tie for a place share it.
    copies = [np.where(same, -1e3, M[np.ix_(index, index)]) for M in (K, L)]
    expected = float(measure(*copies))
    assert float(measure(K, L, counts=counts)) == pytest.approx(expected, abs=1e-12)
    once = float(measure(K, L, counts=np.ones(18)))
    assert once == pytest.approx(float(measure(K, L)), abs=1e-12)


@pytest.mark.slow
def test_neighbors_may_be_of_other_groups_alone(rsms, x64):
    K, L = rsms
    groups = np.arange(18) // 3
    same = groups[:, None] == groups
    apart = [np.where(same, -1e3, M) for M in rsms]
    measure = MutualKNN(4)
    expected = float(measure(*apart))
    assert float(measure(K, L, groups=groups)) == pytest.approx(expected)
    test = sj.permutation_test(
        K, L, measure, key=0, resamples=19, groups=groups, within_groups="drop"
    )
    assert float(test.statistic) == pytest.approx(expected)
    # A group that is drawn twice is there twice, its samples with their own copy.
    drawn = np.repeat(np.array([2.0, 1, 1, 1, 1, 0]), 3)
    index, copy = np.r_[0:15, 0:3], np.r_[np.zeros(15), np.ones(3)]
    mixed = (groups[index][:, None] == groups[index]) & (copy[:, None] != copy)
    members = SampleGroups(groups, "keep")
    whole = [np.where(mixed, -1e3, M[np.ix_(index, index)]) for M in rsms]
    # Copies tie, so that they share a place; each is farther than all others but once.
    value = float(measure(K, L, counts=drawn, groups=members))
    assert value == pytest.approx(float(measure(*whole)))


def test_ties_are_shared_so_that_no_structure_is_chance(rsms, x64):
    K, flat = rsms[0], np.ones((18, 18))
    for other in (K, flat):
        assert float(MutualKNN(5)(other, flat)) == pytest.approx(5 / 17)
    # Two tie for the last of two places: each is in it half of the time.
    tied = np.array([[9.0, 3, 2, 2], [3, 9, 1, 0], [2, 1, 9, 0], [2, 0, 0, 9]])
    plain = np.array([[9.0, 3, 2, 1], [3, 9, 1, 0], [2, 1, 9, 0], [2, 1, 0, 9]])
    rows = [(1 + 0.5) / 2, 1, 1, (1 + 0.5) / 2]
    assert float(MutualKNN(2)(tied, plain)) == pytest.approx(np.mean(rows))


@pytest.mark.slow
def test_inference_takes_them(rsms):
    K, L = rsms
    interval = sj.bootstrap_interval(K, L, MutualKNN(3), key=0, resamples=60)
    assert interval.low < interval.estimate < interval.high
    test = sj.permutation_test(K, L, MutualKNN(3), key=0, resamples=60)
    assert float(test.statistic) == pytest.approx(float(MutualKNN(3)(K, L)), abs=1e-6)
    null = np.asarray(test.null)
    assert abs(null.mean() - 3 / 17) < 0.05
    below, ties = null < test.statistic - 1e-5, abs(null - test.statistic) < 1e-5
    assert float(test.null_share) == pytest.approx(below.mean() + ties.mean() / 2)
    groups = np.arange(18) // 3
    grouped = sj.permutation_test(
        np.stack([K, L]), L, MutualKNN(3), key=0, resamples=20, groups=groups
    )
    assert grouped.statistic.shape == (2,) and grouped.null.shape == (20, 2)


def test_matrix_of_layers_holds_the_value_of_each_pair(rsms):
    K, L = rsms
    own = sj.measure_matrix({"a": K, "b": L}, measure=MutualKNN(3))
    value = float(MutualKNN(3)(K, L))
    np.testing.assert_allclose(own, [[1, value], [value, 1]], rtol=1e-6)
    both = sj.measure_matrix([K, L], measure=CKNNA(4))  # which is not symmetric
    assert both[1, 0] == pytest.approx(float(CKNNA(4)(L, K)), rel=1e-5)
    assert abs(both[1, 0] - both[0, 1]) > 1e-4
    cross = sj.measure_matrix([K], [L, K], CKNNA(9))
    assert cross[0, 0] == pytest.approx(float(CKNNA(9)(K, L)))
    assert cross.shape == (1, 2)
    for name, matrix in (("CKA", sj.cka_matrix), ("HSIC", sj.hsic_matrix)):
        measure = getattr(sj, name)("biased")
        np.testing.assert_array_equal(
            sj.measure_matrix([K], [L], measure), matrix([K], [L])
        )


@pytest.mark.parametrize(
    ("call", "words"),
    [
        (lambda K: MutualKNN(18)(K, K), "k must be less than the number of samples"),
        (lambda K: MutualKNN(0), "k must be at least 1, got 0"),
        (lambda K: CKNNA(1), "k must be at least 2, got 1"),
        (lambda K: MutualKNN(3)(K, K[:4, :4]), "must be over the same samples"),
        (lambda K: MutualKNN(3)(K[:5], K[:5]), "K must be square"),
        (
            lambda K: MutualKNN(3)(K, K, groups=[0] * (len(K) - 2) + [1, 2]),
            "fewer than k others that count",
        ),
        (lambda K: MutualKNN(3)(K, K * np.nan), "L must be finite"),
        (lambda K: CKNNA(3)(-abs(K), -abs(K) * 0), "is not positive; take a larger k"),
        (
            lambda K: sj.measure_matrix({"a": K, "b": K[:9, :9]}, measure=MutualKNN(3)),
            r"inputs\['a'\] \(K\) with inputs\['b'\] \(L\): K and L must be",
        ),
        (lambda K: sj.measure_matrix([], measure=MutualKNN(3)), "inputs must hold"),
        (lambda K: sj.bootstrap_interval(K, K, sj.HSIC(), key=0), "no interval"),
    ],
)
def test_bad_input_is_rejected(rsms, call, words):
    with pytest.raises(ValueError, match=words):
        call(rsms[0])
