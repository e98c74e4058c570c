"""Metadata in JSON that anyone may have written."""

import json
import os
from pathlib import Path
from typing import Any

# The ids of a million samples take some 30 MB.
_MOST_METADATA = 256 * 2**20


def read_json(path: Path) -> dict[str, Any]:
    """The object in a JSON file of zarr's, whose size is checked before it is read.

    Raises:
      ValueError: there is no such file, or it is too large, damaged or no object.
    """
    contents = read_bytes(path)
    try:
        value = json.loads(contents)
    except (ValueError, RecursionError) as error:
        raise ValueError(f"{path} is damaged: {error}") from error
    if not isinstance(value, dict):
        raise ValueError(f"{path} is damaged: expected a JSON object")
    return value


def read_bytes(path: Path) -> bytes:
    """The contents of a file of metadata, whose size is checked before it is read.

    Raises:
      ValueError: there is no such file, it is too large, or cannot be read.
    """
    try:
        size = os.stat(path).st_size
        if size > _MOST_METADATA:
            raise ValueError(f"{path} is not metadata: it has {size} bytes")
        return path.read_bytes()
    except FileNotFoundError as error:
        raise ValueError(f"{path.parent} is no zarr array or group") from error
    except OSError as error:
        raise ValueError(f"{path} cannot be read: {error.strerror or error}") from error
