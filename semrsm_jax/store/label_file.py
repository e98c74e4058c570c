"""Files that say what images show: counts of objects, groups such as videos, ids."""

import os
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np
from jaxtyping import Float

from semrsm_jax.store._array_files import open_arrays
from semrsm_jax.store._stored import StoredArray, check_real
from semrsm_jax.store.csv_rows import numbers, read_csv_rows

_NAMED = ("id", "group")


class Labels(NamedTuple):
    """What N images show.

    Attributes:
      counts: (N, C), how many instances of each class.
      classes: their C names; None where a file has none.
      ids: the images' names; None where a file has none.
      groups: the group, such as the video, of each image; None where there are none.
    """

    counts: Float[np.ndarray, "N C"]
    classes: tuple[str, ...] | None = None
    ids: tuple[str, ...] | None = None
    groups: tuple[str, ...] | None = None

    def take(self, order: Sequence[int]) -> "Labels":
        """The labels of these images, in this order."""
        ids, groups = (
            None if names is None else tuple(names[i] for i in order)
            for names in (self.ids, self.groups)
        )
        return Labels(self.counts[list(order)], self.classes, ids, groups)


def load_labels(path: str | os.PathLike) -> Labels:
    """Reads counts of objects from a .csv or .npz file.

    Args:
      path: a ``.csv`` with a row an image and, in its header, the names of the
        classes and, if there are any, the columns "id" and "group"; or an ``.npz`` with
        the array "counts" (N, C) and, if there are any, "classes" (C), "ids" (N) and
        "groups" (N), as text or numbers.

    Returns:
      The `Labels`.

    Raises:
      TypeError: counts in an .npz are not real.
      ValueError: the file is missing, damaged or of another kind; counts are negative
        or not finite, ids or classes not unique, or an array does not fit.
    """
    path = Path(path)
    readers = {".csv": _from_csv, ".npz": _from_npz}
    reader = readers.get(path.suffix.lower())
    if reader is None:
        raise ValueError(
            f"{path} must end in {' or '.join(readers)}, got "
            f"{path.suffix or 'no suffix'}"
        )
    labels = reader(path)
    bad = ~np.isfinite(labels.counts) | (labels.counts < 0)
    if bad.any():
        row, column = map(int, np.argwhere(bad)[0])
        raise ValueError(
            f"{path} must hold finite counts of at least 0, got "
            f"{labels.counts[row, column]:g} for class {column} of image {row}"
        )
    for what, names in (("ids", labels.ids), ("classes", labels.classes)):
        if names is not None and len(set(names)) < len(names):
            twice = next(name for name in names if names.count(name) > 1)
            raise ValueError(f"{path} must have unique {what}, got {twice!r} again")
    return labels


def _from_csv(path: Path) -> Labels:
    header, rows = read_csv_rows(path)
    columns = {name: header.index(name) for name in _NAMED if name in header}
    classes = [i for i in range(len(header)) if i not in columns.values()]
    if not classes:
        raise ValueError(f"{path} must have a column a class, got {', '.join(header)}")
    counts = np.empty((len(rows), len(classes)))
    for number, row in enumerate(rows):
        # An empty field is a class that is not there.
        counts[number] = numbers(path, number + 2, [row[i] or "0" for i in classes])
    ids, groups = (
        tuple(row[columns[name]] for row in rows) if name in columns else None
        for name in _NAMED
    )
    return Labels(counts, tuple(header[i] for i in classes), ids, groups)


def _from_npz(path: Path) -> Labels:
    arrays = open_arrays(path).arrays
    if "counts" not in arrays:
        found = ", ".join(map(repr, arrays)) or "no array"
        raise ValueError(f"{path} must hold an array 'counts' (N, C), got {found}")
    stored = arrays["counts"]
    if stored.dtype != np.dtype(bool):
        check_real(f"{path}, 'counts',", stored.dtype)
    if len(stored.shape) != 2 or 0 in stored.shape:
        raise ValueError(f"{path} must hold counts (N, C), got shape {stored.shape}")
    samples, classes = stored.shape
    return Labels(
        np.asarray(stored.read(), np.float64),
        _names(path, arrays, "classes", classes),
        _names(path, arrays, "ids", samples),
        _names(path, arrays, "groups", samples),
    )


def _names(
    path: Path, arrays: dict[str, StoredArray], name: str, count: int
) -> tuple[str, ...] | None:
    if name not in arrays:
        return None
    stored = arrays[name]
    if getattr(stored.dtype, "kind", "") not in "UiuS" or stored.shape != (count,):
        raise ValueError(
            f"{path} must hold {name} ({count},) as text or integers, got shape "
            f"{stored.shape}, {stored.dtype}"
        )
    return tuple(map(str, np.asarray(stored.read()).tolist()))
