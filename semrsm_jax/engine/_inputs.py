"""What a run may be given, and the checks of it that need no look at the values."""

import math
import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any, NamedTuple

import jax
import numpy as np
from jax.typing import ArrayLike

from semrsm_jax import _checks
from semrsm_jax._representations import AXES
from semrsm_jax._rows import Rows, transformed, unmapped


@dataclass(frozen=True, eq=False)
class Features:
    """An input of a run, with what is known of it.

    Attributes:
      rows: tokens (N, S, C): an array, a `Rows`, which is read block by block, or
        whatever else has a shape, a dtype, and gives samples when sliced.
      mask: (N, S), True where a token takes part. None: all do.
      ids: names of the samples, kept with the run.
      preprocessing: what was done to the features, as JSON can express it. It is a part
        of what the run is: another preprocessing is another run.
      source: where the features came from, likewise; it is kept, and nothing more.
    """

    rows: Any
    mask: ArrayLike | None = None
    ids: Sequence[str] | None = None
    preprocessing: Mapping[str, Any] | None = None
    source: Mapping[str, Any] | None = None


class Opened(NamedTuple):
    """Checked features, and their mask on the host."""

    features: Features
    mask: np.ndarray | None


def token_rows(activations: Any, layout: str) -> Any:
    """Activations as tokens (N, S, C): of a file read block by block, else in memory.

    Args:
      activations: an array, or a `Rows`; a memory-mapped file is read, not mapped.
      layout: the order of their axes, see `to_tokens`.

    Returns:
      Tokens (N, S, C): an array, or a `Rows` where `activations` is one.

    Raises:
      ValueError: the layout is unknown, or has another number of axes.
    """
    _checks.one_of("layout", layout, tuple(AXES))
    if len(activations.shape) != len(layout):
        raise ValueError(
            f"layout {layout!r} needs {len(layout)} axes, got shape "
            f"{tuple(activations.shape)}"
        )
    activations = unmapped(activations)
    if isinstance(activations, Rows):
        samples, *tokens, channels = (activations.shape[a] for a in AXES[layout])
        shape = (samples, math.prod(tokens), channels)
        return transformed(activations, partial(_tokens, layout=layout), shape)
    return _tokens(np.asarray(activations), layout)


def _tokens(block: np.ndarray, layout: str) -> np.ndarray:
    block = block.transpose(AXES[layout])
    return block.reshape(len(block), math.prod(block.shape[1:-1]), block.shape[-1])


def opened(name: str, given: Any) -> Opened:
    """The input with checked rows, and its mask on the host.

    Raises:
      TypeError: the rows are not real, or the mask is not boolean.
      ValueError: they have another number of axes, an axis is empty, the mask or the
        names do not fit.
    """
    features = given if isinstance(given, Features) else Features(given)
    rows = features.rows
    if isinstance(rows, str | os.PathLike):
        raise TypeError(
            f"{name} must be an array, a Rows or Features, got the path {rows!r}; "
            "semrsm_jax.store.load_features opens it"
        )
    rows = unmapped(rows)
    if isinstance(rows, jax.Array) or not hasattr(rows, "shape"):
        rows = np.asarray(rows)
    # The checks of an array look at its dtype and shape, which one sample has too.
    if len(rows.shape) != 3:
        raise ValueError(f"{name} must have 3 axes (N, S, C), got shape {rows.shape}")
    _checks.real_array_on_host(name, np.empty(0, rows.dtype))
    _checks.non_empty(name, rows, "N S C")
    mask = _checks.token_mask(f"{name}_mask", features.mask, tuple(rows.shape[:2]))
    if features.ids is not None and len(features.ids) != rows.shape[0]:
        raise ValueError(
            f"{name} has {rows.shape[0]} samples, got {len(features.ids)} ids"
        )
    checked = Features(
        rows, None, features.ids, features.preprocessing, features.source
    )
    return Opened(checked, None if mask is None else np.asarray(mask))
