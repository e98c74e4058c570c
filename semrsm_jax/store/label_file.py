"""Files that state what images show: counts of objects or one label each, and ids."""

import os
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np
from jaxtyping import Float

from semrsm_jax._ids import check_unique
from semrsm_jax.store.array_files import open_arrays
from semrsm_jax.store.csv_rows import names_in, numbers, read_csv_rows
from semrsm_jax.store.stored_array import StoredArray, check_real, damage_named

# Columns of a .csv that are not counts.
_NAMED = ("id", "group", "label")

# Columns that hold names, or numbers that stand for names, never counts.
_NAMES = {
    "id": ("ids", "image", "image_id", "file", "filename", "index"),
    "group": ("groups", "video_id"),
    "label": ("labels", "class", "class_id", "category", "target"),
}

# So many integers that are all different are the numbers of images, not counts.
_MANY = 10


class Labels(NamedTuple):
    """What N images show.

    Attributes:
      counts: (N, C), how many instances of each class; of a file with one label an
        image, 1 for its class and 0 for all others.
      classes: the C names of the classes; None where a file has none.
      ids: the names of the N images; None where a file has none.
      groups: the group, such as the video, of each image; None where there are none.
      labels: the one label of each image; None where a file holds counts.
    """

    counts: Float[np.ndarray, "N C"]
    classes: tuple[str, ...] | None = None
    ids: tuple[str, ...] | None = None
    groups: tuple[str, ...] | None = None
    labels: tuple[str, ...] | None = None

    def take(self, order: Sequence[int]) -> "Labels":
        """The labels of the images with these numbers, in this order."""
        ids, groups, labels = (
            None if names is None else tuple(names[i] for i in order)
            for names in (self.ids, self.groups, self.labels)
        )
        return Labels(self.counts[list(order)], self.classes, ids, groups, labels)

    def main_labels(self) -> tuple[str, ...]:
        """One label for each image: its own, or the class it shows most instances of.

        An image that shows nothing gets its group, or "none".
        """
        if self.labels is not None:
            return self.labels
        classes = self.classes or [f"class {n}" for n in range(self.counts.shape[1])]
        groups = self.groups or [""] * len(self.counts)
        return tuple(
            classes[int(np.argmax(counts))] if counts.any() else group or "none"
            for counts, group in zip(self.counts, groups, strict=True)
        )


def load_labels(path: str | os.PathLike) -> Labels:
    """Reads counts of objects, or one label for each image, from a file.

    Args:
      path: a ``.csv`` with a row an image. Its columns are matched without regard to
        case and surrounding blanks: ``id`` names the image and ``group`` what it
        belongs to, such as a video; both may be left out. With a column ``label``,
        text or integers, each image has this one label, and other columns are not
        read. Otherwise each further column is a class and holds counts of its
        instances. Or an ``.npz`` with the array ``counts`` (N, C) or ``labels`` (N,)
        and, if there are any, ``classes`` (C), ``ids`` (N) and ``groups`` (N), as text
        or integers.

    Returns:
      The `Labels`.

    Raises:
      TypeError: counts in an .npz are not real.
      ValueError: the file is missing, damaged or of another kind; counts are negative,
        not finite, not whole, or cannot be counts, such as ids; ids or classes are not
        unique; or an array does not fit.
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
    part = labels.counts % 1 != 0
    if part.any():
        row, column = map(int, np.argwhere(part)[0])
        raise ValueError(
            f"{path} must hold whole counts of objects, got "
            f"{labels.counts[row, column]:g} for class {column} of image {row}; "
            "round shares or areas to counts, or leave the column out"
        )
    check_unique(f"{path}: ids", labels.ids)
    check_unique(f"{path}: classes", labels.classes)
    return labels


def column_key(name: str) -> str:
    """What names of columns and classes are compared by."""
    return name.strip().casefold()


def _from_csv(path: Path) -> Labels:
    header, rows = read_csv_rows(path)
    keys = [column_key(name) for name in header]
    check_unique(f"{path}: columns", keys)
    named = {name: keys.index(name) for name in _NAMED if name in keys}
    ids, groups, labels = (
        names_in(path, rows, named[name], name) if name in named else None
        for name in _NAMED
    )
    if labels is not None:
        return _one_hot(labels, ids, groups)
    classes = [i for i in range(len(header)) if i not in named.values()]
    if not classes:
        raise ValueError(
            f"{path} must have a column a class, or a column label, got "
            f"{', '.join(header)}"
        )
    counts = np.empty((len(rows), len(classes)))
    for number, row in enumerate(rows):
        # An empty field is a class that is not there.
        counts[number] = numbers(path, number + 2, [row[i] or "0" for i in classes])
    names = tuple(header[i].strip() for i in classes)
    _check_counts(path, names, counts)
    return Labels(counts, names, ids, groups)


def _from_npz(path: Path) -> Labels:
    arrays = open_arrays(path).arrays
    one_each = "labels" in arrays and "counts" not in arrays
    stored = arrays["labels"] if one_each else _stored_counts(path, arrays)
    samples = stored.shape[0] if stored.shape else 0
    ids = stored_names(path, arrays, "ids", samples)
    groups = stored_names(path, arrays, "groups", samples)
    if one_each:
        return _one_hot(
            stored_names(path, arrays, "labels", samples) or (), ids, groups
        )
    classes = stored_names(path, arrays, "classes", stored.shape[1])
    return Labels(np.asarray(stored.read(), np.float64), classes, ids, groups)


def _stored_counts(path: Path, arrays: dict[str, StoredArray]) -> StoredArray:
    if "counts" not in arrays:
        names = ", ".join(map(repr, arrays)) or "no array"
        raise ValueError(
            f"{path} must hold an array 'counts' (N, C) or 'labels' (N,), got {names}"
        )
    stored = arrays["counts"]
    if stored.dtype != np.dtype(bool):
        check_real(f"{path}, 'counts',", stored.dtype)
    if len(stored.shape) != 2 or 0 in stored.shape:
        raise ValueError(
            f"{path} must hold counts (N, C), got shape {stored.shape}; one label an "
            "image is an array 'labels' (N,)"
        )
    return stored


def _one_hot(
    labels: tuple[str, ...], ids: tuple[str, ...] | None, groups: tuple[str, ...] | None
) -> Labels:
    """Labels as counts: one instance of its class for each image."""
    classes = tuple(sorted(set(labels)))
    counts = np.array([[float(label == name) for name in classes] for label in labels])
    return Labels(counts, classes, ids, groups, labels)


def _check_counts(path: Path, names: Sequence[str], counts: np.ndarray) -> None:
    """Rejects columns that cannot be counts of objects."""
    for name, column in zip(names, counts.T, strict=True):
        kinds = [k for k, others in _NAMES.items() if column_key(name) in others]
        if kinds:
            raise ValueError(
                f"{path}: column {name!r} cannot hold counts of objects; call it "
                f"{kinds[0]!r}, or remove it"
            )
        whole = len(column) >= _MANY and bool((column % 1 == 0).all())
        if whole and len(np.unique(column)) == len(column):
            raise ValueError(
                f"{path}: column {name!r} cannot hold counts of objects, its "
                f"{len(column)} integers are all different; if they name the images, "
                "call it 'id', otherwise remove it"
            )


def stored_names(
    path: Path, arrays: dict[str, StoredArray], name: str, count: int | None
) -> tuple[str, ...] | None:
    """An array of names as text, None where there is none; count None: any number.

    ValueError: it is of another shape or dtype, or a name is empty.
    """
    if name not in arrays:
        return None
    stored = arrays[name]
    fits = len(stored.shape) == 1 and count in (None, *stored.shape)
    if getattr(stored.dtype, "kind", "") not in "UiuS" or not fits:
        raise ValueError(
            f"{path} must hold {name} ({'N' if count is None else count},) as text or "
            f"integers, got shape {stored.shape}, {stored.dtype}"
        )
    values = np.asarray(stored.read())
    if values.dtype.kind == "S":
        with damage_named(path):
            values = np.char.decode(values, "utf-8")
    names = tuple(map(str, values.tolist()))
    if "" in names:
        raise ValueError(
            f"{path} must hold {name} that are not empty, got '' at index "
            f"{names.index('')}"
        )
    return names
