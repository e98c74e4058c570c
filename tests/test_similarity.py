"""Kernels over runs and files, row by row, and the selection behind the bandwidth."""

import numpy as np
import pytest
import xarray
import zarr
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from stored_runs import features

from semrsm_jax import RBF, Cosine, Identity, Linear, cka, pair_statistics
from semrsm_jax._selection import middle_positive
from semrsm_jax.engine import Features, run
from semrsm_jax.store import RunStore, open_similarity

KERNELS = [Linear(), Cosine(), RBF(), RBF("official"), RBF("paper"), RBF(2.5)]


@pytest.fixture(scope="module")
def store(tmp_path_factory):
    folder = tmp_path_factory.mktemp("runs") / "run.zarr"
    x = Features(features(), ids=[f"{n}.png" for n in range(11)])
    return run(x, store=folder, matcher=Identity(), tile=4)


@pytest.mark.slow
@pytest.mark.parametrize("kernel", KERNELS, ids=repr)
def test_every_kernel_reads_the_store_row_by_row(store, kernel):
    expected = np.asarray(kernel(pair_statistics(features(), matcher=Identity())))
    result = open_similarity(store.path, kernel)
    assert (result.shape, result.dtype) == (expected.shape, expected.dtype)
    whole = result[:]
    np.testing.assert_allclose(whole, expected, rtol=1e-5, atol=1e-5)
    for start, stop in ((0, 1), (3, 9), (10, 11), (4, 8), (5, 5)):
        np.testing.assert_array_equal(result[start:stop], whole[start:stop])
    np.testing.assert_array_equal(result[[7, 1]], whole[[7, 1]])
    assert result.x_ids == result.y_ids == tuple(f"{n}.png" for n in range(11))
    assert cka(result[:], whole) == pytest.approx(1, abs=1e-6)


@pytest.mark.parametrize("rule", [None, "official", "paper"])
def test_the_streamed_bandwidth_is_that_of_the_whole(store, rule, monkeypatch):
    statistics, names = store.statistics(0, 11), []
    read = RunStore.read
    monkeypatch.setattr(RunStore, "read", lambda *a: names.append(a[2]) or read(*a))
    result = open_similarity(store.path, RBF(rule)).kernel
    assert names and all(name == ["sq_dist"] for name in names)
    assert result.bandwidth == float(RBF(rule).sigma(statistics))


def test_all_samples_alike_have_similarity_one(tmp_path):
    x = np.repeat(features()[:1], 5, axis=0)
    run(x, store=tmp_path / "run.zarr", matcher=Identity(), tile=2)
    np.testing.assert_array_equal(open_similarity(tmp_path / "run.zarr", RBF())[:], 1)


def test_zarr_and_xarray_open_a_run_by_themselves(store, recwarn):
    expected = store.statistics(0, 11)
    group = zarr.open_group(store.path, mode="r")
    data = xarray.open_zarr(store.path)
    for name in store.matrices + ("x_sq_norm", "y_sq_norm"):
        values = getattr(expected, name)
        np.testing.assert_array_equal(group[name], values)
        np.testing.assert_array_equal(data[name], values)
    assert data["inner"].dims == ("x", "y")
    assert group["inner"].chunks == (4, 4)
    assert data.attrs["matcher"] == {"name": "Identity"}
    assert data.attrs["x"]["sample_ids"][3] == "3.png"
    assert {"jax", "numpy", "zarr"} <= set(data.attrs["made"]["versions"])
    assert not recwarn.list


def test_what_is_not_computed_yet_is_nan_and_no_similarity(tmp_path, store):
    x = features()

    class StoppedError(Exception):
        pass

    def stop(progress):
        if progress.stage == "matching" and progress.done > 20:
            raise StoppedError

    folder = tmp_path / "run.zarr"
    with pytest.raises(StoppedError):
        run(x, store=folder, matcher=Identity(), tile=4, progress=stop)
    data = xarray.open_zarr(folder)
    assert np.isnan(data["inner"]).any()
    with pytest.raises(ValueError, match="is not finished: . of 6 tiles are missing"):
        open_similarity(folder)


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@given(data=st.data())
def test_medians_are_those_of_a_sort(dtype, data):
    width = 8 * np.dtype(dtype).itemsize
    elements = st.floats(0, width=width, allow_infinity=False)
    values = data.draw(arrays(dtype, st.integers(1, 40), elements=elements))
    # Ties: some values twice.
    values = np.concatenate([values, values[::3]])
    cut = data.draw(st.integers(1, len(values)))
    items = middle_positive(lambda: (values[:cut], values[cut:]))
    ranked = np.sort(values[values > 0])
    if not len(ranked):
        assert items is None
        return
    assert items == (ranked[(len(ranked) - 1) // 2], ranked[len(ranked) // 2])
    assert all(value.dtype == dtype for value in items)
