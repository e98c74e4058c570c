"""Files of features: activations that some network gave, in any of their formats."""

import json
import os
from collections.abc import Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import ml_dtypes
import numpy as np
from jax.typing import ArrayLike
from safetensors.numpy import save

from semrsm_jax.store._array_files import open_arrays
from semrsm_jax.store._stored import StoredArray, check_real
from semrsm_jax.store.feature_store import FeatureStore
from semrsm_jax.store.output import check_output, new_file
from semrsm_jax.store.rsm_file import package_version

FEATURE_SUFFIXES = (".npz", ".safetensors")
# What stands beside the layers in an .npz file.
_IDS, _METADATA = "ids", "metadata"


def save_features(
    path: str | os.PathLike,
    features: Mapping[str, ArrayLike],
    *,
    ids: Sequence[str],
    metadata: Mapping[str, Any] | None = None,
    overwrite: bool = False,
) -> None:
    """Writes the features of some layers, whole or not at all.

    Args:
      path: ends in ``.npz`` or ``.safetensors``; either holds an array a layer, under
        its name. In an .npz file `ids` is an array of strings and `metadata` a string
        of JSON; .safetensors has both as JSON in its metadata.
      features: by layer, (N, S, C).
      ids: the names of the N samples.
      metadata: how they were made, as JSON can express it; versions are added.
      overwrite: replace an existing file.

    Raises:
      TypeError: an array is not real, or of bfloat16 for an .npz file.
      ValueError: as `check_output`, there is no layer, or one is of another length than
        `ids`, or named like what stands beside it.
      OSError: the disk is full, or the like; no file is left behind.
    """
    path = check_output(path, overwrite, suffixes=FEATURE_SUFFIXES)
    arrays = {name: np.asarray(values) for name, values in features.items()}
    if not arrays:
        raise ValueError("features must hold at least one layer, got none")
    npz = path.suffix.lower() == ".npz"
    for name, array in arrays.items():
        check_real(f"features of {name!r}", array.dtype)
        if npz and array.dtype == ml_dtypes.bfloat16:
            raise TypeError(
                f"features of {name!r} are of bfloat16, which .npz cannot hold; write "
                ".safetensors, or convert them to float32"
            )
        if array.ndim == 0 or len(array) != len(ids):
            raise ValueError(
                f"features of {name!r} must have a row for each of {len(ids)} ids, got "
                f"shape {array.shape}"
            )
        if name in (_IDS, _METADATA, "file"):  # the last is savez's own
            raise ValueError(f"features must not be named {name!r}")
    versions = {name: package_version(name) for name in ("semrsm_jax", "jax")}
    text = json.dumps({**(metadata or {}), "versions": versions})
    with new_file(path, overwrite) as temporary:
        if npz:
            beside = {_IDS: np.asarray(ids), _METADATA: np.asarray(text)}
            named: dict[str, Any] = {**arrays, **beside}
            np.savez(temporary, **named)
        else:
            # The format keeps C order only, and does not look.
            contiguous = {k: np.ascontiguousarray(v) for k, v in arrays.items()}
            strings = {_IDS: json.dumps(list(ids)), _METADATA: text}
            temporary.write_bytes(save(contiguous, metadata=strings))


def feature_names(path: str | os.PathLike) -> tuple[str, ...]:
    """The names of the arrays in a .npz or .safetensors file.

    Raises:
      ValueError: as `load_features`, or the arrays have no names.
    """
    arrays = open_arrays(path).arrays
    if not arrays or "" in arrays:
        raise ValueError(f"{path} holds no arrays with names")
    return tuple(arrays)


def load_features(path: str | os.PathLike, key: str | None = None) -> np.ndarray:
    """Reads an array of activations from a file, or from a `FeatureStore`.

    A .npy file is memory-mapped: its values are read where they are used. No file is
    ever unpickled.

    Args:
      path: a .npy, .npz or .safetensors file, or the folder of a store.
      key: which array, or layer, where there are several. Ids and metadata that
        `save_features` wrote beside the layers do not count.

    Returns:
      The array, of any shape, of a float (bfloat16 included) or integer dtype.

    Raises:
      TypeError: the dtype is another, for example complex, boolean or object.
      ValueError: the file is missing, empty, damaged or of another kind than its suffix
        says, `key` names none of its arrays, the array is empty, or a store incomplete.
    """
    arrays = _stored_arrays(Path(path))
    keys = ", ".join(map(repr, arrays))
    if not arrays:
        raise ValueError(f"{path} holds no array")
    if "" in arrays and key:
        raise ValueError(f"{path} holds one array without a name, got key={key!r}")
    if key is None:
        if len(arrays) > 1:
            raise ValueError(f"{path} holds several arrays; key must be one of {keys}")
        key = next(iter(arrays))
    if key not in arrays:
        raise ValueError(f"key must be one of {keys} in {path}, got {key!r}")
    stored = arrays[key]
    where = f"{path}, {key!r}," if key else f"{path}"
    check_real(where, stored.dtype)
    if 0 in stored.shape:
        raise ValueError(f"{where} holds an empty array, of shape {stored.shape}")
    return stored.read()


def _stored_arrays(path: Path) -> Mapping[str, StoredArray]:
    """The arrays of features by name, their values not yet read."""
    if (path / "zarr.json").exists():
        return {
            name: StoredArray(layer.dtype, layer.shape, partial(np.asarray, layer))
            for name, layer in FeatureStore.open(path).layers.items()
        }
    arrays = open_arrays(path).arrays
    # A string, which is no feature, can stand nowhere but beside the layers.
    return {
        name: array
        for name, array in arrays.items()
        if name not in (_IDS, _METADATA) or getattr(array.dtype, "kind", None) != "U"
    }
