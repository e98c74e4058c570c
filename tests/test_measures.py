"""Shape distances, canonical correlations and predictivity, against other code.

The references compute on features, as the papers define the measures; the package
computes on RSMs.
"""

import jax.numpy as jnp
import numpy as np
import pytest
from scipy.linalg import orthogonal_procrustes, subspace_angles
from sklearn.decomposition import PCA
from sklearn.linear_model import RidgeCV

import semrsm_jax as sj
from semrsm_jax import (
    PWCCA,
    SVCCA,
    AngularShape,
    LinearPredictivity,
    Procrustes,
    bootstrap_interval,
    permutation_test,
)

N = 24
RSM_MEASURES = [
    Procrustes(),
    Procrustes(normalize=True),
    AngularShape(),
    SVCCA(0.9),
    LinearPredictivity(folds=3),
]


@pytest.fixture
def features(rng):
    X = rng.normal(size=(N, 5)) + 3
    return X, X @ rng.normal(size=(5, 7)) + rng.normal(size=(N, 7))


def linear(features):
    return tuple(X @ X.T for X in features)


def center(X):
    return X - X.mean(0)


def netrep(X, Y, score):
    """`LinearMetric(alpha=1)`: pad with zeros, center, rotate, compare."""
    width = max(X.shape[1], Y.shape[1])
    X, Y = (center(np.pad(Z, ((0, 0), (0, width - Z.shape[1])))) for Z in (X, Y))
    X = X @ orthogonal_procrustes(X, Y)[0]
    if score == "euclidean":
        return np.linalg.norm(X - Y)
    cosine = np.sum(X * Y) / (np.linalg.norm(X) * np.linalg.norm(Y))
    return np.arccos(np.clip(cosine, -1, 1))


def svcca(X, Y, threshold):
    """The tutorial of the authors' code: SVD, as many directions, CCA, mean."""
    reduced = (PCA(threshold).fit_transform(Z) for Z in (X, Y))
    return np.cos(subspace_angles(*reduced)).mean()


def pwcca(X, Y):
    """`compute_pwcca` of the authors' code, X being of no higher rank.

    Canonical correlations by inverse roots of covariances.
    """
    X, Y = center(X), center(Y)

    def inverse_root(C):
        values, vectors = np.linalg.eigh(C)
        return vectors / np.sqrt(values) @ vectors.T

    x, y = X @ inverse_root(X.T @ X), Y @ inverse_root(Y.T @ Y)
    left, cosines, _ = np.linalg.svd(x.T @ y, full_matrices=False)
    weights = np.abs((x @ left).T @ X).sum(1)
    return weights @ cosines / weights.sum()


def predictivity(X, Y, fold_of, penalties):
    """With the penalty of each fold by leaving out one by one, as RidgeCV does."""
    predicted = np.empty_like(Y)
    for fold in range(3):
        out = fold_of == fold
        unit = np.mean(np.sum(center(X[~out]) ** 2, 1))
        model = RidgeCV(unit * np.array(penalties)).fit(X[~out], Y[~out])
        predicted[out] = model.predict(X[out])
    return 1 - np.sum((Y - predicted) ** 2) / np.sum(center(Y) ** 2)


def test_values_are_those_of_the_papers(features, x64):
    X, Y = features
    K, L = linear(features)
    unit = [center(Z) / np.linalg.norm(center(Z)) for Z in features]
    penalties = (1e-3, 1e-2, 0.1, 1.0)
    ridge = LinearPredictivity(folds=3, penalties=penalties)
    mixed = LinearPredictivity(fold_of=(0, 1, 2) * 8, penalties=penalties)
    expected = {
        Procrustes(): netrep(X, Y, "euclidean"),
        Procrustes(normalize=True): netrep(*unit, "euclidean"),
        AngularShape(): netrep(X, Y, "angular"),
        SVCCA(0.9): svcca(X, Y, 0.9),
        SVCCA(1.0): svcca(X, Y, 1 - 1e-12),
        ridge: predictivity(X, Y, np.arange(N) // 8, penalties),
        mixed: predictivity(X, Y, np.arange(N) % 3, penalties),
    }
    for measure, value in expected.items():
        assert float(measure(K, L)) == pytest.approx(value, rel=1e-8), measure
    assert float(PWCCA()(X, Y)) == pytest.approx(pwcca(X, Y), abs=1e-8)
    assert float(PWCCA()(Y, X)) == pytest.approx(pwcca(X, Y), abs=1e-8)


@pytest.mark.slow
def test_no_sample_is_predicted_from_its_group(features):
    K, L = linear(features)
    groups = np.array(list("fbadce") * 4)  # apart from each other
    folds = tuple("abcdef".index(group) // 2 for group in groups)
    by_hand = float(LinearPredictivity(fold_of=folds)(K, L))
    ridge = LinearPredictivity(folds=3)
    assert float(ridge(K, L, groups=groups)) == pytest.approx(by_hand, abs=1e-5)
    assert abs(float(ridge(K, L)) - by_hand) > 1e-3
    settings = {"key": 0, "resamples": 19, "groups": groups, "within_groups": "drop"}
    with pytest.warns(UserWarning, match="groups"):
        interval = bootstrap_interval(K, L, ridge, **settings)
    assert float(interval.estimate) == pytest.approx(by_hand, abs=1e-5)
    null = permutation_test(K, L, ridge, **settings)
    assert float(null.statistic) == pytest.approx(by_hand, abs=1e-5)
    # More folds than groups: each group is a fold.
    alone = LinearPredictivity(fold_of=tuple("abcdef".index(group) for group in groups))
    value = float(LinearPredictivity(folds=9)(K, L, groups=groups))
    assert value == pytest.approx(float(alone(K, L)), abs=1e-5)
    with pytest.raises(ValueError, match="fold_of must be None"):
        LinearPredictivity(fold_of=folds)(K, L, groups=groups)


@pytest.mark.parametrize("measure", RSM_MEASURES, ids=str)
def test_counts_are_copies_and_no_rotation_matters(features, x64, rng, measure):
    counts = np.array([2, 1, 1, 0, 1, 1] * 4, float)
    index = np.repeat(np.arange(N), counts.astype(int))
    if isinstance(measure, LinearPredictivity):
        # Copies are in one fold; leaving out one leaves out its copies.
        measure = LinearPredictivity(fold_of=(0, 1, 2) * 8, penalties=(0.1,))
        copied = LinearPredictivity(
            fold_of=tuple(index % 3), penalties=measure.penalties
        )
    else:
        copied = measure
    X, Y = features
    repeated = float(copied(*linear((X[index], Y[index]))))
    K, L = linear(features)
    assert float(measure(K, L, counts=counts)) == pytest.approx(repeated, abs=1e-8)
    turn = np.linalg.qr(rng.normal(size=(5, 5)))[0]
    turned = (X - 9) @ turn
    value = float(measure(turned @ turned.T, L))
    assert value == pytest.approx(float(measure(K, L)), abs=1e-8)


@pytest.mark.slow
def test_pwcca_counts_copies_and_warns_of_too_few_samples(features, x64):
    X, Y = features
    counts = np.array([2, 1] * 12, float)
    index = np.repeat(np.arange(N), counts.astype(int))
    value = float(PWCCA()(X, Y, counts=counts))
    assert value == pytest.approx(float(PWCCA()(X[index], Y[index])), abs=1e-8)
    with pytest.warns(UserWarning, match="needs more samples than both together"):
        PWCCA()(X[:12], Y[:12])


def test_equal_shapes_are_at_distance_zero_even_in_float32(features):
    K = np.float32(linear(features)[0])
    assert float(Procrustes(normalize=True)(K, K)) < 1e-5
    assert float(AngularShape()(K, 4 * K)) < 1e-5


@pytest.mark.slow
@pytest.mark.parametrize("measure", [*RSM_MEASURES, PWCCA()], ids=str)
def test_related_networks_stand_out_of_the_null(features, measure):
    pair = features if measure.of_features else linear(features)
    test = sj.permutation_test(*pair, measure, key=0, resamples=39)
    assert float(test.statistic) == pytest.approx(float(measure(*pair)), rel=1e-4)
    assert float(test.p_value) < 0.1 and float(test.null_share) > 0.95
    matrix = sj.measure_matrix({"a": pair[0], "b": pair[1]}, measure=measure)
    assert matrix[0, 1] == pytest.approx(float(test.statistic), rel=1e-4)
    assert matrix[1, 0] == pytest.approx(float(measure(*pair[::-1])), rel=1e-4)


@pytest.mark.slow
def test_intervals_of_features_and_of_groups(features):
    groups = np.arange(N) // 2
    interval = sj.bootstrap_interval(
        *features, PWCCA(), key=0, resamples=30, groups=groups
    )
    assert interval.low < interval.high
    first, second = features, (features[0], features[1][::-1])
    difference = sj.difference_test(first, second, PWCCA(), key=0, resamples=30)
    assert float(difference.difference) == pytest.approx(
        float(PWCCA()(*first)) - float(PWCCA()(*second)), rel=1e-4
    )


def test_settings_may_be_arrays_lists_and_scalars(features):
    K, L = linear(features)
    folds = np.arange(N) % 4
    pairs = (
        (SVCCA(jnp.float32(0.5)), SVCCA(0.5)),
        (
            LinearPredictivity(penalties=[1, 2]),
            LinearPredictivity(penalties=(1.0, 2.0)),
        ),
        (LinearPredictivity(fold_of=folds), LinearPredictivity(fold_of=(*folds,))),
    )
    for given, plain in pairs:
        assert given == plain and hash(given) == hash(plain)
    assert np.isfinite(pairs[2][0](K, L))


def test_small_variance_is_not_rounding_in_many_samples(no_x64):
    n = 1000
    u = np.resize([1, -1], n) / np.sqrt(n)
    K, H = 1000 * np.outer(u, u), 0.1 * (np.eye(n) - 1 / n)
    distance = Procrustes()(np.float32(K + H), np.float32(K))
    np.testing.assert_allclose(distance, np.sqrt(0.1 * (n - 2)), rtol=1e-3)


def test_an_indefinite_rsm_has_a_value_only_when_asked_for(features, x64):
    K, L = linear(features)
    bent = K - 5 * np.eye(N)
    values, vectors = np.linalg.eigh(
        bent - bent.mean(0) - bent.mean(1)[:, None] + bent.mean()
    )
    nearest = (vectors * np.maximum(values, 0)) @ vectors.T
    for measure in RSM_MEASURES:
        with pytest.raises(ValueError, match="not positive semi-definite"):
            measure(bent, L)
        clipped = type(measure)(**{**vars(measure), "clip": True})
        assert float(clipped(bent, L)) == pytest.approx(
            float(measure(nearest, L)), abs=1e-8
        )


@pytest.mark.parametrize(
    ("call", "error", "words"),
    [
        (lambda K: SVCCA(1.5), ValueError, "threshold must be at most 1, got 1.5"),
        (lambda K: SVCCA("a"), TypeError, "threshold must be a number"),
        (lambda K: LinearPredictivity(folds=1), ValueError, "folds must be at least 2"),
        (lambda K: LinearPredictivity(penalties=()), ValueError, "at least one number"),
        (lambda K: LinearPredictivity(folds=30)(K, K), ValueError, "folds must be at"),
        (lambda K: LinearPredictivity(fold_of=(0, 1))(K, K), ValueError, "one entry"),
        (lambda K: PWCCA()(K, K[:3]), ValueError, "must be of the same samples"),
        (lambda K: PWCCA()(K[:, :2] * 0, K[:, :2]), ValueError, "them is constant"),
        (lambda K: AngularShape()(K * 0 + 1, K), ValueError, "them is constant"),
        (lambda K: SVCCA()(K * 0 + 1, K), ValueError, "them is constant"),
        (lambda K: LinearPredictivity()(K, K * 0), ValueError, "L is constant"),
    ],
)
def test_bad_input_is_rejected(features, call, error, words):
    with pytest.raises(error, match=words):
        call(linear(features)[0])
