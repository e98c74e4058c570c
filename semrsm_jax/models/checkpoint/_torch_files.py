"""Checkpoints written by torch: pickles, read as weights only."""

import os
import pickle
import zipfile
from pathlib import Path
from typing import Any

import ml_dtypes
import numpy as np
from safetensors.numpy import save_file

from semrsm_jax.store.output import new_file
from semrsm_jax.store.stored_array import StoredArray, damage_named


def open_torch(path: Path) -> dict[str, StoredArray]:
    """Lists the tensors of a .bin, .pth or .pt file, a state dict.

    `torch.load(weights_only=True)` rejects anything that could run code. A file in
    torch's zip format is memory-mapped: its values are read when they are used.

    Raises:
      ImportError: torch is not installed.
      ValueError: the file is missing, damaged, not a state dict, or could run code.
    """
    try:
        import torch
    except ImportError as error:
        raise ImportError(
            f"{path} was written by torch and needs it: "
            "pip install 'semrsm_jax[torch]'; or use the checkpoint's .safetensors"
        ) from error
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


def _stored(value: Any) -> StoredArray:
    name = str(value.dtype).removeprefix("torch.")
    if name == "bfloat16":
        # NumPy has no bfloat16: the bits are reinterpreted.
        def read() -> np.ndarray:
            return value.contiguous().view(_int16()).numpy().view(ml_dtypes.bfloat16)

        return StoredArray(np.dtype(ml_dtypes.bfloat16), tuple(value.shape), read)
    try:
        dtype = np.dtype(name)
    except TypeError:
        return StoredArray(name, tuple(value.shape), value.numpy)
    return StoredArray(dtype, tuple(value.shape), value.numpy)


def _int16() -> Any:
    import torch

    return torch.int16


def convert_checkpoint(
    source: str | os.PathLike, target: str | os.PathLike, *, overwrite: bool = False
) -> None:
    """Rewrites a .bin, .pth or .pt state dict as .safetensors, keys and dtypes kept.

    Args:
      source: the file that torch wrote; it is read as weights only.
      target: the .safetensors file.
      overwrite: whether to replace a `target` that exists.

    Raises:
      FileExistsError: `target` exists and `overwrite` is false.
      ImportError: torch is not installed.
      ValueError: `source` is missing, damaged or not a state dict, or `target`
        has another suffix.
    """
    if Path(target).suffix != ".safetensors":
        raise ValueError(f"target must end in .safetensors, got {target}")
    tensors = open_torch(Path(source))
    arrays = {
        name: np.ascontiguousarray(value.read()) for name, value in tensors.items()
    }
    with new_file(target, overwrite) as partial:
        save_file(arrays, partial, metadata={"format": "pt"})
