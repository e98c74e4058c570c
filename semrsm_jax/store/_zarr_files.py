"""Features in zarr arrays that anyone may have written, held to what they claim.

Zarr reads the metadata and decodes the chunks. What it would do with any file is
limited here: which codecs decode, how large metadata and chunks may be, and that no
chunk unpacks to more than a chunk of the array.
"""

import math
import os
import zlib
from collections.abc import Iterator
from functools import partial
from itertools import product
from pathlib import Path
from typing import Any

import numpy as np

from semrsm_jax._resources import free_memory
from semrsm_jax._rows import Rows
from semrsm_jax.store._schema import read_json
from semrsm_jax.store.stored_array import StoredArray, check_real, damage_named

_METADATA = ("zarr.json", ".zarray", ".zgroup")
_COMPRESSORS = ("zstd", "gzip", "zlib", "blosc")
# An array may be this much larger than its files, since what is not written is filled.
_MOST_EXPANSION, _SLACK = 1032, 2**20
# A chunk is read as a whole, and then once more where it is decoded.
_CHUNK_SHARE = 1 / 8
_MOST_DEPTH, _MOST_FOLDERS = 4, 10_000


def is_zarr(path: Path) -> bool:
    """Whether a folder is a zarr array or group."""
    return any(os.path.exists(path / name) for name in _METADATA)


def open_zarr(path: Path) -> dict[str, StoredArray]:
    """Lists the arrays of a zarr group by their names; one array has the empty name."""
    return dict(_arrays(path, path, "", 0))


def _arrays(
    root: Path, folder: Path, name: str, depth: int
) -> Iterator[tuple[str, StoredArray]]:
    if not folder.resolve().is_relative_to(root.resolve()):
        raise ValueError(f"{folder} leads out of {root}")
    new = (folder / "zarr.json").exists()
    metadata = read_json(folder / "zarr.json") if new else {}
    if metadata.get("node_type") == "array" or (folder / ".zarray").exists():
        yield name, _listed(folder, metadata if new else read_json(folder / ".zarray"))
        return
    if depth >= _MOST_DEPTH:
        return
    children = sorted(child for child in folder.iterdir() if is_zarr(child))
    if len(children) > _MOST_FOLDERS:
        raise ValueError(f"{folder} holds {len(children)} arrays and groups")
    for child in children:
        inner = f"{name}/{child.name}" if name else child.name
        yield from _arrays(root, child, inner, depth + 1)


def _listed(path: Path, metadata: dict[str, Any]) -> StoredArray:
    """The array in a folder, its metadata read by zarr once its codecs are known."""
    import zarr

    try:
        codecs = _codecs(path, metadata)
        array = zarr.open_array(path, mode="r")
        if min(array.shape, default=0) < 0 or min(array.chunks, default=1) < 1:
            raise ValueError(f"shape {array.shape} in chunks of {array.chunks}")
        dtype = np.dtype(array.dtype).newbyteorder("=")
    except _CodecError:
        raise
    except Exception as error:  # what zarr raises depends on its version
        raise ValueError(f"{path} has damaged metadata: {error}") from error
    return StoredArray(dtype, array.shape, partial(_open, path, array, codecs, dtype))


class _CodecError(ValueError):
    """Chunks are encoded in a way that is not decoded here."""


def _codecs(path: Path, metadata: dict[str, Any]) -> list[str]:
    """The names of the codecs, in order: of numbers, compressed once at most."""
    if "codecs" in metadata:
        given = metadata["codecs"]
        codecs = [codec if isinstance(codec, str) else codec["name"] for codec in given]
    else:
        filters, packed = metadata["filters"] or [], metadata["compressor"]
        codecs = [part["id"] for part in filters] + ["bytes"]
        codecs += [] if packed is None else [packed["id"]]
    packed = [codec for codec in codecs if codec in _COMPRESSORS]
    expected = [codec for codec in codecs if codec == "transpose"]
    expected += ["bytes", *packed, *["crc32c"] * (codecs[-1:] == ["crc32c"])]
    if codecs != expected or len(packed) > 1:
        raise _CodecError(
            f"{path} was encoded by {', '.join(codecs)}; only one of "
            f"{', '.join(_COMPRESSORS)} is read, after bytes and before crc32c"
        )
    return codecs


def _open(path: Path, array: Any, codecs: list[str], dtype: np.dtype) -> Rows:
    """The array's rows, once its claims were checked."""
    check_real(str(path), dtype)
    claimed = math.prod(array.shape) * dtype.itemsize
    held = sum(file.stat().st_size for file in _files(path))
    if claimed > _MOST_EXPANSION * held + _SLACK:
        raise ValueError(
            f"{path} claims to hold {claimed} bytes (shape {array.shape}, {dtype}), "
            f"which {held} bytes of files cannot"
        )
    chunk = math.prod(array.chunks) * dtype.itemsize
    if chunk > max(_SLACK, free_memory() * _CHUNK_SHARE):
        raise ValueError(
            f"{path} has chunks of {chunk} bytes (shape {array.chunks}), more than an "
            "eighth of the free memory; write it in smaller ones"
        )
    return Rows(array.shape, dtype, partial(_read_rows, path, array, codecs, dtype))


def _files(path: Path) -> Iterator[os.DirEntry]:
    """The regular files below a folder; links are not followed."""
    with os.scandir(path) as entries:
        for entry in entries:
            if entry.is_dir(follow_symlinks=False):
                yield from _files(Path(entry.path))
            elif entry.is_file(follow_symlinks=False):
                yield entry
            elif entry.is_symlink():
                raise ValueError(f"{entry.path} is a link, which may lead anywhere")


def _read_rows(
    path: Path, array: Any, codecs: list[str], dtype: np.dtype, start: int, stop: int
) -> np.ndarray:
    grid = [
        range(-(-n // chunk))
        for n, chunk in zip(array.shape, array.chunks, strict=True)
    ]
    grid[0] = range(start // array.chunks[0], -(-stop // array.chunks[0]))
    with damage_named(path):
        try:
            for number in product(*grid) if stop > start else ():
                file = path / array.metadata.encode_chunk_key(number)
                # What is not there is filled with a constant, as the format says.
                if file.exists():
                    size = math.prod(array.chunks) * dtype.itemsize
                    _check_chunk(file, codecs, size)
            return np.asarray(array[start:stop]).astype(dtype, copy=False)
        except (KeyError, RuntimeError, TypeError, ValueError) as error:
            raise ValueError(f"{path} is damaged: {error}") from error


def _check_chunk(path: Path, codecs: list[str], size: int) -> None:
    """Raises where a chunk unpacks to another size, before zarr allocates for it."""
    import numcodecs

    trailer = 4 if codecs[-1] == "crc32c" else 0
    codec = next((name for name in codecs if name in _COMPRESSORS), None)
    stored, unpacked = path.stat().st_size - trailer, size
    if codec is None:
        unpacked = stored
    elif stored > 2 * size + _SLACK:
        unpacked = -1
    elif codec in ("zlib", "gzip"):
        stream = zlib.decompressobj(wbits=47)
        unpacked = len(stream.decompress(path.read_bytes(), size + 1))
        unpacked = -1 if len(stream.unused_data) > trailer else unpacked
    else:
        packed = path.read_bytes()[:stored]
        # Blosc does not compare its own length with that of the buffer it is given.
        if codec == "blosc" and int.from_bytes(packed[12:16], "little") != stored:
            unpacked = -1
        else:
            # Raises where there is no room for all of it.
            numcodecs.get_codec({"id": codec}).decode(packed, np.empty(size, np.uint8))
    if unpacked != size:
        raise ValueError(f"{path} unpacks to another size than {size} bytes")
