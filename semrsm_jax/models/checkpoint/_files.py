"""The tensors of a checkpoint's files; only headers are read."""

import json
import os
from collections.abc import Callable, Mapping
from pathlib import Path

from semrsm_jax.models.checkpoint._settings import read_json
from semrsm_jax.models.checkpoint._torch_files import open_torch
from semrsm_jax.store.array_files import open_arrays
from semrsm_jax.store.stored_array import StoredArray

Tensors = Mapping[str, StoredArray]

# The names of a folder's weights, the preferred one first.
_IN_FOLDER = (
    "model.safetensors",
    "model.safetensors.index.json",
    "pytorch_model.bin",
    "pytorch_model.bin.index.json",
)


def _open_safetensors(path: Path) -> Tensors:
    return open_arrays(path).arrays


def _open_index(path: Path) -> Tensors:
    """The tensors of all shards that an index lists, each from the shard it names."""
    files = read_json(path).get("weight_map")
    if not isinstance(files, dict) or not files:
        raise ValueError(f"{path} must hold a weight_map from keys to files")
    shards: dict[str, Tensors] = {}
    for file in sorted(set(map(str, files.values()))):
        if file != os.path.basename(file) or file.endswith(".json"):
            raise ValueError(f"{path} names a shard outside of its folder: {file!r}")
        shards[file] = open_tensors(path.parent / file)
    absent = sorted(key for key, file in files.items() if key not in shards[str(file)])
    if absent:
        raise ValueError(
            f"{path}: {len(absent)} keys are not in the shard named for them: "
            f"{', '.join(absent)}"
        )
    return {key: shards[str(file)][key] for key, file in files.items()}


# By the end of the file's name.
_OPENERS: dict[str, Callable[[Path], Tensors]] = {
    ".index.json": _open_index,
    ".safetensors": _open_safetensors,
    ".bin": open_torch,
    ".pth": open_torch,
    ".pt": open_torch,
}


def open_tensors(path: Path) -> Tensors:
    """Lists the tensors of one file, or of all that an index names.

    Raises:
      ImportError: a file of torch's, without torch.
      ValueError: the file is of an unknown kind, missing, damaged or hostile.
    """
    for ending, open_file in _OPENERS.items():
        if path.name.lower().endswith(ending):
            return open_file(path)
    raise ValueError(f"{path} must end in one of {', '.join(_OPENERS)}")


def weights_file(path: Path) -> Path:
    """The file of a checkpoint's weights: the path itself, or the file in that folder.

    Raises:
      ValueError: the folder holds none.
    """
    if not path.is_dir():
        return path
    for name in _IN_FOLDER:
        if (path / name).exists():
            return path / name
    files = json.dumps(sorted(file.name for file in path.iterdir())[:10])
    raise ValueError(
        f"{path} holds no weights; expected one of {', '.join(_IN_FOLDER)}, got {files}"
    )
