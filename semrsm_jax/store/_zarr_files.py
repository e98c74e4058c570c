"""Features in zarr arrays that anyone may have written, held to what they claim.

Zarr unpacks a chunk whatever its size. So each is looked at first: what it says, or
turns out, to unpack to must be a chunk of the array.
"""

import math
import os
import zlib
from collections.abc import Iterator
from functools import partial
from itertools import product
from pathlib import Path

import numpy as np

from semrsm_jax._resources import free_memory
from semrsm_jax._rows import Rows
from semrsm_jax.store._stored import StoredArray, check_real, damage_named
from semrsm_jax.store._zarr_metadata import (
    ChunkKeys,
    ZarrArray,
    is_array,
    read_array,
    read_chunk_keys,
)

_METADATA = ("zarr.json", ".zarray", ".zgroup")
_COMPRESSORS = ("zstd", "gzip", "zlib", "blosc")
# What one byte of a file may stand for; deflate can do no better either.
_MOST_EXPANSION, _SLACK = 1032, 2**20
# A chunk is read as a whole, and then once more where it is decoded.
_CHUNK_SHARE = 1 / 8
_PIECE = 2**20
_MOST_DEPTH, _MOST_FOLDERS = 4, 10_000


def is_zarr(path: Path) -> bool:
    """Whether a folder is a zarr array or group."""
    return any(os.path.exists(path / name) for name in _METADATA)


def open_zarr(path: Path) -> dict[str, StoredArray]:
    """Lists the arrays of a zarr group by their names; one array has the empty name.

    Raises:
      ValueError: the metadata is damaged, or leads out of the folder.
    """
    return {
        name: StoredArray(array.dtype, array.shape, partial(_open, folder, array))
        for name, folder in _arrays(path, path, "", 0)
        for array in [read_array(folder)]
    }


def _arrays(
    root: Path, folder: Path, name: str, depth: int
) -> Iterator[tuple[str, Path]]:
    if not folder.resolve().is_relative_to(root.resolve()):
        raise ValueError(f"{folder} leads out of {root}")
    if is_array(folder):
        yield name, folder
        return
    if depth >= _MOST_DEPTH:
        return
    children = sorted(child for child in folder.iterdir() if is_zarr(child))
    if len(children) > _MOST_FOLDERS:
        raise ValueError(f"{folder} holds {len(children)} arrays and groups")
    for child in children:
        inner = f"{name}/{child.name}" if name else child.name
        yield from _arrays(root, child, inner, depth + 1)


def _open(path: Path, array: ZarrArray) -> Rows:
    """The array's rows, once its claims were checked.

    Raises:
      TypeError: its dtype is not real.
      ValueError: it claims more than its files can hold, its chunks are too large to be
        read, or were encoded in another way.
    """
    check_real(str(path), array.dtype)
    _check_codecs(path, array)
    claimed = math.prod(array.shape) * np.dtype(array.dtype).itemsize
    held = sum(file.stat().st_size for file in _files(path))
    if claimed > _MOST_EXPANSION * held + _SLACK:
        raise ValueError(
            f"{path} claims to hold {claimed} bytes (shape {array.shape}, "
            f"{array.dtype}), which {held} bytes of files cannot"
        )
    if array.chunk_bytes > max(_SLACK, free_memory() * _CHUNK_SHARE):
        raise ValueError(
            f"{path} has chunks of {array.chunk_bytes} bytes (shape {array.chunks}), "
            "more than an eighth of the free memory; write it in smaller ones"
        )
    dtype = np.dtype(array.dtype).newbyteorder("=")
    read = partial(_read_rows, path, array, read_chunk_keys(path))
    return Rows(array.shape, dtype, read)


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


def _check_codecs(path: Path, array: ZarrArray) -> None:
    codecs = list(array.codecs)
    checked = codecs[-1:] == ["crc32c"]
    packed = [codec for codec in codecs if codec in _COMPRESSORS]
    expected = [codec for codec in codecs if codec == "transpose"]
    expected += ["bytes", *packed, *["crc32c"] * checked]
    if codecs != expected or len(packed) > 1:
        raise ValueError(
            f"{path} was encoded by {', '.join(codecs)}; only one of "
            f"{', '.join(_COMPRESSORS)} is read, after bytes and before crc32c"
        )


def _read_rows(
    path: Path, array: ZarrArray, keys: ChunkKeys, start: int, stop: int
) -> np.ndarray:
    import zarr

    dtype = np.dtype(array.dtype).newbyteorder("=")
    with damage_named(path):
        if stop > start:
            _check_chunks(path, array, keys, start, stop)
        try:
            values = zarr.open_array(path, mode="r")[start:stop]
            return np.asarray(values).astype(dtype, copy=False)
        except (KeyError, RuntimeError, TypeError, ValueError) as error:
            raise ValueError(f"{path} is damaged: {error}") from error


def _check_chunks(
    folder: Path, array: ZarrArray, keys: ChunkKeys, start: int, stop: int
) -> None:
    """Refuses chunks that do not unpack to what they should."""
    chunks, shape = array.chunks, array.shape
    first = range(start // chunks[0], -(-stop // chunks[0]))
    rest = [
        range(-(-n // chunk)) for n, chunk in zip(shape[1:], chunks[1:], strict=True)
    ]
    packed = [codec for codec in array.codecs if codec in _COMPRESSORS]
    trailer = 4 if array.codecs[-1] == "crc32c" else 0
    for numbers in product(first, *rest):
        path = folder / keys(numbers)
        # What is not there is filled with a constant, as the format says.
        if path.exists():
            size = _UNPACKED[packed[0] if packed else None](
                path, trailer, array.chunk_bytes
            )
            if size != array.chunk_bytes:
                raise ValueError(
                    f"{path} is damaged: it unpacks to another size than "
                    f"{array.chunk_bytes} bytes"
                )


def _plain(path: Path, trailer: int, most: int) -> int:
    return path.stat().st_size - trailer


def _deflated(path: Path, trailer: int, most: int) -> int:
    """The size that a zlib or gzip stream unpacks to, by unpacking as much as allowed.

    What it says of itself at its end may be wrong.
    """
    unpack, size = zlib.decompressobj(wbits=47), 0
    with path.open("rb") as stream:
        while piece := stream.read(_PIECE):
            while piece and size <= most:
                size += len(unpack.decompress(piece, _PIECE))
                piece = unpack.unconsumed_tail
            if unpack.eof or size > most:
                # Another stream may follow in gzip; nobody writes chunks like that.
                rest = len(unpack.unused_data) + len(stream.read(_PIECE))
                return size if rest <= trailer else -1
    return -1


def _blosc(path: Path, trailer: int, most: int) -> int:
    """The size in the header of Blosc, which holds its decoder to it."""
    with path.open("rb") as stream:
        head = stream.read(16)
    unpacked, packed = (int.from_bytes(head[n : n + 4], "little") for n in (4, 12))
    return unpacked if packed == path.stat().st_size - trailer else -1


def _zstd(path: Path, trailer: int, most: int) -> int:
    """The size in the header of a Zstandard frame (RFC 8878), -1 where it is left out.

    The decoder is held to it, and refuses a frame that has more.
    """
    with path.open("rb") as stream:
        head = stream.read(18)
    if head[:4] != b"\x28\xb5\x2f\xfd" or len(head) < 6:
        return -1
    descriptor = head[4]
    single = descriptor >> 5 & 1
    bytes_of_size = (single, 2, 4, 8)[descriptor >> 6]
    start = 5 + (not single) + (0, 1, 2, 4)[descriptor & 3]
    if not bytes_of_size:
        return -1
    size = int.from_bytes(head[start : start + bytes_of_size], "little")
    return size + 256 if bytes_of_size == 2 else size


_UNPACKED = {
    None: _plain,
    "zlib": _deflated,
    "gzip": _deflated,
    "blosc": _blosc,
    "zstd": _zstd,
}
