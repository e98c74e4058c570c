"""Damaged stores of features, and those of others."""

import os
import sys

import ml_dtypes
import numpy as np
import pytest
import zarr
from feature_stores import DESCRIBED, IDS, LAYERS, features, fill, part, path, store  # noqa: F401

from semrsm_jax.store import FeatureStore, sha256


def chunk(store, name, number):
    return store.path / name / f"c.{number}.0.0"


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
        ({"ids": ["a", "b", "a"]}, ValueError, "unique, got 'a' again"),
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


def test_stores_of_others_are_refused(tmp_path):
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
    folder = store.path / ".semrsm-b"
    (folder / "head").mkdir(parents=True)
    other, third = (FeatureStore.open(store.path) for _ in range(2))
    with other._chunks.working():
        assert not leftover.exists() and not folder.exists()
        leftover.write_text("half, and still written by the other process")
        third.write(0, part(features, slice(0, 4)))
        assert leftover.exists()


def test_a_finished_store_holds_nothing_of_killed_writers(path, features):
    other, third = (FeatureStore.create(path, **DESCRIBED) for _ in range(2))
    with other._chunks.working():
        fill(third, features)
        content = sha256(path)
        # Of a process that was killed while others were writing.
        leftovers = path / "head" / ".semrsm-a", path / "crc32c" / ".lock.0"
        for leftover in leftovers:
            leftover.write_text("half")
        assert sha256(path) == content
    assert third.complete and sha256(path) == content
    assert not any(leftover.exists() for leftover in leftovers)


def test_changed_metadata_is_found(store):
    path = store.path / "zarr.json"
    path.write_text(path.read_text().replace("resnet18", "resnet81"))
    with pytest.raises(ValueError, match="differs from its SHA-256"):
        FeatureStore.open(store.path)
