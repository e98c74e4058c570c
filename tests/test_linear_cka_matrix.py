"""Layers by layers from features: the values of linear_cka, in bounded memory."""

import numpy as np
import pytest
import zarr
from only_rows import OnlyRows

from semrsm_jax import linear_cka
from semrsm_jax import linear_cka_matrix as matrix
from semrsm_jax import linear_cka_matrix_of_batches as of_batches

ESTIMATORS = ("biased", "unbiased")


@pytest.fixture
def networks(rng):
    first = {"a": rng.normal(size=(14, 3, 2)) + 5, "b": rng.normal(size=(14, 700))}
    second = [first["a"] @ rng.normal(size=(2, 3)), rng.normal(size=(14, 4))]
    second.append(second[1] ** 2)
    return first, second


def one_by_one(left, right, estimator):
    return [[float(linear_cka(X, Y, estimator)) for Y in right] for X in left]


@pytest.mark.parametrize("estimator", ESTIMATORS)
def test_every_entry_is_that_of_two_layers(networks, x64, estimator):
    first, second = networks
    expected = one_by_one(first.values(), second, estimator)
    # All at once, and 3 rows of all Gram matrices at a time.
    for budget in (None, 3 * 5 * 14 * 8):
        got = matrix(first, second, estimator, memory_budget=budget)
        assert got.dtype == np.float64
        np.testing.assert_allclose(got, expected, rtol=1e-10)
    own = matrix(second, estimator=estimator)
    np.testing.assert_allclose(own, one_by_one(second, second, estimator), rtol=1e-10)


def test_batches_give_the_same_as_all_samples(networks):
    first, second = networks
    parts = [slice(0, 5), slice(5, 10), slice(10, 14)]
    batches = (
        ({k: v[p] for k, v in first.items()}, [v[p] for v in second]) for p in parts
    )
    got = of_batches(batches, "unbiased")
    np.testing.assert_array_equal(got, matrix(first, second, "unbiased"))
    alone = of_batches([v[p] for v in second] for p in parts)
    np.testing.assert_array_equal(alone, matrix(second))


def test_features_on_disk_are_read_some_rows_at_a_time(networks, tmp_path):
    second = networks[1]
    stored = zarr.create_array(tmp_path / "x.zarr", data=second[0], chunks=(4, 3, 3))
    rows = OnlyRows(second[1])
    got = matrix([stored, rows, second[2]], memory_budget=5 * 3 * 14 * 8)
    np.testing.assert_allclose(got, matrix(second), rtol=1e-10)
    assert rows.most <= 5


@pytest.mark.parametrize("estimator", ESTIMATORS)
def test_range_offset_and_constants(networks, estimator):
    X, Y = (z.astype(np.float32) for z in networks[1][:2])
    expected = matrix([X], [Y], estimator)
    assert expected.item() == pytest.approx(
        one_by_one([X], [Y], estimator)[0][0], rel=1e-5
    )
    for factor in (1e-25, 1e25):
        got = matrix([factor * X], [factor * Y], estimator)
        np.testing.assert_allclose(got, expected, rtol=1e-5)
    wide = networks[1][0] + 1e6, networks[1][1] - 1e8
    got = matrix(wide[:1], wide[1:], estimator)
    np.testing.assert_allclose(got, expected, rtol=1e-5)
    flat = np.full((14, 3), 1e7 / 3, np.float32) * np.float32(
        1 + 2**-23 * (X[:, :3, 0] > 0)
    )
    plain = [np.zeros((14, 2)), np.full((14, 2), 0.1), flat]
    got = matrix([X, *plain], estimator=estimator)
    np.testing.assert_allclose(got, np.diag([1, 0, 0, 0]), atol=1e-6)


@pytest.mark.torch
def test_values_are_those_of_pytorch_cka(networks):
    torch = pytest.importorskip("torch")
    package = pytest.importorskip("cka")
    both = [
        [z.reshape(14, -1) for z in net] for net in (networks[0].values(), networks[1])
    ]
    theirs = package.cka_from_features(*[[*map(torch.tensor, net)] for net in both])
    ours = matrix(*both, estimator="unbiased")
    # They clamp to [0, 1].
    np.testing.assert_allclose(np.clip(ours, 0, 1), theirs.numpy(), atol=1e-6)


@pytest.mark.parametrize(
    ("call", "error", "words"),
    [
        (
            lambda X: matrix([]),
            ValueError,
            "features must hold at least one",
        ),
        (lambda X: matrix([X], {}), ValueError, "others must hold at least"),
        (
            lambda X: matrix([X, X[:3]]),
            ValueError,
            r"features\[1\] must be of",
        ),
        (lambda X: matrix([X[:, 0]]), ValueError, "at least 2 axes"),
        (lambda X: matrix([X * 1j]), TypeError, "dtype complex128"),
        (
            lambda X: matrix({"a": X * np.nan}),
            ValueError,
            r"\['a'\] must be f",
        ),
        (
            lambda X: matrix([X[:3]], None, "unbiased"),
            ValueError,
            "at least 4",
        ),
        (
            lambda X: matrix([X], None, "song"),
            ValueError,
            "estimator must be",
        ),
        (
            lambda X: matrix([X], memory_budget=0),
            ValueError,
            "memory_budget",
        ),
        (lambda X: of_batches([]), ValueError, "at least one batch"),
        (
            lambda X: of_batches([[X], [X, X]]),
            ValueError,
            "must hold the same layers",
        ),
        (
            lambda X: of_batches([[X], [X[:, :1]]]),
            ValueError,
            "layer 0 of batch 1 must be float64",
        ),
    ],
)
def test_bad_input_is_rejected(networks, call, error, words):
    with pytest.raises(error, match=words):
        call(networks[1][1])
