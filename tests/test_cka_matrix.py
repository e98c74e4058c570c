"""Matrices of many RSMs, and of the features of many layers, in bounded memory."""

import jax.numpy as jnp
import numpy as np
import pytest
import zarr
from only_rows import OnlyRows

from semrsm_jax import cka, cka_matrix, hsic, hsic_matrix, linear_cka
from semrsm_jax import linear_cka_matrix as matrix
from semrsm_jax import linear_cka_matrix_of_batches as of_batches
from semrsm_jax.comparison import _row_blocks

ESTIMATORS = ("biased", "unbiased")


def some(rng, count=3, n=14, symmetric=True):
    rsms = rng.normal(size=(count, n, n)) + 3
    return [*(rsms + rsms.transpose(0, 2, 1))] if symmetric else [*rsms]


def one_by_one(measure, left, right, estimator):
    return [[float(measure(K, L, estimator)) for L in right] for K in left]


@pytest.fixture(params=[True, False], ids=["one block", "many blocks"])
def block(request, monkeypatch):
    if not request.param:
        monkeypatch.setattr(_row_blocks, "_CACHE", 1000)
        monkeypatch.setattr(_row_blocks, "_ROOM", 5000)


@pytest.mark.parametrize("symmetric", [True, False])
@pytest.mark.parametrize("estimator", ESTIMATORS)
def test_every_entry_is_that_of_two(rng, x64, block, estimator, symmetric):
    left, right = some(rng), some(rng, 2, symmetric=symmetric)
    for of_all, measure in ((cka_matrix, cka), (hsic_matrix, hsic)):
        got = of_all(left, right, estimator)
        assert got.shape == (3, 2) and got.dtype == np.float64
        np.testing.assert_allclose(
            got, one_by_one(measure, left, right, estimator), rtol=1e-10
        )
        both = [*left, *right]
        got = of_all(both, estimator=estimator)
        np.testing.assert_allclose(
            got, one_by_one(measure, both, both, estimator), rtol=1e-10
        )


@pytest.mark.parametrize("symmetric", [True, False])
def test_arrays_of_any_kind_serve(rng, tmp_path, block, symmetric):
    rsms = [K.astype(np.float32) for K in some(rng, symmetric=symmetric)]
    expected = cka_matrix(rsms)
    mapped = np.memmap(tmp_path / "K", np.float32, "w+", shape=(14, 14))
    mapped[:] = rsms[0]
    stored = zarr.create_array(tmp_path / "L.zarr", data=rsms[1], chunks=(5, 5))
    kinds = {"a": mapped, "b": stored, "c": OnlyRows(rsms[2])}
    np.testing.assert_allclose(cka_matrix(kinds), expected, rtol=1e-5)
    np.testing.assert_allclose(
        cka_matrix([jnp.asarray(K) for K in rsms]), expected, rtol=1e-5
    )
    np.testing.assert_allclose(cka_matrix(np.stack(rsms)), expected, rtol=1e-5)


def test_half_precision_is_summed_in_float32(rng):
    rsms = [jnp.asarray(K, jnp.bfloat16) for K in some(rng)]
    wide = [K.astype(jnp.float32) for K in rsms]
    np.testing.assert_allclose(cka_matrix(rsms), cka_matrix(wide), rtol=1e-5)


def test_only_a_few_rows_are_read_at_a_time(rng, monkeypatch):
    monkeypatch.setattr(_row_blocks, "_CACHE", 4 * 40 * 8)
    rsm = OnlyRows(some(rng, 1, 40)[0])
    cka_matrix([rsm])
    assert rsm.most == 4


@pytest.mark.parametrize("estimator", ESTIMATORS)
def test_offset_and_scale_cost_no_digits(rng, estimator):
    left, right = some(rng)[:2]
    expected = cka_matrix([left], [right], estimator)
    # In float64 without x64: the offset goes before anything is narrowed.
    np.testing.assert_allclose(
        cka_matrix([left + 1e8], [right - 1e8], estimator), expected, rtol=1e-6
    )
    for scale in (1e-150, 1e150):
        np.testing.assert_allclose(
            cka_matrix([scale * left], [scale * right], estimator), expected, rtol=1e-12
        )


@pytest.mark.parametrize("estimator", ESTIMATORS)
def test_rsm_without_structure_gives_zero(rng, estimator):
    K = some(rng)[0]
    rows = rng.normal(size=14)
    additive = rows[:, None] + rows + 1e3
    plain = [np.full((14, 14), 1e7 / 3), np.zeros((14, 14)), additive]
    for rsm in plain[: 2 if estimator == "unbiased" else 3]:
        for dtype in (np.float32, np.float64):
            got = cka_matrix([K.astype(dtype), rsm.astype(dtype)], estimator=estimator)
            np.testing.assert_allclose(got, [[1, 0], [0, 0]], atol=1e-6)


def test_negative_self_similarity_is_no_number(rng):
    turned = rng.normal(size=(14, 14))
    turned = turned - turned.T
    with np.errstate(all="raise"):
        got = cka_matrix([turned, *some(rng, 1)])
    assert np.isnan(got[0]).all() and np.isclose(got[1, 1], 1)
    assert np.isnan(cka(turned, turned))


@pytest.mark.parametrize(
    ("rsms", "others", "estimator", "error", "words"),
    [
        ([], None, "biased", ValueError, "rsms must hold at least one RSM"),
        ([np.eye(4)], {}, "biased", ValueError, "others must hold at least one"),
        ([np.eye(4), np.eye(5)], None, "biased", ValueError, r"rsms\[1\] must be over"),
        ([np.eye(4)], [np.eye(5)], "biased", ValueError, r"others\[0\] must be over"),
        ({"a": np.ones((3, 4))}, None, "biased", ValueError, r"rsms\['a'\] must be sq"),
        ([np.eye(3)], None, "unbiased", ValueError, "at least 4 samples"),
        ([np.eye(4)], None, "debiased", ValueError, "estimator must be one of"),
        ([np.full((4, 4), np.nan)], None, "biased", ValueError, r"rsms\[0\] must be f"),
        ([np.where(np.eye(4) > 0, np.nan, 1)], None, "unbiased", ValueError, "4 NaN"),
        ([np.diag([np.nan, 0, 0, 0])], None, "unbiased", ValueError, "got 1 NaN"),
        ([np.eye(4) * 1j], None, "biased", TypeError, "dtype complex128"),
        ([3], None, "biased", TypeError, "row slices, got int"),
    ],
)
def test_matrix_rejects(rsms, others, estimator, error, words):
    with pytest.raises(error, match=words):
        cka_matrix(rsms, others, estimator)


# linear_cka_matrix, from features


@pytest.fixture
def networks(rng):
    first = {"a": rng.normal(size=(14, 3, 2)) + 5, "b": rng.normal(size=(14, 700))}
    second = [first["a"] @ rng.normal(size=(2, 3)), rng.normal(size=(14, 4))]
    second.append(second[1] ** 2)
    return first, second


@pytest.mark.parametrize("estimator", ESTIMATORS)
def test_every_entry_is_that_of_two_layers(networks, x64, estimator):
    first, second = networks
    expected = one_by_one(linear_cka, first.values(), second, estimator)
    # All at once, and 3 rows of all Gram matrices at a time.
    for budget in (None, 3 * 5 * 14 * 8):
        got = matrix(first, second, estimator, memory_budget=budget)
        assert got.dtype == np.float64
        np.testing.assert_allclose(got, expected, rtol=1e-10)
    own = matrix(second, estimator=estimator)
    np.testing.assert_allclose(
        own, one_by_one(linear_cka, second, second, estimator), rtol=1e-10
    )


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
        one_by_one(linear_cka, [X], [Y], estimator)[0][0], rel=1e-5
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
        (lambda X: matrix([]), ValueError, "features must hold at least one"),
        (lambda X: matrix([X], {}), ValueError, "others must hold at least"),
        (lambda X: matrix([X, X[:3]]), ValueError, r"features\[1\] must be of"),
        (lambda X: matrix([X[:, 0]]), ValueError, "at least 2 axes"),
        (lambda X: matrix([X * 1j]), TypeError, "dtype complex128"),
        (lambda X: matrix({"a": X * np.nan}), ValueError, r"\['a'\] must be f"),
        (lambda X: matrix([X[:3]], None, "unbiased"), ValueError, "at least 4"),
        (lambda X: matrix([X], None, "song"), ValueError, "estimator must be"),
        (lambda X: matrix([X], memory_budget=0), ValueError, "memory_budget"),
        (lambda X: of_batches([]), ValueError, "at least one batch"),
        (lambda X: of_batches([(X, X)]), TypeError, "batch 0 must hold layers"),
        (lambda X: of_batches([[X], [X, X]]), ValueError, "must hold the same layers"),
        (
            lambda X: of_batches([[X], [X[:, :1]]]),
            ValueError,
            "layer 0 of batch 1 must be float64",
        ),
    ],
)
def test_matrix_of_features_rejects(networks, call, error, words):
    with pytest.raises(error, match=words):
        call(networks[1][1])
