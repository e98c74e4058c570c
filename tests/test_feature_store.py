"""A store of features: whole batches, resumed, open to others."""

import pickle
import shutil
import warnings
from pathlib import Path

import ml_dtypes
import numpy as np
import pytest
import xarray
import zarr
from feature_stores import DESCRIBED, IDS, LAYERS, features, fill, part, path, store  # noqa: F401

from semrsm_jax.store import FeatureStore, load_features, sha256


def test_what_was_written_is_read_row_by_row(store, features):
    store = FeatureStore.open(store.path)
    assert (
        store.complete and store.ids == tuple(IDS) and list(store.layers) == [*LAYERS]
    )
    assert store.metadata["model"] == "resnet18"
    assert set(store.metadata["versions"]) == {"semrsm_jax", "jax", "numpy"}
    for name, expected in features.items():
        layer = store.layers[name]
        assert layer.shape == expected.shape and layer.dtype == expected.dtype
        assert len(layer) == 10 and layer.ndim == 3 and layer.size == expected.size
        for index in (
            3,
            -1,
            slice(3, 9),
            slice(None, None, -3),
            slice(7, 2),
            [9, 1, 1, 2],
            np.array([[0, 5], [5, 9]]),
            np.array([], int),
        ):
            np.testing.assert_array_equal(layer[index], expected[index])
        np.testing.assert_array_equal(np.asarray(layer), expected)
        for wrong in (10, [-11], 1.5, [True], "a", (0, 1), (0, [1, 2]), ()):
            with pytest.raises(IndexError, match="rows"):
                layer[wrong]


def test_zarr_and_xarray_open_it_by_themselves(store, features):
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        group = zarr.open_group(store.path, mode="r")
        data = xarray.open_zarr(store.path, consolidated=False, chunks=None)
        for name, expected in features.items():
            np.testing.assert_array_equal(group[name][:], expected)
            np.testing.assert_array_equal(data[name].values, expected)
            assert data[name].dims == (
                "sample",
                f"token of {name}",
                f"channel of {name}",
            )
    assert data.attrs["sample_ids"] == IDS
    assert group.metadata.zarr_format == 3


def test_batches_are_resumed_and_missing_ones_named(path, features):
    store = FeatureStore.create(path, **DESCRIBED)
    assert store.missing() == [0, 1, 2] and not store.complete and store.batches == 3
    store.write(1, part(features, slice(4, 8)))
    again = FeatureStore.create(path, **DESCRIBED)
    assert again.missing() == [0, 2]
    before, layer = sha256(path), load_features(path, "head")
    for opened in (again.layers["head"], layer):
        np.testing.assert_array_equal(opened[4:8], features["head"][4:8])
        with pytest.raises(ValueError, match="'head': batch 2, samples 8 to 9, is not"):
            opened[6:9]
    fill(again, features)
    assert store.complete and sha256(path) != before
    np.testing.assert_array_equal(layer, features["head"])


def test_bfloat16_goes_into_float32_without_loss(path, features):
    store = FeatureStore.create(path, **DESCRIBED)
    rounded = {k: v.astype(ml_dtypes.bfloat16) for k, v in features.items()}
    fill(store, rounded)
    np.testing.assert_array_equal(
        store.layers["head"][:], rounded["head"].astype(np.float32)
    )


def test_it_is_sent_to_another_process(store, features):
    layer = pickle.loads(pickle.dumps(store.layers["head"]))
    np.testing.assert_array_equal(layer[2:7], features["head"][2:7])


def test_two_that_create_the_same_store_share_it(path, features, monkeypatch):
    other = path.with_name("other")
    FeatureStore.create(other, **DESCRIBED)
    exists = Path.exists
    # The other process made it between the look and the rename.
    monkeypatch.setattr(Path, "exists", lambda p: p.name != path.name and exists(p))
    path.parent.mkdir(exist_ok=True)
    shutil.copytree(other, path)
    store = FeatureStore.create(path, **DESCRIBED)
    monkeypatch.undo()
    assert fill(store, features).complete
    assert sorted(p.name for p in path.parent.iterdir()) == ["features.zarr", "other"]
