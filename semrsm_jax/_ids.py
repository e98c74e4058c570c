"""RSMs that state the ids of their samples, brought into one order."""

import warnings
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from semrsm_jax._rows import Rows

# What carries the ids of rows and columns, such as `semrsm_jax.store.Similarity`.
_AXES = ("x_ids", "y_ids")


@dataclass(frozen=True, eq=False)
class AlignedRows(Rows):
    """An RSM whose rows and columns are in the order that was asked for.

    Attributes:
      x_groups: the group of each row, in that order; None where there are none.
    """

    x_groups: tuple[str, ...] | None = None


@dataclass(frozen=True, eq=False)
class NamedRows(Rows):
    """Features whose rows have ids; their columns are no samples, as an RSM's are.

    Attributes:
      x_ids: names of the N samples; None where they have none.
    """

    x_ids: tuple[str, ...] | None = None


def check_unique(name: str, names: Sequence[Any] | None) -> None:
    """Raises ValueError where a name stands for two samples, classes or columns."""
    if names is None or len(set(names)) == len(names):
        return
    (twice, _), *_ = Counter(names).most_common(1)
    raise ValueError(f"{name} must be unique, got {twice!r} again")


def checked_names(
    name: str, names: Iterable[Any] | None, count: int | None = None
) -> tuple[str, ...] | None:
    """Names of `count` samples as text; None stays.

    TypeError: a string in place of a sequence. ValueError: another number of names.
    """
    if names is None:
        return None
    if isinstance(names, str):
        raise TypeError(f"{name} must be a sequence of strings, got {names!r}")
    text = tuple(map(str, names))
    if count is not None and len(text) != count:
        raise ValueError(f"{name} must name {count} samples, got {len(text)} names")
    return text


def checked_ids(
    name: str, ids: Iterable[Any] | None, count: int | None = None
) -> tuple[str, ...] | None:
    """As `checked_names`; ValueError: an id names two samples."""
    text = checked_names(name, ids, count)
    check_unique(name, text)
    return text


def matrix_of(rsm: Any) -> Any:
    """The matrix of what `semrsm_jax.store.load_rsm` returns; others as they are."""
    return rsm.rsm if hasattr(rsm, "rsm") and hasattr(rsm, "x_ids") else rsm


def same_samples(rsms: Mapping[str, Any]) -> dict[str, Any]:
    """RSMs, by the names of messages, in the order of the first one that has ids.

    What `load_rsm` and `open_similarity` of `semrsm_jax.store` return has ids; those
    come back as `AlignedRows`, others as they are, with a warning beside one that has
    ids. ValueError: RSMs are over other samples, an id stands for two of them, or it
    is unknown whether columns are to follow the rows.
    """
    ids: dict[str, tuple[Any, ...]] = {
        name: tuple(getattr(rsm, axis, None) for axis in _AXES)
        for name, rsm in rsms.items()
    }
    # The first that names the rows, and the first that names the columns.
    firsts = [next((name for name in rsms if ids[name][axis]), None) for axis in (0, 1)]
    matrices = {name: matrix_of(rsm) for name, rsm in rsms.items()}
    axis = next((axis for axis, first in enumerate(firsts) if first is not None), None)
    if axis is None:
        return matrices
    for name, own in ids.items():
        if own[axis] is None:
            warnings.warn(
                f"{firsts[axis]} has ids, {name} has none: its rows are taken as they "
                "come",
                stacklevel=4,
            )
        orders = [
            None
            if names is None or first is None
            else order_of(name, names, first, ids[first][axis])
            for axis, (names, first) in enumerate(zip(own, firsts, strict=True))
        ]
        matrix = matrices[name]
        square = len(set(matrix.shape)) == 1 and hasattr(rsms[name], "y_ids")
        if square and None in own and any(order is not None for order in orders):
            missing = own.index(None)
            raise ValueError(
                f"{name} must have {_AXES[missing]} too: its {_AXES[1 - missing]} are "
                f"in another order than those of {firsts[1 - missing]}, and as it is "
                "square, rows and columns may be the same samples; save it with both"
            )
        if any(own):
            groups = getattr(rsms[name], "x_groups", None)
            matrices[name] = _aligned(matrices[name], groups, *orders)
    return matrices


def order_of(
    name: str, ids: Sequence[str], other: str, wanted: Sequence[str]
) -> np.ndarray | None:
    """Where each of the wanted ids stands among `ids`; None where nothing moves.

    ValueError: they are not the same ids, or one stands for two samples.
    """
    if tuple(ids) == tuple(wanted):
        return None
    odd = sorted(set(ids) ^ set(wanted))
    if odd:
        raise ValueError(
            f"{name} must be over the samples of {other}, by their ids; {len(odd)} are "
            f"in one of them only, for example {odd[0]!r}"
        )
    if len(set(ids)) < len(ids) or len(ids) != len(wanted):
        raise ValueError(
            f"{name} must have unique ids to be brought into the order of {other}"
        )
    places = {each: place for place, each in enumerate(ids)}
    return np.array([places[each] for each in wanted])


def _aligned(
    matrix: Any, groups: Any, rows: np.ndarray | None, columns: np.ndarray | None
) -> AlignedRows:
    """Rows and columns of a matrix in an order, None: theirs; read when used."""

    def read(start: int, stop: int) -> np.ndarray:
        chosen = slice(start, stop) if rows is None else rows[start:stop]
        block = np.asarray(matrix[chosen])
        return block if columns is None else block[:, columns]

    if groups is not None:
        groups = tuple(groups if rows is None else (groups[row] for row in rows))
    return AlignedRows(tuple(matrix.shape), np.dtype(matrix.dtype), read, groups)
