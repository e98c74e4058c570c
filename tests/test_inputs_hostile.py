"""Hostile files take little memory, and large ones are read in parts."""

import json
import subprocess
import sys
import zipfile
from pathlib import Path

import numcodecs
import numpy as np
import pytest
from array_files import SHAPE, change_metadata, six_samples, write_zarr
from safetensors.numpy import save_file
from stored_runs import npy_header
from zarr import codecs

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
    write_zarr(path, six_samples(), chunks=SHAPE, compressors=codec)
    (path / "c" / "0" / "0" / "0").write_bytes(chunk)


def write_hostile(folder: Path) -> None:
    large = 2**28 + 2**25
    (folder / "claims.npy").write_bytes(npy_header((10**12, 3)) + bytes(24))
    huge = b"\x93NUMPY\x02\x00" + (2**32 - 16).to_bytes(4, "little")
    with (folder / "header.npy").open("wb") as stream:
        stream.write(huge + b"{")
        stream.truncate(2**33)
    bomb(folder / "bomb.npz", large)
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
    large_shape = write_zarr(folder / "shape.zarr", six_samples())
    change_metadata(large_shape, shape=[2**40, 2**10, 3])
    long_document = write_zarr(folder / "json.zarr", six_samples()) / "zarr.json"
    with long_document.open("r+b") as file:
        file.truncate(2**33)


@pytest.mark.slow
def test_hostile_files_are_refused_within_256_mib(tmp_path):
    write_hostile(tmp_path)
    command = [sys.executable, "-c", HOSTILE, str(tmp_path)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=120)
    assert done.returncode == 0, done.stderr[-2000:]
    verdicts = dict(line.split(" ", 1) for line in done.stdout.splitlines())
    assert len(verdicts) == 10
    for name, verdict in verdicts.items():
        assert verdict.startswith("ValueError") and name in verdict, verdict


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


@pytest.mark.slow
@pytest.mark.parametrize("kind", ["safetensors", "zarr"])
def test_nothing_larger_than_what_is_worked_on_is_read(optimized, tmp_path, kind):
    values = np.ones((320, 256, 256), np.float32)  # 80 MiB
    if kind == "zarr":
        chunks = (8, 256, 256)
        path = write_zarr(tmp_path / "x", values, chunks=chunks, compressors=None)
    else:
        path = tmp_path / "x.safetensors"
        save_file({"x": values}, path)
    command = [sys.executable, "-c", PEAK, str(path)]
    assert int(subprocess.check_output(command)) < 40 * 2**20
