"""What the metadata of a zarr array claims, read with suspicion."""

import math
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from semrsm_jax.store._metadata import read_json

_MOST_AXES = 32


class ZarrArray(NamedTuple):
    """What the metadata of a zarr array says of it.

    Attributes:
      shape: of the array.
      chunks: the shape of a chunk.
      dtype: of the values; a name where NumPy has none for it.
      codecs: what a chunk went through, in that order, by name; filters of format 2
        stand before ``"bytes"``, its compressor after.
      zarr_format: 2 or 3.
    """

    shape: tuple[int, ...]
    chunks: tuple[int, ...]
    dtype: np.dtype | str
    codecs: tuple[str, ...]
    zarr_format: int

    @property
    def chunk_count(self) -> int:
        """How many chunks the shape is cut into."""
        pairs = zip(self.shape, self.chunks, strict=True)
        return math.prod(-(-length // chunk) for length, chunk in pairs)

    @property
    def chunk_bytes(self) -> int:
        """The bytes of a chunk, not compressed; the dtype must be one of NumPy's."""
        return math.prod(self.chunks) * np.dtype(self.dtype).itemsize


def read_array(path: Path) -> ZarrArray:
    """What the metadata of the array in a folder says; the values are not looked at.

    Raises:
      ValueError: there is no array, or its metadata is damaged or absurd.
    """
    try:
        if (path / "zarr.json").exists():
            array = _format_3(read_json(path / "zarr.json"))
        else:
            array = _format_2(read_json(path / ".zarray"))
    except (KeyError, TypeError, AttributeError) as error:
        reason = f"{type(error).__name__}: {error}"
        raise ValueError(f"{path} has damaged metadata ({reason})") from error
    if len(array.shape) != len(array.chunks) or len(array.shape) > _MOST_AXES:
        raise ValueError(
            f"{path} has damaged metadata: shape {array.shape} in chunks of "
            f"{array.chunks}"
        )
    return array


class ChunkKeys(NamedTuple):
    """Where the chunks of an array are, below its folder.

    Attributes:
      prefix: what their names begin with.
      separator: what stands between their numbers.
    """

    prefix: str
    separator: str

    def __call__(self, numbers: tuple[int, ...]) -> str:
        """The place of one chunk."""
        return self.prefix + self.separator.join(map(str, numbers))


def read_chunk_keys(path: Path) -> ChunkKeys:
    """Where the chunks of the array in a folder are.

    Raises:
      ValueError: there is no array, or its metadata is damaged.
    """
    defaults = {"default": "/", "v2": "."}
    try:
        if (path / "zarr.json").exists():
            encoding = read_json(path / "zarr.json")["chunk_key_encoding"]
            settings, name = encoding.get("configuration", {}), encoding["name"]
            separator = settings.get("separator", defaults[name])
            prefix = f"c{separator}" if name == "default" else ""
        else:
            separator = read_json(path / ".zarray").get("dimension_separator", ".")
            prefix = ""
        if separator not in ("/", "."):
            raise TypeError(f"chunks named with {separator!r} between their numbers")
    except (KeyError, TypeError, AttributeError) as error:
        reason = f"{type(error).__name__}: {error}"
        raise ValueError(f"{path} has damaged metadata ({reason})") from error
    return ChunkKeys(prefix, separator)


def is_array(path: Path) -> bool:
    """Whether a folder is a zarr array, of format 2 or 3."""
    if (path / "zarr.json").exists():
        return read_json(path / "zarr.json").get("node_type") == "array"
    return (path / ".zarray").exists()


def _format_3(metadata: dict[str, Any]) -> ZarrArray:
    if metadata["node_type"] != "array" or metadata["zarr_format"] != 3:
        raise TypeError("no array of format 3")
    dtype, grid = metadata["data_type"], metadata["chunk_grid"]
    if grid["name"] != "regular":
        raise TypeError(f"chunks in a {grid['name']!r} grid")
    return ZarrArray(
        _lengths(metadata["shape"], 0),
        _lengths(grid["configuration"]["chunk_shape"], 1),
        _dtype(dtype) if isinstance(dtype, str) else str(dtype),
        tuple(
            str(codec if isinstance(codec, str) else codec["name"])
            for codec in metadata["codecs"]
        ),
        3,
    )


def _format_2(metadata: dict[str, Any]) -> ZarrArray:
    if metadata["zarr_format"] != 2:
        raise TypeError("no array of format 2")
    codecs = [str(filter["id"]) for filter in metadata["filters"] or ()]
    codecs.append("bytes")
    if metadata["compressor"] is not None:
        codecs.append(str(metadata["compressor"]["id"]))
    dtype = metadata["dtype"]
    return ZarrArray(
        _lengths(metadata["shape"], 0),
        _lengths(metadata["chunks"], 1),
        _dtype(dtype) if isinstance(dtype, str) else str(dtype),
        tuple(codecs),
        2,
    )


def _lengths(values: Any, least: int) -> tuple[int, ...]:
    for value in values:
        if type(value) is not int or not least <= value < 2**63:
            raise TypeError(f"an axis of length {value!r}")
    return tuple(values)


def _dtype(name: str) -> np.dtype | str:
    try:
        dtype = np.dtype(name)
    except TypeError:
        return name
    # Structures and sub-arrays are spelled like this, too.
    return dtype if dtype.names is None and dtype.subdtype is None else name
