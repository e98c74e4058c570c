"""A store of features: whole batches, resumed, checked, and open to others."""

import os
import pickle
import shutil
import sys
import warnings
from pathlib import Path

import ml_dtypes
import numpy as np
import pytest
import zarr

from semrsm_jax.store import FeatureStore, feature_names, load_features

LAYERS = {"stages.0": (4, 3), "head": (1, 5)}
IDS = [f"bild {n} ü" for n in range(10)]
DESCRIBED = {
    "ids": IDS,
    "layers": LAYERS,
    "dtype": "float32",
    "batch": 4,
    "metadata": {"model": "resnet18", "preprocessing": {"mean": [0.5, 0.5]}},
}


@pytest.fixture(scope="module")
def features():
    rng = np.random.default_rng(0)
    return {
        name: rng.normal(size=(10, *shape)).astype(np.float32)
        for name, shape in LAYERS.items()
    }


def part(features, rows):
    return {name: values[rows] for name, values in features.items()}


def fill(store, features):
    for number in store.missing():
        store.write(number, part(features, store.rows(number)))
    return store


@pytest.fixture
def path(tmp_path):
    return tmp_path / "new folder é" / "features.zarr"


@pytest.fixture
def store(path, features):
    return fill(FeatureStore.create(path, **DESCRIBED), features)


def chunk(store, name, number):
    return store.path / name / f"c.{number}.0.0"


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
        for wrong in (10, [-11], 1.5, [True], "a"):
            with pytest.raises(IndexError, match="rows"):
                layer[wrong]


def test_zarr_and_xarray_open_it_by_themselves(store, features):
    xarray = pytest.importorskip("xarray")
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
    np.testing.assert_array_equal(again.layers["head"][4:8], features["head"][4:8])
    with pytest.raises(ValueError, match="'head': batch 2, samples 8 to 9, is not th"):
        again.layers["head"][6:9]
    fill(again, features)
    assert store.complete


@pytest.mark.parametrize(
    ("change", "match"),
    [
        ({"ids": IDS[:-1]}, "10 values.*not 9 values"),
        ({"ids": [*IDS[:-1], "other"]}, "to 'bild 9 ü', not 10 values, .* 'other'"),
        ({"layers": {**LAYERS, "head": (1, 6)}}, "other features, of layers"),
        ({"dtype": "float64"}, "of dtype float32, not float64"),
        ({"batch": 5}, "of batch 4, not 5"),
        ({"metadata": {"model": "resnet50"}}, "other features, of metadata"),
    ],
)
def test_another_description_is_refused(store, change, match):
    with pytest.raises(ValueError, match=match):
        FeatureStore.create(store.path, **DESCRIBED | change)
    assert FeatureStore.open(store.path).complete


def test_another_version_is_refused(store, monkeypatch):
    module = sys.modules["semrsm_jax.store.feature_store"]
    monkeypatch.setattr(module, "package_version", lambda name: "0.0")
    with pytest.raises(ValueError, match="other features, of versions"):
        FeatureStore.create(store.path, **DESCRIBED)


@pytest.mark.parametrize(
    ("change", "error", "match"),
    [
        ({"ids": []}, ValueError, "at least one sample"),
        ({"ids": ["a", "b", "a"]}, ValueError, "'a' twice"),
        ({"ids": "abc"}, TypeError, "sequence of strings"),
        ({"ids": [1, 2]}, TypeError, "sequence of strings"),
        ({"layers": {}}, ValueError, "at least one layer"),
        ({"layers": {"a": (1, 0)}}, ValueError, "C of layer 'a' must be at least 1"),
        ({"layers": {"a": (1,)}}, ValueError, r"shape \(S, C\)"),
        ({"dtype": ml_dtypes.bfloat16}, TypeError, "no bfloat16, and float32 holds"),
        ({"dtype": "int32"}, TypeError, "one of float16, float32, float64"),
        ({"batch": 0}, ValueError, "batch must be at least 1"),
        ({"metadata": {"a": {1, 2}}}, TypeError, "JSON"),
    ],
)
def test_bad_descriptions_are_refused_and_leave_nothing(path, change, error, match):
    with pytest.raises(error, match=match):
        FeatureStore.create(path, **DESCRIBED | change)
    assert not path.exists()


def test_bad_batches_are_refused_and_leave_the_old_one(store, features):
    good = part(features, slice(0, 4))
    for change, error, match in (
        ({"other": good["head"]}, ValueError, "layers 'stages.0', 'head', got"),
        ({"head": good["head"][:3]}, ValueError, r"shape \(4, 1, 5\), got \(3, 1, 5"),
        ({"head": good["head"].astype("f8")}, TypeError, "without loss, got float64"),
        ({"head": good["head"] * np.nan}, ValueError, "infinity: 'bild 0 ü'"),
        ({"head": np.full((4, 1, 5), "a")}, TypeError, "must be a real array"),
    ):
        with pytest.raises(error, match=match):
            store.write(0, good | change)
    for number in (3, -1):
        with pytest.raises(ValueError, match="batch number"):
            store.write(number, good)
    assert store.missing(verify=True) == []


def test_bfloat16_goes_into_float32_without_loss(path, features):
    store = FeatureStore.create(path, **DESCRIBED)
    rounded = {k: v.astype(ml_dtypes.bfloat16) for k, v in features.items()}
    fill(store, rounded)
    np.testing.assert_array_equal(
        store.layers["head"][:], rounded["head"].astype(np.float32)
    )


@pytest.mark.parametrize("name", [*LAYERS])
def test_damage_is_named_found_and_mended(store, features, name):
    path = chunk(store, name, 1)
    whole = path.read_bytes()
    flipped = bytearray(whole)
    flipped[7] ^= 1
    for content, match, by_size in (
        (bytes(flipped), "differs from its checksum", False),
        (bytes(len(whole)), "differs from its checksum", False),
        (whole[:-3], f"has {len(whole) - 3} bytes, expected", True),
        (b"", "has 0 bytes", True),
        (None, "does not exist", True),
    ):
        path.unlink() if content is None else path.write_bytes(content)
        opened = FeatureStore.open(store.path)
        with pytest.raises(ValueError, match=f"batch 1, samples 4 to 7.*{match}"):
            opened.layers[name][5]
        np.testing.assert_array_equal(opened.layers[name][:4], features[name][:4])
        assert opened.missing() == [1] * by_size
        assert opened.missing(verify=True) == [1]
        opened.write(1, part(features, slice(4, 8)))
        assert opened.missing(verify=True) == []
        np.testing.assert_array_equal(opened.layers[name][:], features[name])


def test_a_damaged_record_counts_as_missing(store):
    record = store.path / "crc32c" / "c.2.0"
    record.write_bytes(record.read_bytes()[:-1])
    assert store.missing() == [2]
    with pytest.raises(ValueError, match="damaged"):
        store.layers["head"][9]


def test_a_file_that_changes_after_it_was_read_is_noticed(store):
    store.layers["head"][:]
    path = chunk(store, "head", 0)
    os.utime(path, ns=(1, 1))
    store.layers["head"][0]
    path.write_bytes(bytes(path.stat().st_size))
    with pytest.raises(ValueError, match="differs from its checksum"):
        store.layers["head"][0]


def test_stores_of_others_and_files_are_refused(tmp_path, store):
    with pytest.raises(ValueError, match="does not exist, expected a folder"):
        FeatureStore.open(tmp_path / "none")
    (tmp_path / "file").write_text("x")
    for call in (FeatureStore.open, lambda p: FeatureStore.create(p, **DESCRIBED)):
        with pytest.raises(ValueError, match="is a file, expected a folder"):
            call(tmp_path / "file")
        (tmp_path / "other").mkdir(exist_ok=True)
        (tmp_path / "other" / "notes.txt").write_text("not a store")
        with pytest.raises(ValueError, match="no zarr array or group"):
            call(tmp_path / "other")
    zarr.create_group(tmp_path / "theirs", zarr_format=3)
    with pytest.raises(ValueError, match="not a store of features of this version"):
        FeatureStore.open(tmp_path / "theirs")


@pytest.mark.parametrize("name", ["zarr.json", "head/zarr.json"])
def test_damaged_metadata_is_named(store, name):
    path = store.path / name
    text = path.read_text()
    damaged = [
        text[: len(text) // 2],
        "[" * 100_000,
        "[1]",
        text.replace("10,", "11,"),
        text.replace('"batch": 4', '"batch": 5'),
        text.replace('"float32"', '"float64"'),
        text.replace('"float32"', '"object"'),
    ]
    # Not each of them changes both files.
    for content in dict.fromkeys(content for content in damaged if content != text):
        path.write_text(content)
        with pytest.raises(ValueError, match="damaged"):
            FeatureStore.open(store.path)
    path.unlink()
    with pytest.raises(ValueError, match="no zarr array or group"):
        FeatureStore.open(store.path)


def test_leftovers_of_killed_writers_are_removed(store, features):
    leftover = store.path / "head" / ".semrsm-a"
    leftover.write_text("half")
    other, third = (FeatureStore.open(store.path) for _ in range(2))
    with other._chunks.working():
        assert not leftover.exists()
        leftover.write_text("half, and still written by the other process")
        third.write(0, part(features, slice(0, 4)))
        assert leftover.exists()


NAMES = [
    "zarr.json",
    "_blocks.4",
    "..",
    "",
    "a/b\\c",
    "x" * 300,
    "x" * 299 + "y",
    "12",
    "ids",
    "crc32c",
    "größe 日本",
    "%2F",
]


def test_layers_of_any_name_keep_it_and_their_order(tmp_path, features):
    shapes = dict.fromkeys(NAMES, (1, 5))
    store = FeatureStore.create(tmp_path / "x", ids=IDS, layers=shapes, batch=10)
    values = {n: features["head"] + k for k, n in enumerate(NAMES)}
    store.write(0, values)
    store = FeatureStore.create(tmp_path / "x", ids=IDS, layers=shapes, batch=10)
    assert list(store.layers) == NAMES == list(feature_names(store.path))
    for name in NAMES:
        np.testing.assert_array_equal(load_features(store.path, name)[:], values[name])
    assert sorted(p.name for p in tmp_path.iterdir()) == ["x"]
    assert len(list(zarr.open_group(store.path, mode="r").arrays())) == len(NAMES) + 1


def test_changed_metadata_is_found(store):
    path = store.path / "zarr.json"
    path.write_text(path.read_text().replace("resnet18", "resnet81"))
    with pytest.raises(ValueError, match="differs from its SHA-256"):
        FeatureStore.open(store.path)


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
