"""Features in files and folders: activations that some network gave, in any format."""

import json
import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from jax.typing import ArrayLike

from semrsm_jax._ids import checked_ids
from semrsm_jax._rows import Rows
from semrsm_jax.store._zarr_files import is_zarr, open_zarr
from semrsm_jax.store.array_files import SUFFIXES, open_arrays, save_arrays
from semrsm_jax.store.feature_store import FeatureStore, is_feature_store
from semrsm_jax.store.names import safe_name
from semrsm_jax.store.output import check_output
from semrsm_jax.store.rsm_file import file_metadata, package_version
from semrsm_jax.store.stored_array import ArrayFile, StoredArray, check_real

# What may stand beside the layers of a file, and in its metadata.
_IDS, _LAYERS = "ids", "layers"


def feature_names(path: str | os.PathLike, *, unnamed: bool = False) -> tuple[str, ...]:
    """The names of the arrays in a file or folder of features.

    Args:
      path: as for `load_features`.
      unnamed: one array without a name may stand there, which adds none.

    Returns:
      The names, which `load_features` takes as its key.

    Raises:
      ValueError: as `load_features`, or the one array has no name.
    """
    arrays = _feature_arrays(Path(path)).arrays
    if unnamed:
        return tuple(filter(None, arrays))
    if tuple(arrays) in ((), ("",)):
        if not (is_feature_store(Path(path)) or _LAYERS in feature_metadata(path)):
            raise ValueError(f"{path} holds no arrays with names")
    return tuple(arrays)


def feature_ids(path: str | os.PathLike) -> tuple[str, ...] | None:
    """The names of the samples, where a file or store of features tells them.

    A `FeatureStore` does; so does an array ``ids`` of strings in an .npz file, and JSON
    under ``ids`` in the metadata of a .safetensors file. The files of a folder must
    have the same.

    Args:
      path: as for `load_features`.

    Returns:
      A name for each sample, or None where there are none.

    Raises:
      ValueError: as `load_features`, the names are damaged, or those of the files in a
        folder differ.
    """
    path = Path(path)
    if path.is_dir():
        if is_feature_store(path):
            return FeatureStore.open(path).ids
        return None if is_zarr(path) else _common_ids(path)
    file = open_arrays(path)
    ids: object = None
    if _IDS in file.arrays and _is_text(file.arrays[_IDS]):
        ids = np.asarray(file.arrays[_IDS].read()).tolist()
    elif _IDS in file.metadata:
        try:
            ids = json.loads(file.metadata[_IDS])
        except ValueError as error:
            raise ValueError(f"{path} has damaged ids: {error}") from error
    if ids is None:
        return None
    if not isinstance(ids, list) or not all(isinstance(name, str) for name in ids):
        raise ValueError(f"{path} has damaged ids: expected a list of strings")
    return tuple(ids)


def feature_metadata(path: str | os.PathLike) -> dict[str, Any]:
    """What a file or store of features says of how they were made; empty: nothing."""
    path = Path(path)
    if path.is_dir():
        return FeatureStore.open(path).metadata if is_feature_store(path) else {}
    return file_metadata(path, open_arrays(path))


def load_features(path: str | os.PathLike, key: str | None = None) -> np.ndarray | Rows:
    """Opens an array of activations, larger than memory or not.

    Of a .npy file, a .npz file without compression (numpy.savez), a .safetensors file
    and zarr arrays, values are read where they are used: the first two are
    memory-mapped, the others give a `Rows`, of which ``[a:b]`` reads samples and
    `numpy.asarray` all. A compressed member of a .npz file cannot be read in part: it
    is read into memory, and refused where it takes more than half of what is free.

    Nothing is ever unpickled, or unpacked to more than its headers and its file's size
    allow.

    Args:
      path: a .npy, .npz or .safetensors file, told by its suffix; a zarr array or
        group, such as a `FeatureStore`; or a folder with a file for each layer, named
        like it.
      key: which array, or layer, where there are several.

    Returns:
      The array, likewise of any shape, of a float (bfloat16 included) or integer dtype.

    Raises:
      TypeError: the dtype is another, for example complex, boolean or object.
      ValueError: the file is missing, empty, damaged or of another kind than its suffix
        says, `key` names none of its arrays, or the array is empty.
    """
    arrays = _feature_arrays(Path(path)).arrays
    keys = ", ".join(map(repr, arrays))
    if not arrays:
        raise ValueError(f"{path} holds no array")
    if tuple(arrays) == ("",) and key:
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
        its name (encoded where a file could not hold it). In an .npz file `ids` is an
        array of strings and `metadata` a string of JSON; .safetensors has both as JSON
        in its metadata.
      features: by layer, (N, S, C).
      ids: the names of the N samples.
      metadata: how they were made, as JSON can express it; versions and the names of
        the layers, in their order, are added.
      overwrite: replace an existing file.

    Raises:
      TypeError: an array is not real, or of bfloat16 for an .npz file; the name of a
        layer is not a string; or `ids` is one string.
      ValueError: as `check_output`, there is no layer, one is of another length than
        `ids`, or an id names two samples.
      OSError: the disk is full, or the like; no file is left behind.
    """
    path = check_output(path, overwrite, suffixes=(".npz", ".safetensors"))
    arrays = {name: np.asarray(values) for name, values in features.items()}
    if not arrays:
        raise ValueError("features must hold at least one layer, got none")
    ids = checked_ids("ids", ids) or ()
    for name, array in arrays.items():
        if not isinstance(name, str):
            raise TypeError(f"features must be named by strings, got {name!r}")
        check_real(f"features of {name!r}", array.dtype)
        if array.ndim == 0 or len(array) != len(ids):
            raise ValueError(
                f"features of {name!r} must have a row for each of {len(ids)} ids, got "
                f"shape {array.shape}"
            )
    versions = {name: package_version(name) for name in ("semrsm_jax", "jax")}
    described = {**(metadata or {}), "versions": versions, _LAYERS: list(arrays)}
    save_arrays(
        path,
        {safe_name(name): array for name, array in arrays.items()},
        {
            _IDS: np.asarray(ids) if path.suffix.lower() == ".npz" else json.dumps(ids),
            "metadata": json.dumps(described),
        },
        overwrite,
    )


def _feature_arrays(path: Path) -> ArrayFile:
    """The arrays by name, their values not yet read."""
    # A folder that is named like a file was meant to be one.
    if not os.path.isdir(path) or path.suffix.lower() in SUFFIXES:
        file = open_arrays(path)
        # Text is no feature: it says something of those beside it.
        real = {k: v for k, v in file.arrays.items() if not _is_text(v)}
        return file._replace(arrays=_renamed(path, file, real) or file.arrays)
    if is_feature_store(path):
        layers = FeatureStore.open(path).layers
        return ArrayFile({name: _opened(rows) for name, rows in layers.items()}, {})
    if is_zarr(path):
        return ArrayFile(open_zarr(path), {})
    return ArrayFile(_layer_files(path), {})


def _renamed(
    path: Path, file: ArrayFile, arrays: dict[str, StoredArray]
) -> dict[str, StoredArray]:
    """The arrays under the names, and in the order, that `save_features` was given."""
    try:
        names = file_metadata(path, file).get(_LAYERS)
    except ValueError:  # the file of another program
        return arrays
    if not isinstance(names, list) or not all(isinstance(n, str) for n in names):
        return arrays
    if {safe_name(name) for name in names} != set(arrays):
        return arrays
    return {name: arrays[safe_name(name)] for name in names}


def _layer_files(folder: Path) -> dict[str, StoredArray]:
    """The arrays in the files of a folder, each under the name of its file.

    Of a file with several arrays each has its own name behind that, after a slash.
    """
    layers: dict[str, StoredArray] = {}
    for path in _paths_of_layers(folder):
        arrays = _feature_arrays(path).arrays
        # Of a zarr folder such as stages.0, what follows the dot is no suffix.
        known = path.suffix.lower() in (*SUFFIXES, ".zarr")
        layer_of_file = path.stem if known else path.name
        for name, array in arrays.items():
            layer = layer_of_file if len(arrays) == 1 else f"{layer_of_file}/{name}"
            if layer in layers:
                raise ValueError(f"{folder} holds {layer!r} twice")
            layers[layer] = array
    if not layers:
        raise ValueError(
            f"{folder} is a folder without features: it holds no zarr array, and no "
            f"file {', '.join(SUFFIXES)}"
        )
    return layers


def _paths_of_layers(folder: Path) -> list[Path]:
    return [
        path
        for path in sorted(folder.iterdir())
        if not path.name.startswith(".")
        and (path.suffix.lower() in SUFFIXES or (path.is_dir() and is_zarr(path)))
    ]


def _common_ids(folder: Path) -> tuple[str, ...] | None:
    """The ids of the files in a folder that have any; ValueError where they differ."""
    first, common = None, None
    for path in _paths_of_layers(folder):
        ids = feature_ids(path)
        if common is None:
            first, common = path, ids
        elif ids not in (None, common):
            raise ValueError(
                f"{path} must have the ids of {first}, in the same order: the layers "
                f"in {folder} are of the same samples"
            )
    return common


def _opened(rows: Rows) -> StoredArray:
    return StoredArray(rows.dtype, rows.shape, lambda: rows)


def _is_text(array: StoredArray) -> bool:
    return isinstance(array.dtype, np.dtype) and array.dtype.kind == "U"
