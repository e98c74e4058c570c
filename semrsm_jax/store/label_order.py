"""Labels in the order of the samples of an RSM, and over the same classes."""

import warnings
from collections.abc import Sequence

import numpy as np

from semrsm_jax.store.label_file import Labels, column_key


def align_labels(
    labels: Labels, ids: Sequence[str] | None, count: int | None, name: str = "labels"
) -> Labels:
    """Brings labels into the order of the samples of an RSM.

    Args:
      labels: of at least these samples, in any order.
      ids: the names of the N samples; None where they have none.
      count: N; None where it is not known.
      name: what errors call the labels, such as the path of their file.

    Returns:
      The labels of the N samples, by their ids where both sides have ids. Otherwise the
      rows are taken as they come, with a warning where one side has ids.

    Raises:
      ValueError: a sample has no row; or, without ids on both sides, the numbers of
        rows and samples differ.
    """
    if ids is not None and labels.ids is not None:
        places = {each: place for place, each in enumerate(labels.ids)}
        missing = [each for each in ids if each not in places]
        if missing:
            raise ValueError(
                f"{name} must have a row for each sample, by its id; {len(missing)} of "
                f"{len(ids)} are missing, for example {missing[0]!r} (the file has for "
                f"example {labels.ids[0]!r})"
            )
        return labels.take([places[each] for each in ids])
    if count is not None and len(labels.counts) != count:
        raise ValueError(
            f"{name} must have {count} rows, one for each sample of the RSM, got "
            f"{len(labels.counts)}"
        )
    if ids is not None or labels.ids is not None:
        one, other = (name, "the RSM") if ids is None else ("the RSM", name)
        warnings.warn(
            f"{one} has ids, {other} has none: the rows of {name} are taken as they "
            "come",
            stacklevel=2,
        )
    return labels


def align_classes(
    first: Labels, second: Labels, names: tuple[str, str] = ("first", "second")
) -> tuple[Labels, Labels]:
    """Brings the counts of two sets of images to the same classes in the same order.

    Classes are matched without regard to case and surrounding blanks. Sets with one
    label for each image need not share all classes.

    Args:
      first: of one set of images.
      second: of the other set.
      names: what errors call them.

    Returns:
      Both, over the same classes; as they are where one has no names of classes.

    Raises:
      ValueError: counts of other classes.
    """
    if first.classes is None or second.classes is None:
        return first, second
    keys = [
        [column_key(name) for name in classes]
        for classes in (first.classes, second.classes)
    ]
    odd = sorted(set(keys[0]) ^ set(keys[1]))
    if odd and (first.labels is None or second.labels is None):
        raise ValueError(
            f"{names[0]} and {names[1]} must be over the same classes; only one has "
            f"{', '.join(odd[:5])}"
        )
    classes = {column_key(name): name for name in (*second.classes, *first.classes)}
    places = {key: n for n, key in enumerate(dict.fromkeys(keys[0] + keys[1]))}
    names_of_classes = tuple(classes[key] for key in places)
    aligned = []
    for labels, own in zip((first, second), keys, strict=True):
        counts = np.zeros((len(labels.counts), len(places)))
        # Classes that differ in case alone are one class.
        for column, key in enumerate(own):
            counts[:, places[key]] += labels.counts[:, column]
        aligned.append(labels._replace(counts=counts, classes=names_of_classes))
    return aligned[0], aligned[1]
