"""Every kind of features is read whole and in parts, by name."""

import json
import sys
from pathlib import Path

import numpy as np
import pytest
import zarr
from array_files import SHAPE, six_samples, write_zarr
from safetensors.numpy import save_file

from semrsm_jax import to_tokens
from semrsm_jax._rows import Rows
from semrsm_jax.store import FeatureStore, feature_ids, feature_names, load_features


def a_store(path, layers) -> Path:
    shapes = {name: values.shape[1:] for name, values in layers.items()}
    ids = [f"s{n}" for n in range(SHAPE[0])]
    store = FeatureStore.create(path, ids=ids, layers=shapes, batch=4)
    for number in store.missing():
        rows = store.rows(number)
        store.write(number, {name: values[rows] for name, values in layers.items()})
    return path


def written(folder: Path, kind: str) -> tuple[Path, str | None]:
    """The features in one of the ways, and the key to them."""
    if kind == "npy":
        np.save(folder / "x.npy", six_samples())
        return folder / "x.npy", None
    if kind in ("npz", "packed"):
        save = np.savez if kind == "npz" else np.savez_compressed
        save(folder / "x.npz", **{"other": np.ones(2), "b/c": six_samples()})
        return folder / "x.npz", "b/c"
    if kind == "safetensors":
        save_file({"b/c": six_samples(), "y": np.ones(2)}, folder / "x.safetensors")
        return folder / "x.safetensors", "b/c"
    if kind == "store":
        return a_store(folder / "x", {"x": six_samples(), "y": six_samples()}), "x"
    if kind == "zarr":
        return write_zarr(folder / "x.zarr", six_samples()), None
    if kind == "group":
        zarr.create_group(folder / "x.zarr", zarr_format=3)
        write_zarr(folder / "x.zarr" / "x", six_samples())
        return folder / "x.zarr", "x"
    (folder / "many").mkdir()
    np.save(folder / "many" / "x.npy", six_samples())
    np.save(folder / "many" / "y.npy", six_samples())
    return folder / "many", "x"


KINDS = ("npy", "npz", "packed", "safetensors", "store", "zarr", "group", "folder")
LAZY = {"safetensors", "store", "zarr", "group"}


@pytest.mark.parametrize("kind", KINDS)
def test_every_kind_is_read_whole_and_in_parts(tmp_path, kind):
    path, key = written(tmp_path, kind)
    loaded, expected = load_features(path, key), six_samples()
    assert isinstance(loaded, Rows if kind in LAZY else np.ndarray)
    if kind in ("npy", "npz", "folder"):
        assert isinstance(loaded, np.memmap) and not loaded.flags.writeable
    assert loaded.shape == expected.shape and loaded.dtype == expected.dtype
    assert len(loaded) == 6
    np.testing.assert_array_equal(np.asarray(loaded), expected)
    for index in (slice(1, 5), slice(5, 6), slice(2, 2), [4, 0, 4], 3):
        np.testing.assert_array_equal(loaded[index], expected[index])
    np.testing.assert_array_equal(to_tokens(loaded, "NSC"), expected)


def test_layers_are_listed_by_name(tmp_path):
    layers = {"stages.0": six_samples(), "stages.1": six_samples()}
    a_store(tmp_path / "store", layers)
    np.savez(tmp_path / "x.npz", **layers)
    folder = tmp_path / "many"
    folder.mkdir()
    for name, values in layers.items():
        np.save(folder / f"{name}.npy", values)
    for path in (tmp_path / "store", tmp_path / "x.npz", folder):
        assert feature_names(path) == ("stages.0", "stages.1")
        with pytest.raises(ValueError, match="several arrays; key must be one of 'sta"):
            load_features(path)
        with pytest.raises(ValueError, match="key must be one of 'stages.0'.*got 'y'"):
            load_features(path, "y")
    save_file(layers, folder / "two.safetensors")
    write_zarr(folder / "deep.zarr", six_samples())
    (folder / "notes.txt").write_text("not a layer")
    (folder / ".hidden.npy").write_text("nor this")
    names = "deep", "stages.0", "stages.1", "two/stages.0", "two/stages.1"
    assert feature_names(folder) == names
    np.testing.assert_array_equal(
        load_features(folder, names[-1])[2:4], six_samples()[2:4]
    )
    save_file({"x": six_samples()}, folder / "deep.safetensors")
    with pytest.raises(ValueError, match="holds 'deep' twice"):
        feature_names(folder)
    (tmp_path / "nothing").mkdir()
    with pytest.raises(ValueError, match="is a folder without features"):
        load_features(tmp_path / "nothing")


def test_names_of_samples_are_found_beside_the_layers(tmp_path):
    ids = tuple(f"s{n}" for n in range(6))
    np.savez(tmp_path / "x.npz", a=six_samples(), ids=np.array(ids))
    metadata = {"ids": json.dumps(ids)}
    save_file({"a": six_samples()}, tmp_path / "x.safetensors", metadata)
    a_store(tmp_path / "store", {"a": six_samples()})
    for name in ("x.npz", "x.safetensors", "store"):
        assert feature_ids(tmp_path / name) == ids
        assert load_features(tmp_path / name).shape == SHAPE
    np.save(tmp_path / "x.npy", six_samples())
    assert feature_ids(tmp_path / "x.npy") is None


def test_a_large_compressed_member_is_refused_with_the_way_out(tmp_path, monkeypatch):
    path, key = written(tmp_path, "packed")
    module = sys.modules["semrsm_jax.store._numpy_files"]
    monkeypatch.setattr(module, "free_memory", lambda: 300)
    with pytest.raises(ValueError, match="half of the free memory.*by numpy.savez"):
        load_features(path, key)
