"""Features, and the files of one array that hold them."""

import json
from pathlib import Path

import numpy as np
import zarr
from safetensors.numpy import save_file

SUFFIXES = (".npy", ".npz", ".safetensors")
SHAPE = (6, 5, 3)


def features(dtype="f4", shape=(3, 4, 2)) -> np.ndarray:
    rng = np.random.default_rng(0)
    return (10 * rng.normal(size=shape)).astype(dtype)


def six_samples(dtype="f4") -> np.ndarray:
    """Features of `SHAPE`."""
    return features(dtype, SHAPE)


def write(path: Path, array: np.ndarray) -> Path:
    """The array in the format of the suffix."""
    if path.suffix == ".npy":
        np.save(path, array)
    elif path.suffix == ".npz":
        np.savez_compressed(path, x=array)
    else:
        save_file({"x": array}, path)
    return path


def write_zarr(path, values, *, zarr_format=3, chunks=(4, 5, 2), **settings) -> Path:
    """The array as zarr's own code writes it."""
    array = zarr.create_array(
        path,
        shape=values.shape,
        dtype=values.dtype,
        chunks=chunks,
        zarr_format=zarr_format,
        **settings,
    )
    array[:] = values
    return path


def change_metadata(path: Path, **fields) -> Path:
    """Replaces fields of the metadata of an array or group of zarr."""
    metadata = json.loads((path / "zarr.json").read_text())
    (path / "zarr.json").write_text(json.dumps(metadata | fields))
    return path
