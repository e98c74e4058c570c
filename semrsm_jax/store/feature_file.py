"""Files of features: activations that some network gave, in any of three formats."""

import os

import numpy as np

from semrsm_jax.store._array_files import open_arrays
from semrsm_jax.store._stored import check_real


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
    """Reads an array of activations from a .npy, .npz or .safetensors file.

    A .npy file is memory-mapped: its values are read where they are used. No file is
    ever unpickled.

    Args:
      path: the file; its suffix tells its kind.
      key: which array, where a file holds several.

    Returns:
      The array, of any shape, of a float (bfloat16 included) or integer dtype.

    Raises:
      TypeError: the dtype is another, for example complex, boolean or object.
      ValueError: the file is missing, empty, damaged or of another kind than its suffix
        says, `key` names none of its arrays, or the array is empty.
    """
    arrays = open_arrays(path).arrays
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
