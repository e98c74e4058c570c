"""The inputs of a run, and the checks of them that do not read their values."""

import dataclasses
import math
import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

import jax
import numpy as np
from jax.typing import ArrayLike

from semrsm_jax import _checks
from semrsm_jax._ids import checked_ids
from semrsm_jax._layouts import AXES, layout_of
from semrsm_jax._narrowed import warn_of_lost_variation
from semrsm_jax._rows import Rows, unmapped

# The axes over which each mean is taken.
CENTERS = {"channel": (0, 1), "position": (0,)}


@dataclass(frozen=True, eq=False)
class Features:
    """An input of a run, with its masks, names and origin.

    Attributes:
      rows: tokens (N, S, C): an array, a `Rows`, which is read block by block, or
        anything else that has a shape and a dtype and gives samples when sliced.
      mask: (N, S), True where a token takes part. None: all do.
      ids: names of the samples, kept with the run.
      preprocessing: what was done to the features, as JSON can express it. It is a part
        of what the run is: another preprocessing is another run.
      source: where the features came from, as JSON can express it. It is kept with the
        run, but does not make it another one. ``source["file"]`` names the input in
        errors.
    """

    rows: Any
    mask: ArrayLike | None = None
    ids: Sequence[str] | None = None
    preprocessing: Mapping[str, Any] | None = None
    source: Mapping[str, Any] | None = None


def token_rows(activations: Any, layout: str) -> Any:
    """Activations as tokens (N, S, C): of a file read block by block, else in memory.

    Args:
      activations: an array, or a `Rows`; a memory-mapped file is read, not mapped.
      layout: the order of their axes, see `to_tokens`.

    Returns:
      Tokens (N, S, C): an array, or a `Rows` where `activations` is one.

    Raises:
      ValueError: the layout is unknown, or has another number of axes; or the array is
        masked.
    """
    layout = layout_of("features", activations.shape, layout)
    _checks.not_masked("features", activations)
    activations = unmapped(activations)
    if isinstance(activations, Rows):
        samples, *tokens, channels = (activations.shape[a] for a in AXES[layout])
        shape = (samples, math.prod(tokens), channels)
        read = partial(_read_tokens, activations, layout)
        return Rows(shape, activations.dtype, read)
    return _tokens(np.asarray(activations), layout)


def _read_tokens(rows: Rows, layout: str, start: int, stop: int) -> np.ndarray:
    return _tokens(rows.read(start, stop), layout)


def _tokens(block: np.ndarray, layout: str) -> np.ndarray:
    block = block.transpose(AXES[layout])
    return block.reshape(len(block), math.prod(block.shape[1:-1]), block.shape[-1])


def check_features(name: str, given: Any, centered: bool = False) -> Features:
    """Checks an input without a look at all of its values.

    Args:
      name: of the argument, for errors.
      given: `Features`, or tokens (N, S, C) as `Features` takes them.
      centered: whether a mean is subtracted from them, in their own dtype. It is not
        then warned of values that differ by less than JAX will keep.

    Returns:
      The features: rows that are NumPy arrays, a `Rows` or the like, the mask (N, S) on
      the host.

    Raises:
      TypeError: the rows are not real, the mask is not boolean, or the ids are one
        string.
      ValueError: the rows do not have 3 axes, an axis is empty, or the mask or the ids
        do not fit, an id names two samples, or the rows are a masked array.
    """
    features = given if isinstance(given, Features) else Features(given)
    name, rows = input_name(name, features), features.rows
    if isinstance(rows, str | os.PathLike):
        raise TypeError(
            f"{name} must be an array, a Rows or Features, got the path {rows!r}; "
            "semrsm_jax.store.load_features opens it"
        )
    rows = unmapped(rows)
    if isinstance(rows, jax.Array) or not hasattr(rows, "shape"):
        rows = np.asarray(rows)
    if len(rows.shape) != 3:
        raise ValueError(f"{name} must have 3 axes (N, S, C), got shape {rows.shape}")
    _checks.real(name, rows)
    if not centered:
        warn_of_lost_variation(name, rows)
    _checks.non_empty(name, rows, "N S C")
    mask = _checks.token_mask(f"{name}_mask", features.mask, tuple(rows.shape[:2]))
    ids = checked_ids(f"{name}: ids", features.ids, rows.shape[0])
    checked = dataclasses.replace(features, rows=rows, mask=mask, ids=ids)
    return dataclasses.replace(checked, mask=host_mask(checked))


def host_mask(features: Features) -> np.ndarray | None:
    """The mask (N, S) of features as a NumPy array."""
    return None if features.mask is None else np.asarray(features.mask)


def input_name(name: str, features: Features) -> str:
    """The file that features came from, or the argument's name where there is none."""
    return str((features.source or {}).get("file", name))
