"""Features larger than memory are read in parts; hostile ones take little memory."""

import json
import os
import pickle
import subprocess
import sys
import zipfile
from pathlib import Path

import jax.numpy as jnp
import ml_dtypes
import numcodecs
import numpy as np
import pytest
import zarr
from safetensors.numpy import save_file
from stored_runs import Trap, npy_header
from zarr import codecs

from semrsm_jax import Identity, pair_statistics, to_tokens
from semrsm_jax._rows import Rows
from semrsm_jax.store import FeatureStore, feature_ids, feature_names, load_features

SHAPE = (6, 5, 3)


def features(dtype="f4", shape=SHAPE) -> np.ndarray:
    rng = np.random.default_rng(0)
    return (10 * rng.normal(size=shape)).astype(dtype)


def a_store(path, layers) -> Path:
    shapes = {name: values.shape[1:] for name, values in layers.items()}
    ids = [f"s{n}" for n in range(SHAPE[0])]
    store = FeatureStore.create(path, ids=ids, layers=shapes, batch=4)
    for number in store.missing():
        rows = store.rows(number)
        store.write(number, {name: values[rows] for name, values in layers.items()})
    return path


def an_array(path, values, *, zarr_format=3, chunks=(4, 5, 2), **settings) -> Path:
    array = zarr.create_array(
        path,
        shape=values.shape,
        dtype=values.dtype,
        chunks=chunks,
        zarr_format=zarr_format,
        **settings,
    )
    array[:] = values
    return path


def written(folder: Path, kind: str) -> tuple[Path, str | None]:
    """The features in one of the ways, and the key to them."""
    if kind == "npy":
        np.save(folder / "x.npy", features())
        return folder / "x.npy", None
    if kind in ("npz", "packed"):
        save = np.savez if kind == "npz" else np.savez_compressed
        save(folder / "x.npz", other=np.ones(2), x=features())
        return folder / "x.npz", "x"
    if kind == "safetensors":
        save_file({"x": features(), "y": np.ones(2)}, folder / "x.safetensors")
        return folder / "x.safetensors", "x"
    if kind == "store":
        return a_store(folder / "x", {"x": features(), "y": features()}), "x"
    if kind == "zarr":
        return an_array(folder / "x.zarr", features()), None
    if kind == "group":
        zarr.create_group(folder / "x.zarr", zarr_format=3)
        an_array(folder / "x.zarr" / "x", features())
        return folder / "x.zarr", "x"
    (folder / "many").mkdir()
    np.save(folder / "many" / "x.npy", features())
    np.save(folder / "many" / "y.npy", features())
    return folder / "many", "x"


KINDS = ("npy", "npz", "packed", "safetensors", "store", "zarr", "group", "folder")
LAZY = {"safetensors", "store", "zarr", "group"}


@pytest.mark.parametrize("kind", KINDS)
def test_every_kind_is_read_whole_and_in_parts(tmp_path, kind):
    path, key = written(tmp_path, kind)
    loaded, expected = load_features(path, key), features()
    assert isinstance(loaded, Rows if kind in LAZY else np.ndarray)
    if kind in ("npy", "npz", "folder"):
        assert isinstance(loaded, np.memmap)
    assert loaded.shape == expected.shape and loaded.dtype == expected.dtype
    assert len(loaded) == 6
    np.testing.assert_array_equal(np.asarray(loaded), expected)
    for index in (slice(1, 5), slice(5, 6), slice(2, 2), [4, 0, 4], 3):
        np.testing.assert_array_equal(loaded[index], expected[index])
    np.testing.assert_array_equal(to_tokens(loaded, "NSC"), expected)


@pytest.mark.parametrize("kind", ["npz", "safetensors", "store", "zarr"])
def test_statistics_are_those_of_the_array_in_memory(tmp_path, kind):
    loaded = load_features(*written(tmp_path, kind))
    lazy = pair_statistics(loaded, features() + 1, Identity())
    held = pair_statistics(features(), features() + 1, Identity())
    for one, other in zip(lazy, held, strict=True):
        np.testing.assert_array_equal(one, other)


def test_layers_are_listed_by_name(tmp_path):
    layers = {"stages.0": features(), "stages.1": features()}
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
    save_file(layers, folder / "two.safetensors")
    an_array(folder / "deep.zarr", features())
    (folder / "notes.txt").write_text("not a layer")
    (folder / ".hidden.npy").write_text("nor this")
    names = "deep", "stages.0", "stages.1", "two/stages.0", "two/stages.1"
    assert feature_names(folder) == names
    np.testing.assert_array_equal(
        load_features(folder, names[-1])[2:4], features()[2:4]
    )
    save_file({"x": features()}, folder / "deep.safetensors")
    with pytest.raises(ValueError, match="holds 'deep' twice"):
        feature_names(folder)
    (tmp_path / "nothing").mkdir()
    with pytest.raises(ValueError, match="is a folder without features"):
        load_features(tmp_path / "nothing")


def test_names_of_samples_are_found_beside_the_layers(tmp_path):
    ids = tuple(f"s{n}" for n in range(6))
    np.savez(tmp_path / "x.npz", a=features(), ids=np.array(ids))
    metadata = {"ids": json.dumps(ids)}
    save_file({"a": features()}, tmp_path / "x.safetensors", metadata)
    a_store(tmp_path / "store", {"a": features()})
    for name in ("x.npz", "x.safetensors", "store"):
        assert feature_ids(tmp_path / name) == ids
        assert load_features(tmp_path / name).shape == SHAPE
    np.save(tmp_path / "x.npy", features())
    assert feature_ids(tmp_path / "x.npy") is None


def test_bfloat16_is_read_in_parts_from_safetensors(tmp_path):
    expected = features(ml_dtypes.bfloat16)
    save_file({"x": expected}, tmp_path / "x.safetensors")
    loaded = load_features(tmp_path / "x.safetensors")
    assert loaded.dtype == ml_dtypes.bfloat16 and loaded[1:3].dtype == loaded.dtype
    np.testing.assert_array_equal(loaded[1:3], expected[1:3])


def test_a_large_compressed_member_is_refused_with_the_way_out(tmp_path, monkeypatch):
    path, key = written(tmp_path, "packed")
    module = sys.modules["semrsm_jax.store._numpy_files"]
    monkeypatch.setattr(module, "free_memory", lambda: 300)
    with pytest.raises(ValueError, match="half of the free memory.*by numpy.savez"):
        load_features(path, key)


# Zarr arrays that others wrote


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
        {
            "zarr_format": 3,
            "chunk_key_encoding": {"name": "v2", "separator": "/"},
        },
        {"zarr_format": 2, "compressors": None},
        {"zarr_format": 2, "compressors": "auto"},
    ],
)
@pytest.mark.parametrize("dtype", ["f4", "f2", "i4"])
def test_the_usual_encodings_are_read(tmp_path, settings, dtype):
    path = an_array(tmp_path / "x", features(dtype), **settings)
    np.testing.assert_array_equal(load_features(path)[1:6], features(dtype)[1:6])


def test_chunks_that_were_not_written_hold_the_fill_value(tmp_path):
    values = features()
    values[:4] = 0
    path = an_array(tmp_path / "x", values, chunks=(4, 5, 3))
    assert not (path / "c" / "0").exists()
    np.testing.assert_array_equal(load_features(path)[:], values)


@pytest.mark.parametrize(
    "settings",
    [{"shards": (4, 5, 2)}, {"compressors": [codecs.ZstdCodec(), codecs.GzipCodec()]}],
    ids=str,
)
def test_unusual_encodings_are_refused(tmp_path, settings):
    path = an_array(tmp_path / "x", features(), chunks=(2, 5, 2), **settings)
    with pytest.raises(ValueError, match="was encoded by"):
        load_features(path)


def changed(path: Path, **fields) -> Path:
    metadata = json.loads((path / "zarr.json").read_text())
    (path / "zarr.json").write_text(json.dumps(metadata | fields))
    return path


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
        ({"node_type": "other"}, ValueError, "no"),
        ({"zarr_format": 9}, ValueError, "damaged metadata"),
        ({"chunk_grid": {"name": "odd"}}, ValueError, "damaged metadata"),
    ],
)
def test_absurd_metadata_is_refused(tmp_path, fields, error, match):
    path = changed(an_array(tmp_path / "x", features()), **fields)
    with pytest.raises(error, match=match):
        load_features(path)


def test_other_dtypes_in_zarr_are_refused(tmp_path):
    path = an_array(tmp_path / "x", features("c8"))
    with pytest.raises(TypeError, match="must hold floats or integers.*complex64"):
        load_features(path)


def test_absurd_chunks_are_refused(tmp_path):
    grid = {"name": "regular", "configuration": {"chunk_shape": [10**6, 10**4, 10**3]}}
    path = changed(an_array(tmp_path / "x", features()), chunk_grid=grid)
    with pytest.raises(ValueError, match="chunks of .* bytes"):
        load_features(path)


@pytest.mark.parametrize("codec", [None, codecs.ZstdCodec(), codecs.BloscCodec()])
def test_truncated_and_flipped_chunks_are_named(tmp_path, codec):
    path = an_array(tmp_path / "x", features(), chunks=SHAPE, compressors=codec)
    chunk = path / "c" / "0" / "0" / "0"
    whole = chunk.read_bytes()
    for content in (whole[:-5], whole[:3], b"", whole + b"more"):
        chunk.write_bytes(content)
        if codec is None or len(content) < len(whole):
            with pytest.raises(ValueError, match="damaged"):
                load_features(path)[:]


def test_links_that_lead_out_are_refused(tmp_path):
    an_array(tmp_path / "secret", features())
    zarr.create_group(tmp_path / "x", zarr_format=3)
    os.symlink(tmp_path / "secret", tmp_path / "x" / "a")
    with pytest.raises(ValueError, match="leads out of"):
        load_features(tmp_path / "x")
    path = an_array(tmp_path / "y", features(), chunks=SHAPE)
    chunk = path / "c" / "0" / "0" / "0"
    chunk.rename(tmp_path / "chunk")
    os.symlink(tmp_path / "chunk", chunk)
    with pytest.raises(ValueError, match="is a link"):
        load_features(path)


def test_a_group_may_not_name_what_is_elsewhere(tmp_path):
    """Consolidated metadata can name any path; only folders below count."""
    an_array(tmp_path / "secret", features())
    zarr.create_group(tmp_path / "x", zarr_format=3)
    inner = json.loads((tmp_path / "secret" / "zarr.json").read_text())
    consolidated = {"kind": "inline", "must_understand": False}
    consolidated |= {"metadata": {"../secret": inner}}
    changed(tmp_path / "x", consolidated_metadata=consolidated)
    with pytest.raises(ValueError, match="holds no array"):
        load_features(tmp_path / "x")


# With little memory

HOSTILE = """
import resource, sys
from pathlib import Path
import zarr
import semrsm_jax
from semrsm_jax.store import load_features
import numpy as np
used = int(Path("/proc/self/statm").read_text().split()[0]) * resource.getpagesize()
resource.setrlimit(resource.RLIMIT_AS, (used + 2**28, used + 2**28))
for path in sorted(Path(sys.argv[1]).iterdir()):
    try:
        np.asarray(load_features(path)[:])
        print(path.name, "READ")
    except (TypeError, ValueError) as error:
        print(path.name, type(error).__name__, str(error).replace("\\n", " "))
    except MemoryError:
        print(path.name, "MEMORY")
    except BaseException as error:
        print(path.name, "OTHER", repr(error))
"""


def bomb(path: Path, size: int) -> None:
    """A whole array of zeros: nothing that it says of itself is wrong."""
    with (
        zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive,
        archive.open("x.npy", "w", force_zip64=True) as stream,
    ):
        stream.write(npy_header(f"({size // 4},)"))
        piece = bytes(2**22)
        for _ in range(size // len(piece)):
            stream.write(piece)


def zarr_bomb(path: Path, codec, chunk: bytes) -> None:
    an_array(path, features(), chunks=SHAPE, compressors=codec)
    (path / "c" / "0" / "0" / "0").write_bytes(chunk)


@pytest.fixture(scope="module")
def hostile(tmp_path_factory):
    root = tmp_path_factory.mktemp("hostile")
    folder, large = root / "inputs", 2**28 + 2**25
    folder.mkdir()
    trap = np.empty(1, object)
    trap[0] = Trap(root / "sprung")
    np.save(folder / "object.npy", trap)
    np.savez(folder / "object.npz", trap)
    (folder / "pickle.npy").write_bytes(pickle.dumps(trap[0]))
    (folder / "claims.npy").write_bytes(npy_header((10**12, 3)) + bytes(24))
    huge = b"\x93NUMPY\x02\x00" + (2**32 - 16).to_bytes(4, "little")
    with (folder / "header.npy").open("wb") as stream:
        stream.write(huge + b"{")
        stream.truncate(2**33)
    bomb(folder / "bomb.npz", large)
    with zipfile.ZipFile(folder / "out.npz", "w") as archive:
        archive.writestr("../out.npy", npy_header((1,)) + bytes(4))
    with (folder / "header.safetensors").open("wb") as stream:
        stream.write((2**40).to_bytes(8, "little") + b"{")
        stream.truncate(2**33)
    claims = {"x": {"dtype": "F32", "shape": [2**40], "data_offsets": [0, 2**42]}}
    text = json.dumps(claims).encode()
    (folder / "claims.safetensors").write_bytes(len(text).to_bytes(8, "little") + text)
    for name, codec, packer in (
        ("zstd", codecs.ZstdCodec(), numcodecs.Zstd(1)),
        ("gzip", codecs.GzipCodec(), numcodecs.GZip(1)),
        ("blosc", codecs.BloscCodec(), numcodecs.Blosc("zstd")),
    ):
        zarr_bomb(folder / f"{name}.zarr", codec, packer.encode(bytes(large)))
    changed(an_array(folder / "shape.zarr", features()), shape=[2**40, 2**10, 3])
    with (an_array(folder / "json.zarr", features()) / "zarr.json").open("r+b") as file:
        file.truncate(2**33)
    return root


@pytest.fixture(scope="module")
def verdicts(hostile):
    command = [sys.executable, "-c", HOSTILE, str(hostile / "inputs")]
    done = subprocess.run(command, capture_output=True, text=True, timeout=120)
    assert done.returncode == 0, done.stderr[-2000:]
    return dict(line.split(" ", 1) for line in done.stdout.splitlines())


@pytest.mark.parametrize(
    ("name", "verdict"),
    [
        ("object.npy", "TypeError"),
        ("object.npz", "TypeError"),
        ("pickle.npy", "ValueError"),
        ("claims.npy", "ValueError"),
        ("header.npy", "ValueError"),
        ("bomb.npz", "ValueError"),
        ("out.npz", "ValueError"),
        ("header.safetensors", "ValueError"),
        ("claims.safetensors", "ValueError"),
        ("zstd.zarr", "ValueError"),
        ("gzip.zarr", "ValueError"),
        ("blosc.zarr", "ValueError"),
        ("shape.zarr", "ValueError"),
        ("json.zarr", "ValueError"),
    ],
)
def test_hostile_files_are_refused_within_256_mib(verdicts, name, verdict):
    found = verdicts[name]
    assert found.split()[0] == verdict, found
    assert name in found


def test_nothing_of_the_hostile_files_is_run_or_unpacked(verdicts, hostile):
    assert not (hostile / "sprung").exists()
    assert not [*hostile.rglob("out.npy")]
    assert "READ" not in " ".join(verdicts.values())


PEAK = """
import resource, sys
import numpy as np
from semrsm_jax.store import load_features
from semrsm_jax import Identity, pair_statistics
x = load_features(sys.argv[1])
pair_statistics(x[:32], x[:1], Identity(), memory_budget=2**22)
before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
pair_statistics(x, x[:1], Identity(), memory_budget=2**22)
print((resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before) * 1024)
"""


@pytest.mark.parametrize(
    "kind", ["safetensors", pytest.param("zarr", marks=pytest.mark.slow)]
)
def test_nothing_larger_than_what_is_worked_on_is_read(tmp_path, kind):
    values = np.ones((320, 256, 256), np.float32)  # 80 MiB
    if kind == "zarr":
        path = an_array(tmp_path / "x", values, chunks=(8, 256, 256), compressors=None)
    else:
        path = tmp_path / "x.safetensors"
        save_file({"x": values}, path)
    done = subprocess.run(
        [sys.executable, "-c", PEAK, str(path)],
        capture_output=True,
        text=True,
        check=True,
    )
    assert int(done.stdout) < 40 * 2**20


def test_jax_arrays_are_still_taken(tmp_path):
    assert to_tokens(jnp.ones((2, 3, 4)), "NSC").shape == (2, 3, 4)
