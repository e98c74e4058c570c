"""Orders of the samples: as given, by label, by clustering."""

import os
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from jaxtyping import Float

from semrsm_jax.store import load_labels
from semrsm_jax.store.csv_rows import read_csv_rows

_LABEL = "label"
# For more samples, the optimal order of the leaves takes too long.
_MOST_OPTIMAL = 600


def label_names(
    labels: str | os.PathLike | Sequence[str],
    ids: Sequence[str] | None,
    count: int,
) -> tuple[str, ...]:
    """One label for each of N samples.

    Args:
      labels: N labels, or a file: a .csv with the column ``label`` (and, if there is
        one, ``id``), or one that `load_labels` reads, of which each image gets the
        class that it shows most of, or where it shows none, its group.
      ids: names of the samples; None: the labels go by their order.
      count: N.

    Raises:
      TypeError: as `load_labels`.
      ValueError: as `load_labels`, or there are other than N labels.
    """
    if not isinstance(labels, str | os.PathLike):
        given, names, where = [str(label) for label in labels], None, "labels"
    else:
        where = str(labels)
        given, names = _from_file(Path(labels))
    if ids is not None and names is not None:
        places = {name: place for place, name in enumerate(names)}
        missing = [name for name in ids if name not in places]
        if missing:
            raise ValueError(
                f"{where} must have a row for each sample, {len(missing)} of "
                f"{len(ids)} are missing, for example {missing[0]!r}"
            )
        return tuple(given[places[name]] for name in ids)
    if len(given) != count:
        raise ValueError(
            f"{where} must hold a label for each of {count} samples, got {len(given)}"
        )
    return tuple(given)


def _from_file(path: Path) -> tuple[list[str], Sequence[str] | None]:
    if path.suffix.lower() == ".csv":
        header, rows = read_csv_rows(path)
        if _LABEL in header:
            place = header.index(_LABEL)
            names = None
            if "id" in header:
                names = [row[header.index("id")] for row in rows]
                if len(set(names)) < len(names):
                    twice = next(name for name in names if names.count(name) > 1)
                    raise ValueError(
                        f"{path} must have unique ids, got {twice!r} again"
                    )
            return [row[place] for row in rows], names
    found = load_labels(path)
    classes = found.classes or [f"class {n}" for n in range(found.counts.shape[1])]
    groups = found.groups or [""] * len(found.counts)
    given = [
        classes[int(np.argmax(counts))] if counts.any() else group or "none"
        for counts, group in zip(found.counts, groups, strict=True)
    ]
    return given, found.ids


def by_label(labels: Sequence[str]) -> list[int]:
    """The samples sorted by label, in the given order within a label."""
    return sorted(range(len(labels)), key=lambda sample: labels[sample])


def by_clustering(K: Float[np.ndarray, "n n"]) -> list[int]:
    """The leaves of a hierarchical clustering (average linkage), similar ones adjacent.

    Two samples are as far apart as their similarity, made symmetric, is below the
    largest; an RSM need not be positive semi-definite for that.

    Args:
      K: RSM (n, n), finite.
    """
    # Slow to import, and used only here.
    from scipy.cluster import hierarchy
    from scipy.spatial.distance import squareform

    if len(K) < 3:
        return list(range(len(K)))
    similarity = (K.astype(np.float64) + K.T) / 2
    np.fill_diagonal(similarity, -np.inf)
    distance = similarity.max() - similarity
    np.fill_diagonal(distance, 0)
    optimal = len(K) <= _MOST_OPTIMAL
    tree = hierarchy.linkage(
        squareform(distance, checks=False), "average", optimal_ordering=optimal
    )
    return hierarchy.leaves_list(tree).tolist()
