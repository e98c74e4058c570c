"""The weights of a network of this package, in one safetensors file.

Public checkpoints come in other layouts and under other names: `load` reads those.
"""

import os

import jax.numpy as jnp
import numpy as np
from flax import nnx
from jax.typing import DTypeLike
from safetensors.numpy import load_file, save

from semrsm_jax.models._layers import floating
from semrsm_jax.store import new_file


def parameter_paths(model: nnx.Module) -> dict[str, nnx.Variable]:
    """The parameters and running statistics of a network by dotted path."""
    state = nnx.state(model, (nnx.Param, nnx.BatchStat))
    return {".".join(map(str, path)): leaf for path, leaf in nnx.to_flat_state(state)}


def save_weights(
    model: nnx.Module,
    path: str | os.PathLike,
    *,
    dtype: DTypeLike = jnp.float32,
    overwrite: bool = False,
) -> None:
    """Writes parameters and running statistics, whole or not at all.

    Args:
      model: any nnx module.
      path: the file, usually ending in .safetensors.
      dtype: of the parameters on the disk; running statistics keep theirs, since
        a variance may exceed the range of float16.
      overwrite: replace the file where it exists.

    Raises:
      OSError: the file cannot be written, for example on a full disk.
      ValueError: `path` exists, or `dtype` is not floating.
    """
    dtype = floating("dtype", dtype)
    tensors = {
        name: np.asarray(
            variable[...].astype(dtype)
            if isinstance(variable, nnx.Param)
            else variable[...]
        )
        for name, variable in parameter_paths(model).items()
    }
    with new_file(path, overwrite) as temporary:
        # `save_file` makes a file that only its owner can read.
        temporary.write_bytes(save(tensors))


def load_weights(model: nnx.Module, path: str | os.PathLike) -> None:
    """Sets parameters and running statistics to those of a file of `save_weights`.

    Args:
      model: of the architecture that was saved; updated in place, each variable keeping
        its dtype.
      path: the file.

    Raises:
      FileNotFoundError: there is no such file.
      ValueError: the file holds other names or shapes than the model.
    """
    tensors = load_file(path)
    variables = parameter_paths(model)
    unlike = sorted(set(tensors) ^ set(variables)) or [
        name for name in variables if tensors[name].shape != variables[name].shape
    ]
    if unlike:
        raise ValueError(
            f"{path} must hold the weights of this architecture; {len(unlike)} of its "
            f"names or shapes differ, the first is {unlike[0]!r}"
        )
    for name, variable in variables.items():
        variable[...] = jnp.asarray(tensors[name], variable.dtype)
