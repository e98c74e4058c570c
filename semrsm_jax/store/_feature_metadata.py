"""What a store of features holds, as its metadata says it."""

import dataclasses
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from jax.typing import DTypeLike

from semrsm_jax import _checks
from semrsm_jax.store._zarr_metadata import (
    ZarrArray,
    is_array,
    read_attributes,
    read_described,
)
from semrsm_jax.store.rsm_file import package_version

_KIND = "semrsm_jax features, version 1"
_DTYPES = ("float16", "float32", "float64")
_VERSIONS = ("semrsm_jax", "jax", "numpy")

# The array of the completion records, beside those of the layers.
RECORDS = "batch_sha256"


def is_described(path: Path) -> bool:
    """Whether the zarr group in a folder says that it holds features like this."""
    return not is_array(path) and read_attributes(path).get("kind") == _KIND


@dataclass(frozen=True)
class Described:
    """The description of a store of features; resuming one takes the same.

    Attributes:
      sample_ids: a name for each sample.
      layers: tokens and channels of each layer.
      dtype: the name of the dtype.
      batch: samples written at a time.
      metadata: what else is known, as JSON gives it back.
      versions: of the packages the features were made with.
    """

    sample_ids: tuple[str, ...]
    layers: dict[str, tuple[int, int]]
    dtype: str
    batch: int
    metadata: dict[str, Any]
    versions: dict[str, str]

    @classmethod
    def checked(
        cls,
        ids: Sequence[str],
        layers: Mapping[str, tuple[int, int]],
        dtype: DTypeLike,
        batch: int,
        metadata: Mapping[str, Any],
        versions: Mapping[str, str] | None = None,
    ) -> "Described":
        """A description of checked values; the versions are those installed.

        Raises:
          TypeError: a value is of another type.
          ValueError: a value is out of range.
        """
        if versions is None:
            versions = {name: package_version(name) for name in _VERSIONS}
        if not layers:
            raise ValueError("layers must name at least one layer, got none")
        return cls(
            _checked_ids(ids),
            {name: _checked_layer(name, shape) for name, shape in layers.items()},
            _checked_dtype(dtype),
            _checks.at_least("batch", batch, 1),
            json.loads(json.dumps(dict(metadata), allow_nan=False)),
            dict(versions),
        )

    @classmethod
    def read(cls, path: Path) -> "Described":
        """The description of the store in a folder.

        Raises:
          ValueError: there is none, or its arrays are not as it says.
        """

        def parse(attributes: dict[str, Any]) -> "Described":
            return cls.checked(ids=attributes.pop("sample_ids"), **attributes)

        return read_described(
            path, _KIND, "store of features", parse, lambda found: found._arrays()
        )

    def write(self, path: Path) -> None:
        """Writes the metadata of the group and its arrays into an empty folder."""
        import zarr

        group = zarr.create_group(
            path,
            zarr_format=3,
            attributes={"kind": _KIND, **dataclasses.asdict(self)},
        )
        for name, array in self._arrays().items():
            records = name == RECORDS
            group.create_array(
                name,
                shape=array.shape,
                chunks=array.chunks,
                dtype=array.dtype,
                compressors=None,
                filters=None,
                fill_value=0 if records else np.nan,
                chunk_key_encoding={"name": "default", "separator": "."},
                # Layers differ in tokens and channels, and xarray allows one length
                # to a name.
                dimension_names=("batch", "layer", "byte")
                if records
                else ("sample", f"token of {name}", f"channel of {name}"),
            )

    def refuse_other(self, path: Path, found: "Described") -> None:
        """Raises ValueError where the store at `path` has another description."""
        for field in dataclasses.fields(self):
            wanted, there = (getattr(side, field.name) for side in (self, found))
            if wanted != there:
                raise ValueError(
                    f"{path} holds other features, of {_difference(field.name, there)}"
                    f", not {_difference(field.name, wanted)}; write to another folder,"
                    " or remove this one"
                )

    def _arrays(self) -> dict[str, ZarrArray]:
        def array(shape, chunks, dtype):
            return ZarrArray(shape, chunks, np.dtype(dtype), ("bytes",), 3)

        count, digest = len(self.sample_ids), 32
        arrays = {
            name: array((count, *shape), (self.batch, *shape), self.dtype)
            for name, shape in self.layers.items()
        }
        batches, layers = -(-count // self.batch), len(self.layers)
        arrays[RECORDS] = array((batches, layers, digest), (1, layers, digest), "uint8")
        return arrays


def _checked_ids(ids: Sequence[str]) -> tuple[str, ...]:
    if isinstance(ids, str) or not all(isinstance(name, str) for name in ids):
        raise TypeError("ids must be a sequence of strings, one a sample")
    if not ids:
        raise ValueError("ids must name at least one sample, got none")
    if len(set(ids)) < len(ids):
        seen: set[str] = set()
        twice = next(name for name in ids if name in seen or seen.add(name))
        raise ValueError(f"ids must differ, got {twice!r} twice")
    return tuple(ids)


def _checked_layer(name: str, shape: Sequence[int]) -> tuple[int, int]:
    if not isinstance(name, str):
        raise TypeError(f"layers must be named by strings, got {name!r}")
    # The name of a folder; zarr keeps names that begin with "__" to itself.
    if not name or name == RECORDS or set(name) & set("/\\\0") or name[:1] in "._":
        raise ValueError(
            f"layers must not be named {name!r}: a name is a folder here, without "
            "slashes, not beginning with a dot or underscore"
        )
    if len(shape) != 2:
        raise ValueError(f"layer {name!r} must have a shape (S, C), got {shape}")
    tokens, channels = (
        _checks.at_least(f"{axis} of layer {name!r}", length, 1)
        for axis, length in zip("SC", shape, strict=True)
    )
    return tokens, channels


def _checked_dtype(dtype: DTypeLike) -> str:
    name = np.dtype(dtype).name
    if name not in _DTYPES:
        hint = ""
        if name == "bfloat16":
            hint = "; zarr has no bfloat16, and float32 holds each of its values"
        raise TypeError(f"dtype must be one of {', '.join(_DTYPES)}, got {name}{hint}")
    return name


def _difference(field: str, value: Any) -> str:
    """What a description says of one thing, short."""
    if field == "sample_ids":
        return f"{len(value)} samples, {value[0]!r} to {value[-1]!r}"
    return f"{field} {value}"
