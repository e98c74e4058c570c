"""Arrays in .npy, .npz and .safetensors files that anyone may have written.

Sizes and dtypes are checked on the headers, before anything is allocated; nothing is
ever unpickled, and nothing extracted from an archive to the disk.
"""

import os
import stat
from collections.abc import Mapping
from functools import partial
from pathlib import Path
from typing import Any

import ml_dtypes
import numpy as np
from safetensors import safe_open
from safetensors.numpy import save

from semrsm_jax._rows import Rows
from semrsm_jax.store._numpy_files import open_npy, open_npz
from semrsm_jax.store.output import SUFFIXES, new_file
from semrsm_jax.store.stored_array import ArrayFile, StoredArray, damage_named

# The first bytes of each kind of file read here: where they stand, what they are.
_EXPECTED = {
    ".npy": (0, (b"\x93NUMPY",)),
    ".npz": (0, (b"PK\x03\x04", b"PK\x05\x06")),
    ".safetensors": (8, (b"{",)),
}

# Files that are often taken for one of those, by their first bytes.
_FOREIGN = {
    b"\x93NUMPY": "a .npy array",
    b"PK": "a zip archive (an .npz file, or a torch checkpoint)",
    b"\x89PNG": "a PNG image",
    b"\xff\xd8\xff": "a JPEG image",
    b"GIF8": "a GIF image",
    b"\x89HDF": "an HDF5 file",
    b"\x1f\x8b": "a gzip archive",
    b"%PDF": "a PDF document",
    b"version https://git-lfs": "a Git LFS pointer; `git lfs pull` fetches the file",
    **{
        bytes([0x80, protocol]): "a pickle, which could run code and is never read"
        for protocol in range(2, 6)
    },
}

# The most that the format allows.
_SAFETENSORS_HEADER = 100_000_000

_SAFETENSORS_DTYPES = {
    "F64": np.dtype(np.float64),
    "F32": np.dtype(np.float32),
    "F16": np.dtype(np.float16),
    "BF16": np.dtype(ml_dtypes.bfloat16),
    **{f"I{bits}": np.dtype(f"int{bits}") for bits in (8, 16, 32, 64)},
    **{f"U{bits}": np.dtype(f"uint{bits}") for bits in (8, 16, 32, 64)},
}


def open_arrays(path: str | os.PathLike) -> ArrayFile:
    """Lists the arrays of a .npy, .npz or .safetensors file, reading headers only.

    Raises:
      ValueError: the file is missing, no regular file, empty, of another kind than its
        suffix says, damaged, or claims more than it holds.
    """
    path = Path(path)
    with damage_named(path):
        status = path.stat()
    if stat.S_ISDIR(status.st_mode):
        raise ValueError(f"{path} is a folder, expected a file: {', '.join(SUFFIXES)}")
    if not stat.S_ISREG(status.st_mode):
        raise ValueError(
            f"{path} is not a regular file, expected {', '.join(SUFFIXES)}"
        )
    suffix = path.suffix.lower()
    if suffix not in _EXPECTED:
        raise ValueError(
            f"{path} must end in one of {', '.join(SUFFIXES)}, got "
            f"{suffix or 'no suffix'}"
        )
    if status.st_size == 0:
        raise ValueError(f"{path} is empty (0 bytes)")
    with damage_named(path):
        _check_kind(path, suffix)
        return {".npy": open_npy, ".npz": open_npz, ".safetensors": _safetensors}[
            suffix
        ](path)


def _check_kind(path: Path, suffix: str) -> None:
    with path.open("rb") as stream:
        head = stream.read(64)
    offset, magics = _EXPECTED[suffix]
    if head[offset:].startswith(magics):
        return
    for magic, kind in _FOREIGN.items():
        if head.startswith(magic):
            raise ValueError(f"{path} is not a {suffix} file but {kind}")
    raise ValueError(f"{path} is not a {suffix} file; it starts with {head[:8]!r}")


def _safetensors(path: Path) -> ArrayFile:
    with path.open("rb") as stream:
        header = int.from_bytes(stream.read(8), "little")
    # Looked at before the library maps the whole file.
    if header > min(_SAFETENSORS_HEADER, path.stat().st_size - 8):
        raise ValueError(f"{path} is damaged: it claims a header of {header} bytes")
    arrays = {}
    with safe_open(path, framework="numpy") as file:
        for name in file.keys():
            part = file.get_slice(name)
            dtype = _SAFETENSORS_DTYPES.get(part.get_dtype(), part.get_dtype())
            shape = tuple(part.get_shape())
            read = partial(_read_tensor, path, name, dtype, shape)
            arrays[name] = StoredArray(dtype, shape, read)
        return ArrayFile(arrays, dict(file.metadata() or {}))


def _read_tensor(
    path: Path, name: str, dtype: np.dtype, shape: tuple[int, ...]
) -> np.ndarray | Rows:
    if shape:
        return Rows(shape, dtype, partial(_tensor_rows, path, name))
    # A number has no rows.
    with damage_named(path), safe_open(path, framework="numpy") as file:
        return file.get_tensor(name)


def _tensor_rows(path: Path, name: str, start: int, stop: int) -> np.ndarray:
    with damage_named(path), safe_open(path, framework="numpy") as file:
        return file.get_slice(name)[start:stop]


def save_arrays(
    path: Path,
    arrays: Mapping[str, np.ndarray],
    text: Mapping[str, Any],
    overwrite: bool,
) -> None:
    """Writes a file of arrays, whole or not at all.

    Args:
      path: ends in ``.npz``, ``.safetensors``, or ``.npy``, which holds the first array
        and one text behind it.
      arrays: by name; bfloat16 for .safetensors alone.
      text: what stands beside them: arrays of strings, or metadata of .safetensors.
      overwrite: replace an existing file.

    Raises:
      TypeError: an array is of bfloat16, for a file of NumPy's.
      ValueError: the file exists and `overwrite` is False.
      OSError: the disk is full, or the like; no file is left behind.
    """
    suffix = path.suffix.lower()
    for name, array in arrays.items():
        if suffix != ".safetensors" and array.dtype == ml_dtypes.bfloat16:
            raise TypeError(
                f"array {name!r} is of bfloat16, which {suffix} cannot hold; write "
                ".safetensors, or convert it to float32"
            )
    with new_file(path, overwrite) as temporary:
        if suffix == ".npy":
            with temporary.open("wb") as stream:
                np.save(stream, next(iter(arrays.values())), allow_pickle=False)
                for each in text.values():
                    np.save(stream, np.frombuffer(each.encode(), np.uint8))
        elif suffix == ".npz":
            named: dict[str, Any] = {**arrays, **text}
            np.savez(temporary, **named)
        else:
            # The format keeps C order only, and does not look. In bytes, because its
            # own way of writing a file makes one that only its owner can read.
            contiguous = {k: np.ascontiguousarray(v) for k, v in arrays.items()}
            temporary.write_bytes(save(contiguous, metadata=dict(text)))
