"""Features that were computed, into one file."""

import json
import os
from collections.abc import Mapping, Sequence
from typing import Any

import ml_dtypes
import numpy as np
from jax.typing import ArrayLike
from safetensors.numpy import save

from semrsm_jax.store._stored import check_real
from semrsm_jax.store.feature_file import IDS
from semrsm_jax.store.output import check_output, new_file
from semrsm_jax.store.rsm_file import package_version

FEATURE_SUFFIXES = (".npz", ".safetensors")
_METADATA = "metadata"


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
        if name in (IDS, _METADATA, "file"):  # the last is savez's own
            raise ValueError(f"features must not be named {name!r}")
    versions = {name: package_version(name) for name in ("semrsm_jax", "jax")}
    text = json.dumps({**(metadata or {}), "versions": versions})
    with new_file(path, overwrite) as temporary:
        if npz:
            beside = {IDS: np.asarray(ids), _METADATA: np.asarray(text)}
            named: dict[str, Any] = {**arrays, **beside}
            np.savez(temporary, **named)
        else:
            # The format keeps C order only, and does not look.
            contiguous = {k: np.ascontiguousarray(v) for k, v in arrays.items()}
            strings = {IDS: json.dumps(list(ids)), _METADATA: text}
            temporary.write_bytes(save(contiguous, metadata=strings))
