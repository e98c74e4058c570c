"""Arrays of zarr that others wrote, and metadata that cannot be true."""

import json
import os

import numpy as np
import pytest
import zarr
from array_files import SHAPE, change_metadata, six_samples, write_zarr
from zarr import codecs

from semrsm_jax.store import load_features


@pytest.mark.parametrize(
    "settings",
    [
        {"zarr_format": 3, "compressors": None},
        {"zarr_format": 3, "compressors": codecs.ZstdCodec()},
        {"zarr_format": 3, "compressors": codecs.GzipCodec()},
        {"zarr_format": 3, "compressors": codecs.BloscCodec()},
        {"zarr_format": 3, "compressors": [codecs.ZstdCodec(), codecs.Crc32cCodec()]},
        {"zarr_format": 3, "filters": [codecs.TransposeCodec(order=(2, 0, 1))]},
        {"zarr_format": 3, "serializer": codecs.BytesCodec(endian="big")},
        {"zarr_format": 3, "chunk_key_encoding": {"name": "v2", "separator": "/"}},
        {"zarr_format": 2, "compressors": None},
        {"zarr_format": 2, "compressors": "auto"},
    ],
)
@pytest.mark.parametrize("dtype", ["f4", "f2", "i4"])
def test_the_usual_encodings_are_read(tmp_path, settings, dtype):
    path = write_zarr(tmp_path / "x", six_samples(dtype), **settings)
    np.testing.assert_array_equal(load_features(path)[1:6], six_samples(dtype)[1:6])


def test_chunks_that_were_not_written_hold_the_fill_value(tmp_path):
    values = six_samples()
    values[:4] = 0
    path = write_zarr(tmp_path / "x", values, chunks=(4, 5, 3))
    assert not (path / "c" / "0").exists()
    np.testing.assert_array_equal(load_features(path)[:], values)


@pytest.mark.parametrize(
    "settings",
    [{"shards": (4, 5, 2)}, {"compressors": [codecs.ZstdCodec(), codecs.GzipCodec()]}],
    ids=str,
)
def test_unusual_encodings_are_refused(tmp_path, settings):
    path = write_zarr(tmp_path / "x", six_samples(), chunks=(2, 5, 2), **settings)
    with pytest.raises(ValueError, match="was encoded by"):
        load_features(path)


@pytest.mark.parametrize(
    ("fields", "error", "match"),
    [
        ({"shape": [10**15, 5, 3]}, ValueError, "claims to hold"),
        ({"shape": [6, 10**9, 10**9]}, ValueError, "claims to hold"),
        ({"shape": [-6, 5, 3]}, ValueError, "damaged metadata.*-6"),
        ({"shape": "many"}, ValueError, "damaged metadata"),
        ({"shape": [6, 5]}, ValueError, "damaged metadata"),
        ({"shape": [0, 5, 3]}, ValueError, "holds an empty array"),
        ({"data_type": "complex64"}, ValueError, "damaged metadata"),
        ({"data_type": "object"}, ValueError, "damaged metadata"),
        ({"data_type": {"name": "struct"}}, ValueError, "damaged metadata"),
        ({"data_type": "variable_length_bytes"}, ValueError, "damaged metadata"),
        ({"codecs": [{"name": "pickle"}]}, ValueError, "was encoded by pickle"),
        ({"codecs": "bytes"}, ValueError, "damaged metadata|was encoded"),
        ({"node_type": "other"}, ValueError, "holds no array"),
        ({"zarr_format": 9}, ValueError, "damaged metadata"),
        ({"chunk_grid": {"name": "odd"}}, ValueError, "damaged metadata"),
    ],
)
def test_absurd_metadata_is_refused(tmp_path, fields, error, match):
    path = change_metadata(write_zarr(tmp_path / "x", six_samples()), **fields)
    with pytest.raises(error, match=match):
        load_features(path)


def test_other_dtypes_in_zarr_are_refused(tmp_path):
    path = write_zarr(tmp_path / "x", six_samples("c8"))
    with pytest.raises(TypeError, match="must hold floats or integers.*complex64"):
        load_features(path)


def test_absurd_chunks_are_refused(tmp_path):
    grid = {"name": "regular", "configuration": {"chunk_shape": [10**6, 10**4, 10**3]}}
    path = change_metadata(write_zarr(tmp_path / "x", six_samples()), chunk_grid=grid)
    with pytest.raises(ValueError, match="chunks of .* bytes"):
        load_features(path)


@pytest.mark.parametrize(
    "codec",
    [None, codecs.ZstdCodec(), codecs.GzipCodec(), codecs.BloscCodec()],
)
def test_truncated_and_flipped_chunks_are_named(tmp_path, codec):
    path = write_zarr(tmp_path / "x", six_samples(), chunks=SHAPE, compressors=codec)
    chunk = path / "c" / "0" / "0" / "0"
    whole = chunk.read_bytes()
    contents = [whole[:-5], whole[:3], b"", whole + b"more"]
    if isinstance(codec, codecs.GzipCodec):  # The only one with a checksum of its own.
        flipped = bytearray(whole)
        flipped[len(whole) // 2] ^= 1
        contents.append(flipped)
    for content in contents:
        chunk.write_bytes(content)
        with pytest.raises(ValueError, match="damaged"):
            load_features(path)[:]


def test_links_that_lead_out_are_refused(tmp_path):
    write_zarr(tmp_path / "secret", six_samples())
    zarr.create_group(tmp_path / "x", zarr_format=3)
    os.symlink(tmp_path / "secret", tmp_path / "x" / "a")
    with pytest.raises(ValueError, match="leads out of"):
        load_features(tmp_path / "x")
    path = write_zarr(tmp_path / "y", six_samples(), chunks=SHAPE)
    chunk = path / "c" / "0" / "0" / "0"
    chunk.rename(tmp_path / "chunk")
    os.symlink(tmp_path / "chunk", chunk)
    with pytest.raises(ValueError, match="is a link"):
        load_features(path)


def test_a_group_may_not_name_what_is_elsewhere(tmp_path):
    """Consolidated metadata can name any path; only folders below count."""
    write_zarr(tmp_path / "secret", six_samples())
    zarr.create_group(tmp_path / "x", zarr_format=3)
    inner = json.loads((tmp_path / "secret" / "zarr.json").read_text())
    consolidated = {"kind": "inline", "must_understand": False}
    consolidated |= {"metadata": {"../secret": inner}}
    change_metadata(tmp_path / "x", consolidated_metadata=consolidated)
    with pytest.raises(ValueError, match="holds no array"):
        load_features(tmp_path / "x")
