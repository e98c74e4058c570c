"""An RSM with the names of its samples, as other tools keep it."""

from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np
from jaxtyping import Float

from semrsm_jax import _checks
from semrsm_jax._ids import checked_ids


class LabeledRSM(NamedTuple):
    """A matrix and the names of its samples.

    Attributes:
      rsm: (N, M).
      x_ids: names of the N rows; None where they have none.
      y_ids: names of the M columns.
    """

    rsm: Float[np.ndarray, "N M"]
    x_ids: tuple[str, ...] | None = None
    y_ids: tuple[str, ...] | None = None


def checked(
    name: str, K: Any, x_ids: Sequence[Any] | None, y_ids: Sequence[Any] | None
) -> LabeledRSM:
    """A real matrix as a NumPy array, and its ids as text.

    TypeError: not real, or ids that are one string; ValueError: other than two axes,
    an empty one, or ids that are not one for each sample or not unique.
    """
    rsm = np.asarray(_checks.real_array_on_host(name, K, rank=2))
    _checks.non_empty(name, rsm, "N M")
    return LabeledRSM(
        rsm,
        checked_ids("x_ids", x_ids, rsm.shape[0]),
        checked_ids("y_ids", y_ids, rsm.shape[1]),
    )


def own_ids(
    x_ids: Sequence[Any] | None, y_ids: Sequence[Any] | None, *rsms: Any
) -> tuple[Sequence[Any] | None, Sequence[Any] | None]:
    """The ids given; where there are none, those of the first RSM that has some."""
    own = ((getattr(K, "x_ids", None), getattr(K, "y_ids", None)) for K in rsms)
    x_own, y_own = next(filter(any, own), (None, None))
    return x_own if x_ids is None else x_ids, y_own if y_ids is None else y_ids


def numbered(ids: tuple[str, ...] | None, count: int) -> tuple[str, ...]:
    """The ids, or the samples' numbers where there are none."""
    return tuple(map(str, range(count))) if ids is None else ids
