"""The tensors of a checkpoint's files.

Of .safetensors only headers are read; torch's are pickles, read as weights only.
"""

import contextlib
import json
import os
import pickle
import zipfile
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING

import ml_dtypes
import numpy as np
from safetensors.numpy import save

from semrsm_jax._extras import required
from semrsm_jax.store.array_files import open_arrays
from semrsm_jax.store.output import new_file
from semrsm_jax.store.stored_array import StoredArray, damage_named, read_json

if TYPE_CHECKING:
    import torch

Tensors = Mapping[str, StoredArray]

# The names of a folder's weights, the preferred one first.
_IN_FOLDER = (
    "model.safetensors",
    "model.safetensors.index.json",
    "pytorch_model.bin",
    "pytorch_model.bin.index.json",
)


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


def _open_torch(path: Path) -> dict[str, StoredArray]:
    """Lists the tensors of a .bin, .pth or .pt file, a state dict.

    `torch.load(weights_only=True)` rejects anything that could run code. A file in
    torch's zip format is memory-mapped: its values are read when they are used.

    Raises:
      ImportError: torch is not installed.
      ValueError: the file is missing, damaged, not a state dict, or could run code.
    """
    torch = required(
        "torch", "torch", f"{path}, written by torch; its .safetensors need none"
    )
    with damage_named(path):
        mapped = zipfile.is_zipfile(path)
        path.open("rb").close()
    try:
        loaded = torch.load(path, map_location="cpu", weights_only=True, mmap=mapped)
    except pickle.UnpicklingError as error:
        reason = str(error).strip().partition("\n")[0]
        raise ValueError(
            f"{path} is not a state dict, or holds more than tensors, which is not "
            f"loaded since it could run code: {reason}"
        ) from error
    except (EOFError, RuntimeError, ValueError, KeyError) as error:
        reason = str(error).strip().partition("\n")[0]
        raise ValueError(f"{path} is truncated or damaged: {reason}") from error
    if not isinstance(loaded, dict) or not all(
        isinstance(value, torch.Tensor) for value in loaded.values()
    ):
        raise ValueError(
            f"{path} must hold a state dict, tensors by name, got "
            f"{type(loaded).__name__}"
        )
    return {str(name): _stored(value) for name, value in loaded.items()}


def _stored(value: "torch.Tensor") -> StoredArray:
    import torch

    if value.dtype == torch.bfloat16:
        # NumPy has no bfloat16: the bits are reinterpreted.
        def read() -> np.ndarray:
            return value.contiguous().view(torch.int16).numpy().view(ml_dtypes.bfloat16)

        return StoredArray(np.dtype(ml_dtypes.bfloat16), tuple(value.shape), read)
    dtype = str(value.dtype).removeprefix("torch.")
    with contextlib.suppress(TypeError):
        dtype = np.dtype(dtype)
    return StoredArray(dtype, tuple(value.shape), value.numpy)


# By the end of the file's name.
_OPENERS: dict[str, Callable[[Path], Tensors]] = {
    ".index.json": _open_index,
    ".safetensors": lambda path: open_arrays(path).arrays,
    ".bin": _open_torch,
    ".pth": _open_torch,
    ".pt": _open_torch,
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
    """The file of a checkpoint's weights: the path itself, or that in the folder."""
    if not path.is_dir():
        return path
    for name in _IN_FOLDER:
        if (path / name).exists():
            return path / name
    files = json.dumps(sorted(file.name for file in path.iterdir())[:10])
    raise ValueError(
        f"{path} holds no weights; expected one of {', '.join(_IN_FOLDER)}, got {files}"
    )


def convert_checkpoint(
    source: str | os.PathLike, target: str | os.PathLike, *, overwrite: bool = False
) -> None:
    """Rewrites a .bin, .pth or .pt state dict as .safetensors, keys and dtypes kept.

    Args:
      source: the file that torch wrote; it is read as weights only.
      target: the .safetensors file.
      overwrite: whether to replace a `target` that exists.

    Raises:
      ImportError: torch is not installed.
      ValueError: `source` is missing, damaged or not a state dict, or `target` has
        another suffix, or exists while `overwrite` is false.
    """
    if Path(target).suffix != ".safetensors":
        raise ValueError(f"target must end in .safetensors, got {target}")
    tensors = _open_torch(Path(source)).items()
    arrays = {name: np.asarray(value.read(), order="C") for name, value in tensors}
    with new_file(target, overwrite) as partial:
        # `save_file` makes a file that only its owner can read.
        partial.write_bytes(save(arrays, metadata={"format": "pt"}))
