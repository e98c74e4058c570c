"""Arrays in NumPy's own formats, .npy and .npz, held to what their headers claim."""

import io
import math
import os
import struct
import tokenize
import zipfile
from functools import partial
from pathlib import Path
from typing import NamedTuple

import numpy as np

from semrsm_jax._resources import free_memory
from semrsm_jax.store.stored_array import ArrayFile, StoredArray, damage_named

# A .npy header of NumPy's own is 128 bytes; NumPy refuses more than 10,000.
_HEADER_BYTES = 16_384

# What parsing a header may raise: it is a Python literal.
_HEADER_ERRORS = (
    ValueError,
    SyntaxError,
    TypeError,
    tokenize.TokenError,
    RecursionError,
    MemoryError,
)

# A member that unpacks to more than this, and by more than this factor, is a bomb.
_LARGE, _MOST_RATIO = 2**26, 200

# Bytes at the end of a zip archive, and the count where there are more members.
_END_OF_ZIP, _COUNTED_ELSEWHERE = 22, 2**16 - 1

# Bytes of what stands before a member, without its name.
_LOCAL_HEADER = 30

# Bytes of the text behind an array: ids of millions of samples.
_TEXT_BYTES = 2**30

# Bytes read at a time where only the checksum is wanted.
_PIECE = 2**20


class _Header(NamedTuple):
    shape: tuple[int, ...]
    fortran_order: bool
    dtype: np.dtype
    offset: int

    @property
    def end(self) -> int:
        """Bytes of header and values together."""
        return self.offset + math.prod(self.shape) * self.dtype.itemsize


def _npy_header(where: str, head: bytes, size: int, more: bool = False) -> _Header:
    """Reads the header at the start of `size` bytes, and holds it to that size.

    With `more`, something may follow.
    """
    stream = io.BytesIO(head)
    try:
        version = np.lib.format.read_magic(stream)
        if version == (1, 0):
            fields = np.lib.format.read_array_header_1_0(stream)
        elif version == (2, 0):
            fields = np.lib.format.read_array_header_2_0(stream)
        else:
            raise ValueError(f"version {version} is for records with named fields")
    except _HEADER_ERRORS as error:
        reason = str(error).partition("\n")[0] or type(error).__name__
        raise ValueError(f"{where} has a damaged .npy header: {reason}") from error
    header = _Header(*fields, stream.tell())
    if min(header.shape, default=0) < 0:
        raise ValueError(f"{where} claims the impossible shape {header.shape}")
    # The size of a pickle is not known from the header: `check_real` refuses it.
    if header.dtype.hasobject or header.end == size or (more and header.end < size):
        return header
    what = "is truncated" if header.end > size else "holds more than one array"
    raise ValueError(
        f"{where} {what}: its header claims {header.end} bytes (shape {header.shape}, "
        f"{header.dtype}), it has {size}"
    )


def open_npy(path: Path) -> ArrayFile:
    with path.open("rb") as stream:
        size = os.fstat(stream.fileno()).st_size
        header = _npy_header(str(path), stream.read(_HEADER_BYTES), size, more=True)
        metadata = {}
        if not header.dtype.hasobject and header.end < size:
            stream.seek(header.end)
            metadata["metadata"] = _text(path, stream.read(_TEXT_BYTES + 1))

    read = partial(_mapped, path, header)
    return ArrayFile({"": StoredArray(header.dtype, header.shape, read)}, metadata)


def _mapped(path: Path, header: _Header, start: int = 0) -> np.ndarray:
    """Maps the array whose header begins `start` bytes into a file."""
    order = "F" if header.fortran_order else "C"
    offset = start + header.offset
    with damage_named(path):
        return _native(np.memmap(path, header.dtype, "r", offset, header.shape, order))


def _text(path: Path, contents: bytes) -> str:
    """The text behind an array: the bytes of a second one, as `save_rsm` adds it."""
    header = _npy_header(f"{path}, its second array,", contents, len(contents))
    if len(header.shape) != 1 or header.dtype != np.uint8:
        raise ValueError(f"{path} holds more than one array, expected one")
    return contents[header.offset :].decode()


def open_npz(path: Path) -> ArrayFile:
    arrays: dict[str, StoredArray] = {}
    with zipfile.ZipFile(path) as archive:
        _check_count(path, archive)
        for member in archive.infolist():
            _check_member(path, member)
            name, suffix = os.path.splitext(member.filename)
            # Of every member, as opening compares both places that hold its name.
            with archive.open(member) as stream:
                head = stream.read(_HEADER_BYTES)
            if suffix != ".npy":
                continue
            if name in arrays:
                raise ValueError(f"{path} holds {name!r} twice")
            header = _npy_header(f"{path}, {name!r}", head, member.file_size)
            if member.compress_type == zipfile.ZIP_STORED:
                read = partial(_map_member, path, member, header)
            else:
                read = partial(_read_member, path, member)
            arrays[name] = StoredArray(header.dtype, header.shape, read)
    return ArrayFile(arrays, {})


def _check_count(path: Path, archive: zipfile.ZipFile) -> None:
    """Compares the number of members with that at the end, which zipfile does not."""
    with path.open("rb") as stream:
        stream.seek(-_END_OF_ZIP - len(archive.comment), os.SEEK_END)
        count = int.from_bytes(stream.read(_END_OF_ZIP)[10:12], "little")
    if count not in (len(archive.infolist()), _COUNTED_ELSEWHERE):
        raise ValueError(
            f"{path} is damaged: {len(archive.infolist())} of {count} members are there"
        )


def _check_member(path: Path, member: zipfile.ZipInfo) -> None:
    name = member.filename
    if name.startswith(("/", "\\")) or ".." in name.replace("\\", "/").split("/"):
        raise ValueError(f"{path} has a member that leads out of it: {name!r}")
    if member.flag_bits & 1:
        raise ValueError(f"{path} has an encrypted member: {name!r}")
    if member.compress_type not in (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED):
        # The other methods may unpack a whole member at once, whatever its size.
        raise ValueError(f"{path} has a member compressed in a way NumPy never writes")


def _map_member(path: Path, member: zipfile.ZipInfo, header: _Header) -> np.ndarray:
    """Maps a member that is not compressed, once it was compared with its checksum."""
    with damage_named(path):
        with zipfile.ZipFile(path) as archive, archive.open(member) as stream:
            while stream.read(_PIECE):
                pass
        with path.open("rb") as stream:
            stream.seek(member.header_offset)
            local = stream.read(_LOCAL_HEADER)
    # The name and what follows it may be longer there than in the directory.
    name, extra = struct.unpack("<HH", local[-4:])
    return _mapped(path, header, member.header_offset + len(local) + name + extra)


def _read_member(path: Path, member: zipfile.ZipInfo) -> np.ndarray:
    """Unpacks a compressed member, which cannot be read in part, into memory."""
    size, packed = member.file_size, member.compress_size
    if size > _LARGE and size > _MOST_RATIO * packed:
        raise ValueError(
            f"{path} would unpack {member.filename!r} from {packed} to {size} bytes, "
            "as no features do but a zip bomb; save it by numpy.save"
        )
    if size > free_memory() / 2:
        raise ValueError(
            f"{path} unpacks {member.filename!r} to {size} bytes, more than half of "
            "the free memory, and a compressed member cannot be read in part; save it "
            "by numpy.save, or not compressed, by numpy.savez"
        )
    with (
        damage_named(path),
        zipfile.ZipFile(path) as archive,
        archive.open(member) as stream,
    ):
        array = np.lib.format.read_array(stream, allow_pickle=False)
        # Only reading on to the end compares the checksum.
        stream.read(1)
    return _native(array)


def _native(array: np.ndarray) -> np.ndarray:
    if array.dtype.isnative:
        return array
    return array.astype(array.dtype.newbyteorder("="))
