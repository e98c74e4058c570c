import json
import os

import ml_dtypes
import numpy as np
import pytest
import zarr
from safetensors import safe_open
from safetensors.numpy import save_file

from semrsm_jax.store import (
    FeatureStore,
    feature_ids,
    feature_names,
    load_features,
    save_features,
)

IDS = ["a.png", "b/ü.png"]


def features(*shape, dtype=np.float32) -> np.ndarray:
    return np.random.default_rng(0).normal(size=shape).astype(dtype)


@pytest.mark.parametrize("suffix", [".npz", ".NPZ", ".safetensors"])
def test_layers_ids_and_metadata(tmp_path, suffix):
    layers = {"stages.0": features(2, 4, 3), "head": features(2, 1, 5)}
    path = tmp_path / f"features{suffix}"
    save_features(path, layers, ids=IDS, metadata={"model": "m"})
    for name, values in layers.items():
        np.testing.assert_array_equal(load_features(path, name), values)
    with pytest.raises(
        ValueError, match="several arrays; key must be one of 'stages.0', 'head'"
    ):
        load_features(path)
    if suffix.lower() == ".npz":
        with np.load(path) as file:
            document = file["ids"].tolist(), json.loads(str(file["metadata"]))
    else:
        with safe_open(path, "numpy") as file:
            document = tuple(
                map(json.loads, map(file.metadata().get, ("ids", "metadata")))
            )
    assert document[0] == IDS
    assert document[1]["model"] == "m"
    assert set(document[1]["versions"]) == {"semrsm_jax", "jax"}
    assert set(feature_names(path)) == set(layers)
    assert feature_ids(path) == tuple(IDS)
    with pytest.raises(ValueError, match="exists; --overwrite"):
        save_features(path, layers, ids=IDS)
    save_features(path, {"one": features(2, 3)}, ids=IDS, overwrite=True)
    # Where there is one layer it needs no name.
    np.testing.assert_array_equal(load_features(path), features(2, 3))
    assert sorted(os.listdir(tmp_path)) == [path.name]


@pytest.mark.parametrize("suffix", [".npz", ".safetensors", ".zarr"])
def test_layers_of_any_name_keep_it_and_their_order(tmp_path, suffix):
    names = ["zarr.json", "_b.4", "..", "", "a/b\\c", "ids", "x" * 300, "x" * 299 + "y"]
    names += ["7", "crc32c", "größe 日本", "%2F", "file", "allow_pickle"]
    names += ["__metadata__", "../b", "\x00"]
    layers = {name: features(2, 1, 3) + n for n, name in enumerate(names)}
    path = tmp_path / f"f{suffix}"
    if suffix == ".zarr":
        description = {"ids": IDS, "layers": dict.fromkeys(names, (1, 3)), "batch": 2}
        FeatureStore.create(path, **description).write(0, layers)
        assert [*FeatureStore.create(path, **description).layers] == names
        assert len(list(zarr.open_group(path, mode="r").arrays())) == len(names) + 1
    else:
        save_features(path, layers, ids=IDS)
    assert feature_names(path) == tuple(names)
    assert feature_ids(path) == tuple(IDS)
    for name, values in layers.items():
        np.testing.assert_array_equal(load_features(path, name), values)
    assert os.listdir(tmp_path) == [path.name]


@pytest.mark.parametrize("suffix", [".npz", ".safetensors"])
def test_a_single_layer_without_a_name_is_found(tmp_path, suffix):
    path = tmp_path / f"f{suffix}"
    save_features(path, {"": features(2, 3)}, ids=IDS)
    assert feature_names(path) == ("",)
    np.testing.assert_array_equal(load_features(path, ""), features(2, 3))


@pytest.mark.parametrize("text", ["[", "{}", "[1]"])
def test_damaged_ids_are_named(tmp_path, text):
    save_file({"x": features(2, 2)}, tmp_path / "f.safetensors", {"ids": text})
    with pytest.raises(ValueError, match="has damaged ids"):
        feature_ids(tmp_path / "f.safetensors")


def test_order_in_memory_and_half_precision(tmp_path):
    values = features(2, 4, 3)
    path = tmp_path / "f.safetensors"
    half = values.astype(ml_dtypes.bfloat16)
    save_features(path, {"t": values.T.copy().T, "h": half}, ids=IDS)
    np.testing.assert_array_equal(load_features(path, "t"), values)
    loaded = load_features(path, "h")
    assert loaded.dtype == loaded[1:2].dtype == ml_dtypes.bfloat16
    np.testing.assert_array_equal(loaded, half)
    np.testing.assert_array_equal(loaded[1:2], half[1:2])


def test_arrays_of_the_user_named_like_ours_are_arrays(tmp_path):
    np.savez(tmp_path / "f.npz", ids=features(2, 3))
    np.testing.assert_array_equal(load_features(tmp_path / "f.npz"), features(2, 3))
    assert feature_ids(tmp_path / "f.npz") is None


@pytest.mark.parametrize(
    ("layers", "error", "message"),
    [
        ({}, ValueError, "at least one layer"),
        ({"x": features(3, 2)}, ValueError, r"row for each of 2 ids, got shape \(3, 2"),
        ({"x": np.float32(1)}, ValueError, r"got shape \(\)"),
        ({7: features(2, 2)}, TypeError, "named by strings, got 7"),
        ({"x": np.ones((2, 2), bool)}, TypeError, "got dtype bool"),
        ({"x": features(2, 2, dtype=ml_dtypes.bfloat16)}, TypeError, "npz cannot hold"),
    ],
)
def test_refused(tmp_path, layers, error, message):
    with pytest.raises(error, match=message):
        save_features(tmp_path / "f.npz", layers, ids=IDS)
    assert not os.listdir(tmp_path)


def test_ids_are_text_of_which_none_names_two_samples(tmp_path):
    for name in ("f.npz", "f.safetensors"):
        save_features(tmp_path / name, {"x": features(2, 2)}, ids=np.arange(2))
        assert feature_ids(tmp_path / name) == ("0", "1")
        with pytest.raises(ValueError, match="ids must be unique, got 'a' again"):
            save_features(tmp_path / f"g{name}", {"x": features(2, 2)}, ids=["a", "a"])
    layers = {"x": (1, 2)}
    store = FeatureStore.create(tmp_path / "s", ids=np.array(IDS), layers=layers)
    assert store.ids == tuple(IDS)


def test_files_of_a_folder_have_the_same_ids(tmp_path):
    folder = tmp_path / "folder"
    for layer in ("a", "b"):
        save_features(folder / f"{layer}.npz", {"x": features(2, 2)}, ids=IDS)
    np.save(folder / "c.npy", features(2, 2))
    for number in range(2):
        zarr.save_array(folder / f"stages.{number}", features(2, 2))
    assert feature_names(folder) == ("a", "b", "c", "stages.0", "stages.1")
    assert feature_ids(folder) == tuple(IDS)
    save_features(folder / "d.npz", {"x": features(2, 2)}, ids=IDS[::-1])
    with pytest.raises(ValueError, match="d.npz must have the ids of .*a.npz, in the"):
        feature_ids(folder)


def test_other_suffixes_are_refused(tmp_path):
    with pytest.raises(ValueError, match="must end in one of .npz, .safetensors"):
        save_features(tmp_path / "f.npy", {"x": features(2, 2)}, ids=IDS)
