"""An array in a file, its values not yet read; and what damaged files raise."""

import json
import zipfile
import zlib
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, NamedTuple

import ml_dtypes
import numpy as np
from safetensors import SafetensorError

from semrsm_jax._rows import Rows

# A config of the largest label sets has some hundred kilobytes.
_MOST_BYTES = 2**24


class StoredArray(NamedTuple):
    """An array in a file whose header was checked, its values not yet read.

    Attributes:
      dtype: its dtype; a name where NumPy has none for it.
      shape: its shape.
      read: opens it, in native byte order, or reads it where it cannot be read in
        parts; ValueError where the file is damaged.
    """

    dtype: np.dtype | str
    shape: tuple[int, ...]
    read: Callable[[], np.ndarray | Rows]


class ArrayFile(NamedTuple):
    """The arrays of a file by name, and the text that a .safetensors file may carry.

    The one array of a .npy file has the empty name.
    """

    arrays: dict[str, StoredArray]
    metadata: dict[str, str]


def check_real(where: str, dtype: np.dtype | str) -> None:
    """Checks that a dtype is a float or integer of up to 64 bits.

    Raises:
      TypeError: any other dtype, with the way out where there is one.
    """
    if isinstance(dtype, np.dtype):
        bfloat16 = dtype == ml_dtypes.bfloat16
        if bfloat16 or (dtype.kind in "fiu" and dtype.itemsize <= 8):
            return
    hint = ""
    if isinstance(dtype, np.dtype) and dtype.hasobject:
        hint = " (Python objects are stored as a pickle, which is never read)"
    elif dtype == np.dtype("V2"):
        hint = " (NumPy's formats have no bfloat16: use .safetensors, or float32)"
    raise TypeError(
        f"{where} must hold floats or integers of at most 64 bits, got dtype "
        f"{dtype}{hint}"
    )


@contextmanager
def damage_named(path: Path) -> Iterator[None]:
    """Turns what the libraries raise for a damaged file into one ValueError."""
    try:
        yield
    except FileNotFoundError as error:
        raise ValueError(f"{path} does not exist") from error
    except OSError as error:
        raise ValueError(f"{path} cannot be read: {error.strerror or error}") from error
    except (
        EOFError,
        NotImplementedError,
        SafetensorError,
        UnicodeError,
        zipfile.BadZipFile,
        zlib.error,
    ) as error:
        raise ValueError(f"{path} is truncated or damaged: {error}") from error


def read_json(path: Path) -> dict[str, Any]:
    """Reads the JSON object of a config file.

    Raises:
      ValueError: the file is missing, unreadable, implausibly large, or not a JSON
        object.
    """
    with damage_named(path):
        if path.stat().st_size > _MOST_BYTES:
            raise ValueError(f"{path} is larger than {_MOST_BYTES} bytes")
        text = path.read_text(encoding="utf-8")
    try:
        value = json.loads(text)
    except (ValueError, RecursionError) as error:
        raise ValueError(f"{path} is truncated or not JSON: {error}") from error
    if not isinstance(value, dict):
        raise ValueError(f"{path} must hold a JSON object, got {type(value).__name__}")
    return value
