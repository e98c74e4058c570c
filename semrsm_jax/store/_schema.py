"""What a chunk store holds, as the metadata of its zarr group states it."""

import hashlib
import json
import math
import warnings
from collections.abc import Mapping
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from semrsm_jax.store.output import OtherContentError

# The array of the completion records, beside those of the values.
RECORDS = "crc32c"

# The ids of a million samples take some 30 MB.
_MOST_METADATA = 256 * 2**20


class ChunkedArray(NamedTuple):
    """An array of a store.

    Attributes:
      shape: of the array.
      chunks: the shape of a chunk.
      dtype: the name of the dtype.
      dimensions: the names of the axes, for xarray.
    """

    shape: tuple[int, ...]
    chunks: tuple[int, ...]
    dtype: str
    dimensions: tuple[str, ...]

    @property
    def stored_dtype(self) -> np.dtype:
        """The dtype in the files."""
        return np.dtype(self.dtype).newbyteorder("<")

    @property
    def chunk_bytes(self) -> int:
        """The bytes of the values of a chunk."""
        return math.prod(self.chunks) * self.stored_dtype.itemsize


class Schema(NamedTuple):
    """What a store holds; all of it is derived from the attributes of its group.

    Attributes:
      kind: names the schema and its version.
      attributes: what the values depend on, and what else is known, as JSON.
      units: how many units there are along each of the first axes of the arrays.
      unit_axes: the names of these axes.
      arrays: by the name of their folder, those with one chunk a unit.
      constants: by the name of their folder, those of one chunk, which is there from
        the beginning.
    """

    kind: str
    attributes: dict[str, Any]
    units: tuple[int, ...]
    unit_axes: tuple[str, ...]
    arrays: dict[str, ChunkedArray]
    constants: dict[str, ChunkedArray]

    def all_arrays(self) -> dict[str, ChunkedArray]:
        """The arrays, the constants and the records."""
        records = ChunkedArray(
            (*self.units, len(self.arrays)),
            (*(1 for _ in self.units), len(self.arrays)),
            "uint32",
            (*self.unit_axes, "array"),
        )
        return {**self.arrays, **self.constants, RECORDS: records}


def read_json(path: Path) -> dict[str, Any]:
    """The object in a JSON file of zarr's, whose size is checked before it is read.

    Raises:
      ValueError: there is no such file, or it is too large, damaged or no object.
    """
    contents = _read_bytes(path)
    try:
        value = json.loads(contents)
    except (ValueError, RecursionError) as error:
        raise ValueError(f"{path} is damaged: {error}") from error
    if not isinstance(value, dict):
        raise ValueError(f"{path} is damaged: expected a JSON object")
    return value


def _read_bytes(path: Path) -> bytes:
    """The contents of a file of metadata, whose size is checked before it is read."""
    try:
        size = path.stat().st_size
        if size > _MOST_METADATA:
            raise ValueError(f"{path} is not metadata: it has {size} bytes")
        return path.read_bytes()
    except FileNotFoundError as error:
        raise ValueError(f"{path.parent} is no zarr array or group") from error
    except OSError as error:
        raise ValueError(f"{path} cannot be read: {error.strerror or error}") from error


def read_attributes(path: Path) -> dict[str, Any]:
    """The attributes of a zarr group of format 3."""
    metadata = read_json(path / "zarr.json")
    attributes = metadata.get("attributes", {})
    if metadata.get("node_type") != "group" or metadata.get("zarr_format") != 3:
        raise ValueError(f"{path} is not a zarr group of format 3")
    if not isinstance(attributes, dict):
        raise ValueError(f"{path} has damaged metadata: attributes of another kind")
    return attributes


def plain(value: Any) -> Any:
    """A value as JSON gives it back.

    Raises:
      TypeError: JSON cannot express it.
      ValueError: it holds NaN or infinity.
    """
    return json.loads(json.dumps(value, allow_nan=False))


def check_same(
    path: Path, what: str, present: Mapping[str, Any], wanted: Mapping[str, Any]
) -> None:
    """Compares the description of a store with the one wanted, both as JSON.

    Raises:
      OtherContentError: they differ; the error names in what.
    """
    differences = [
        f"{name} {stored}, not {expected}"
        for name, stored, expected in _differences(plain(present), plain(wanted), "")
    ]
    if differences:
        raise OtherContentError(
            f"{path} holds {what}, of {'; '.join(differences)}. Write to another "
            "folder, or remove this one"
        )


def _differences(present: Any, wanted: Any, name: str) -> list[tuple[str, str, str]]:
    if isinstance(present, dict) and isinstance(wanted, dict):
        return [
            difference
            for key in {**present, **wanted}
            for difference in _differences(
                present.get(key), wanted.get(key), f"{name} {key}".strip()
            )
        ]
    return [] if present == wanted else [(name, _short(present), _short(wanted))]


def _short(value: Any) -> str:
    if isinstance(value, dict) and "sha256" in value:
        return f"features of SHA-256 {_short(value['sha256'])}"
    if isinstance(value, list) and len(value) > 4:
        return f"{len(value)} values, {value[0]!r} to {value[-1]!r}"
    text = value if isinstance(value, str) else repr(value)
    return f"{text[:16]}..." if len(text) == 64 else text


def write_metadata(path: Path, schema: Schema) -> None:
    """Writes the metadata of the group and its arrays into an empty folder."""
    import zarr
    from zarr.codecs import Crc32cCodec

    attributes = {"kind": schema.kind, **schema.attributes}
    group = zarr.create_group(path, zarr_format=3, attributes=attributes)
    for name, array in schema.all_arrays().items():
        group.create_array(
            name,
            shape=array.shape,
            chunks=array.chunks,
            dtype=array.dtype,
            # Not compressed: the last bits of activations and similarities are noise,
            # and rows are read without the others of their chunk.
            compressors=Crc32cCodec(),
            filters=None,
            # What is not computed yet is not a number.
            fill_value=0 if name == RECORDS else np.nan,
            chunk_key_encoding={"name": "default", "separator": "."},
            dimension_names=array.dimensions,
        )
    with warnings.catch_warnings():
        # Not part of the format's text yet; xarray warns where it is missing.
        warnings.simplefilter("ignore")
        zarr.consolidate_metadata(path, zarr_format=3)
    # Older zarr lists the arrays as the disk does: the same store, the same bytes.
    file = path / "zarr.json"
    document = json.loads(file.read_text())
    members = document["consolidated_metadata"]["metadata"]
    document["consolidated_metadata"]["metadata"] = dict(sorted(members.items()))
    file.write_text(json.dumps(document, indent=2))
    file = path / RECORDS / "zarr.json"
    document = json.loads(file.read_text())
    document["attributes"] = {"sha256": metadata_digests(path, schema)}
    file.write_text(json.dumps(document, indent=2))


def check_metadata(path: Path, schema: Schema) -> None:
    """Compares all metadata with its SHA-256."""
    file = path / RECORDS / "zarr.json"
    document, text = read_json(file), _read_bytes(file)
    if (
        document.get("attributes") != {"sha256": metadata_digests(path, schema)}
        # As it was written: what JSON leaves open is no place for damage either.
        or text != json.dumps(document, indent=2).encode()
    ):
        raise ValueError(f"{path} has damaged metadata: it differs from its SHA-256")


def metadata_digests(path: Path, schema: Schema) -> dict[str, str]:
    """The SHA-256 of the metadata of the group, under "", and of its arrays.

    Of the array that holds them as an attribute, it is that of the rest.
    """
    folders = {"": path} | {
        name: path / name for name in sorted(schema.all_arrays()) if name != RECORDS
    }
    records = {**read_json(path / RECORDS / "zarr.json"), "attributes": {}}
    contents = {
        name: _read_bytes(folder / "zarr.json") for name, folder in folders.items()
    }
    contents[RECORDS] = json.dumps(records, sort_keys=True).encode()
    return {name: hashlib.sha256(each).hexdigest() for name, each in contents.items()}
