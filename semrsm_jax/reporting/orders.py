"""Orders of the samples: as given, by label, by clustering."""

import os
from collections.abc import Sequence

import numpy as np
from jaxtyping import Float

from semrsm_jax.store import align_labels, load_labels

# For more samples, the optimal order of the leaves takes too long.
_MOST_OPTIMAL = 600


def label_names(
    labels: str | os.PathLike | Sequence[str],
    ids: Sequence[str] | None,
    count: int,
) -> tuple[str, ...]:
    """One label for each of N samples.

    Args:
      labels: N labels, or a file that `load_labels` reads, of which each image gets its
        label, or the class that it shows most of, or where it shows none, its group.
      ids: names of the samples; None: the labels go by their order.
      count: N.

    Raises:
      TypeError: as `load_labels`.
      ValueError: as `load_labels` and `align_labels`, or there are other than N labels.
    """
    if isinstance(labels, str | os.PathLike):
        aligned = align_labels(load_labels(labels), ids, count, str(labels))
        return aligned.main_labels()
    if len(labels) != count:
        raise ValueError(
            f"labels must hold a label for each of {count} samples, got {len(labels)}"
        )
    return tuple(map(str, labels))


def by_clustering(K: Float[np.ndarray, "n n"]) -> list[int]:
    """The leaves of a hierarchical clustering (average linkage), similar ones adjacent.

    Two samples are as far apart as their similarity, made symmetric, is below the
    largest; an RSM need not be positive semi-definite for that.
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
