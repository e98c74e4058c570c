import sys

import numpy as np
import pandas
import pytest
import rsatoolbox
import xarray

import semrsm_jax as sj
from semrsm_jax import exchange
from semrsm_jax.store import open_similarity, save_rsm


@pytest.fixture(scope="module")
def features():
    return np.random.default_rng(0).normal(size=(7, 4, 3)) + 0.3


@pytest.fixture(scope="module")
def rsms(features):
    kernels = {"cosine": sj.Cosine(), "rbf": sj.RBF()}
    stats = sj.pair_statistics(features, matcher=sj.Exact(solver="scipy"))
    return {name: np.asarray(kernel(stats)) for name, kernel in kernels.items()}


IDS = [f"image {i}, left" for i in range(7)]


def test_the_ids_that_rsms_carry_order_and_name_them(rsms, tmp_path):
    order = [3, 1, 0, 5, 4, 2, 6]
    for name, places in (("a", list(range(7))), ("b", order)):
        ids = tuple(IDS[i] for i in places)
        K = rsms["cosine"][np.ix_(places, places)]
        save_rsm(tmp_path / f"{name}.npz", K, x_ids=ids, y_ids=ids)
    opened = {name: open_similarity(tmp_path / f"{name}.npz") for name in "ab"}
    rdms = exchange.to_rsatoolbox(opened, exchange.OneMinus())
    assert rdms.pattern_descriptors["id"] == IDS
    np.testing.assert_array_equal(*rdms.dissimilarities)
    dataset = exchange.to_dataset(opened)
    np.testing.assert_array_equal(dataset["a"], dataset["b"])
    assert dataset["x"].values.tolist() == IDS
    assert exchange.to_xarray(opened["a"])["y"].values.tolist() == IDS
    exchange.write_csv(tmp_path / "a.csv", opened["a"])
    assert exchange.read_csv(tmp_path / "a.csv").y_ids == tuple(IDS)


# rsatoolbox


def test_rsatoolbox_and_back(rsms):
    rdms = exchange.to_rsatoolbox(rsms, exchange.OneMinus(), ids=IDS)
    assert rdms.n_rdm == 2 and rdms.n_cond == 7
    assert rdms.dissimilarity_measure == "OneMinus()"
    assert rdms.pattern_descriptors["id"] == IDS
    np.testing.assert_allclose(rdms.get_matrices()[0], 1 - rsms["cosine"], atol=1e-6)
    back = exchange.from_rsatoolbox(rdms, exchange.OneMinus())
    assert list(back) == ["cosine", "rbf"]
    for name, result in back.items():
        np.testing.assert_allclose(result.rsm, rsms[name], atol=1e-6)
        assert result.x_ids == result.y_ids == tuple(IDS)


def test_negative_keeps_all_but_the_diagonal(rsms):
    K = 3 * rsms["rbf"]
    rdms = exchange.to_rsatoolbox({"a": K}, exchange.Negative())
    off = ~np.eye(7, dtype=bool)
    np.testing.assert_allclose(rdms.get_matrices()[0][off], -K[off])
    back = exchange.from_rsatoolbox(rdms, exchange.Negative())["a"].rsm
    np.testing.assert_allclose(back[off], K[off])
    assert (np.diag(back) == 0).all() and not np.signbit(np.diag(back)).any()


@pytest.mark.slow
def test_squared_distances_are_rsatoolboxs(features, x64):
    """rsatoolbox divides squared distances by the number of channels."""
    K = sj.rsm(features, matcher=sj.Identity())
    ours = exchange.to_rsatoolbox({"linear": K}, exchange.SquaredDistance())
    flat = features.reshape(7, -1)
    dataset = rsatoolbox.data.Dataset(flat)
    theirs = rsatoolbox.rdm.calc_rdm(dataset, method="euclidean")
    np.testing.assert_allclose(
        ours.dissimilarities, theirs.dissimilarities * flat.shape[1], rtol=1e-9
    )
    back = exchange.from_rsatoolbox(ours, exchange.SquaredDistance())["linear"].rsm
    assert not np.allclose(back, K)
    assert sj.cka(back, K) == pytest.approx(1, abs=1e-12)


def test_rdms_without_names_or_ids():
    rdms = rsatoolbox.rdm.RDMs(np.array([[1.0, 2, 3], [4, 5, 6]]))
    result = exchange.from_rsatoolbox(rdms, exchange.Negative())
    assert list(result) == ["0", "1"]
    assert result["0"].x_ids is None
    np.testing.assert_array_equal(
        result["1"].rsm, [[0, -4, -5], [-4, 0, -6], [-5, -6, 0]]
    )


def test_rsatoolbox_rejects(rsms):
    K = rsms["cosine"]
    one = exchange.OneMinus()
    for given, ids, message in (
        ({}, None, "at least one RSM"),
        ({"a": K[:3]}, None, r"rsms\['a'\] must be square"),
        ({"a": np.triu(K)}, None, "must be symmetric"),
        ({"a": np.where(K > 0.99, np.nan, K)}, None, "must be finite"),
        ({"a": K, "b": K[:5, :5]}, None, "the same samples"),
        ({"a": 2 * K}, None, "1 on the diagonal.*got 2"),
        ({"a": K}, IDS[:3], "x_ids must name 7 samples, got 3"),
        ({"a": K}, IDS[:6] + IDS[:1], "unique, got 'image 0, left' again"),
    ):
        with pytest.raises(ValueError, match=message):
            exchange.to_rsatoolbox(given, one, ids=ids)
    rdms = rsatoolbox.rdm.RDMs(np.array([[1.0, np.nan, 3]]))
    with pytest.raises(ValueError, match="got NaN in '0'"):
        exchange.from_rsatoolbox(rdms, one)


# xarray


def test_xarray_and_back(rsms):
    K = rsms["rbf"][:, :5]
    array = exchange.to_xarray(K, IDS, [*"abcde"], attributes={"kernel": "rbf"})
    assert isinstance(array, xarray.DataArray)
    assert array.dims == ("x", "y") and array.attrs == {"kernel": "rbf"}
    assert array.dtype == K.dtype
    assert array.sel(x=IDS[2], y="d") == K[2, 3]
    result = exchange.from_xarray(array)
    np.testing.assert_array_equal(result.rsm, K)
    assert result.x_ids == tuple(IDS) and result.y_ids == tuple("abcde")
    plain = exchange.from_xarray(exchange.to_xarray(K))
    assert plain.x_ids is None and plain.y_ids is None


def test_dataset_of_rsms_and_of_statistics(rsms, features):
    dataset = exchange.to_dataset(rsms, IDS, IDS)
    assert set(dataset.data_vars) == {"cosine", "rbf"}
    np.testing.assert_array_equal(dataset["rbf"], rsms["rbf"])
    stats = sj.pair_statistics(features, features[:5], sj.Identity())
    dataset = exchange.to_dataset(stats, x_ids=IDS)
    assert dict(dataset.sizes) == {"x": 7, "y": 5}
    assert dataset["y_sq_norm"].dims == ("y",)
    np.testing.assert_array_equal(dataset["inner"], stats.inner)
    assert exchange.from_xarray(dataset["inner"]).x_ids == tuple(IDS)


def test_xarray_rejects(rsms):
    with pytest.raises(ValueError, match="2 dimensions"):
        exchange.from_xarray(xarray.DataArray(np.ones(3)))
    with pytest.raises(ValueError, match="K must have 2 axes"):
        exchange.to_xarray(np.ones(3))
    with pytest.raises(TypeError, match="K must be a real array"):
        exchange.to_xarray(np.eye(3) > 0)
    with pytest.raises(ValueError, match="over the same samples"):
        exchange.to_dataset({"a": np.eye(3), "b": np.eye(4)})


# CSV


@pytest.mark.parametrize("dtype", [np.float32, np.float64, np.int32])
def test_csv_reads_back_bit_for_bit(tmp_path, rng, dtype):
    K = (100 * rng.normal(size=(300, 3))).astype(dtype)
    ids = [f'row "{i}", ä' for i in range(300)]
    exchange.write_csv(tmp_path / "K.csv", K, ids, ["a,b", "c", "d"])
    result = exchange.read_csv(tmp_path / "K.csv")
    np.testing.assert_array_equal(result.rsm.astype(dtype), K)
    assert result.x_ids == tuple(ids) and result.y_ids == ("a,b", "c", "d")
    frame = pandas.read_csv(tmp_path / "K.csv", index_col=0)
    np.testing.assert_allclose(frame.to_numpy().astype(dtype), K, rtol=1e-15)
    assert list(frame.columns) == ["a,b", "c", "d"]


def test_csv_takes_nested_lists_and_odd_names(tmp_path):
    names = ["a,b", 'a "quote"', "two\nlines", "\u00fcn\u00ef \u4e2d", "", " space "]
    rows = [[float(6 * i + j) for j in range(6)] for i in range(6)]
    exchange.write_csv(tmp_path / "rsm.csv", rows, names, names)
    result = exchange.read_csv(tmp_path / "rsm.csv")
    assert result.rsm.tolist() == rows
    assert result.x_ids == result.y_ids == tuple(names)


def test_csv_numbers_samples_without_ids_and_reads_pandas(tmp_path):
    exchange.write_csv(tmp_path / "K.csv", np.eye(2))
    assert (tmp_path / "K.csv").read_text().splitlines()[0] == ",0,1"
    pandas.DataFrame(np.eye(2), list("ab"), list("cd")).to_csv(tmp_path / "p.csv")
    result = exchange.read_csv(tmp_path / "p.csv")
    assert result.y_ids == ("c", "d")
    np.testing.assert_array_equal(result.rsm, np.eye(2))


def test_csv_is_never_overwritten_silently(tmp_path):
    path = tmp_path / "K.csv"
    exchange.write_csv(path, np.eye(2))
    with pytest.raises(ValueError, match="exists"):
        exchange.write_csv(path, np.eye(3))
    exchange.write_csv(path, np.eye(3), overwrite=True)
    assert exchange.read_csv(path).rsm.shape == (3, 3)
    with pytest.raises(ValueError, match="must end in one of .csv"):
        exchange.write_csv(tmp_path / "K.npz", np.eye(3))


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (None, "does not exist"),
        ("", "a header and rows, got 0 lines"),
        ("a\nx\n", "must hold values beside the ids"),
        (",a,b\nx,1\n", "row 2, must have 3 fields, got 2"),
        (",a,b\nx,1,2\ny,1,two\n", "row 3, must hold numbers.*'two'"),
        (",a,a\nx,1,2\n", "y_ids must be unique, got 'a'"),
        (b"\xff\xfe,a", "not a CSV file in UTF-8"),
    ],
)
def test_csv_rejects(tmp_path, text, message):
    path = tmp_path / "K.csv"
    if text is not None:
        path.write_bytes(text if isinstance(text, bytes) else text.encode())
    with pytest.raises(ValueError, match=message):
        exchange.read_csv(path)


@pytest.mark.parametrize("module", ["xarray", "rsatoolbox"])
def test_a_missing_module_names_the_extra(monkeypatch, rsms, module):
    monkeypatch.setitem(sys.modules, module, None)
    calls = {
        "xarray": lambda: exchange.to_xarray(rsms["rbf"]),
        "rsatoolbox": lambda: exchange.to_rsatoolbox(rsms, exchange.OneMinus()),
    }
    with pytest.raises(
        ImportError, match=rf"{module} cannot be imported.*\[exchange\]"
    ):
        calls[module]()
