"""Features that were computed, into one file."""

import json
import os
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from jax.typing import ArrayLike

from semrsm_jax.store.array_files import save_arrays
from semrsm_jax.store.feature_file import IDS, LAYERS
from semrsm_jax.store.names import safe_name
from semrsm_jax.store.output import check_output
from semrsm_jax.store.rsm_file import package_version
from semrsm_jax.store.stored_array import check_real

FEATURE_SUFFIXES = (".npz", ".safetensors")


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
      TypeError: an array is not real, or of bfloat16 for an .npz file; or the name of a
        layer is not a string.
      ValueError: as `check_output`, there is no layer, or one is of another length than
        `ids`.
      OSError: the disk is full, or the like; no file is left behind.
    """
    path = check_output(path, overwrite, suffixes=FEATURE_SUFFIXES)
    arrays = {name: np.asarray(values) for name, values in features.items()}
    if not arrays:
        raise ValueError("features must hold at least one layer, got none")
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
    described = {**(metadata or {}), "versions": versions, LAYERS: list(arrays)}
    save_arrays(
        path,
        {safe_name(name): array for name, array in arrays.items()},
        {
            IDS: np.asarray(ids)
            if path.suffix.lower() == ".npz"
            else json.dumps([*ids]),
            "metadata": json.dumps(described),
        },
        overwrite,
    )
