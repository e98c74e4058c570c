"""How well retrieved images show what the query shows, Appendix D."""

import warnings
from collections.abc import Callable
from functools import partial
from typing import TYPE_CHECKING, Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax.typing import ArrayLike
from jaxtyping import Array, Float, Int

from semrsm_jax import _checks
from semrsm_jax._representations import accumulation_dtype
from semrsm_jax.store import Labels, align_classes, align_labels

if TYPE_CHECKING:
    from semrsm_jax.retrieval._nearest import Neighbors
    from semrsm_jax.retrieval._search import SearchResult

# Counts of a query (..., C) and of database images (..., C) in, scores (...) out.
Score = Callable[[ArrayLike, ArrayLike], Float[Array, "*batch"]]

# The largest count.
_MOST = 1e30

# Queries scored at a time.
_QUERIES = 256


class ScoresAtK(NamedTuple):
    """The scores of each query's best 1, 2, ..., k neighbors; column j is @(j + 1).

    Attributes:
      mean: (N, k), the mean over the first j + 1 neighbors.
      best: (N, k), the largest among them. The paper's F1@1 is column 0 of either.
    """

    mean: Float[Array, "N k"]
    best: Float[Array, "N k"]


def instance_f1(
    query_counts: ArrayLike, database_counts: ArrayLike, *, zero_division: float = 0.0
) -> Float[Array, "*batch"]:
    """The F1 score of counts of objects: a query's truth, an image's prediction.

    2 TP / (2 TP + FP + FN), Eq. 12, where each class gives min(Q, D) true positives,
    Eq. 9, max(0, Q - D) false negatives, Eq. 10, and max(0, D - Q) false positives,
    Eq. 11.

    Args:
      query_counts: (..., C), how many instances of each class the query shows.
      database_counts: (..., C), the same of the image retrieved; leading axes are
        broadcast: ``q[:, None]`` and ``d`` give every query with every image.
      zero_division: the score where neither shows anything.

    Returns:
      Scores in [0, 1], (...).

    Raises:
      TypeError: counts are not real.
      ValueError: counts are negative, above 1e30, NaN or infinite, or of other classes.

    Examples:
      >>> import numpy as np
      >>> from semrsm_jax import instance_f1
      >>> print(instance_f1(np.array([2, 1, 0]), np.array([1, 1, 1])))  # 2 TP / (3 + 3)
      0.667
    """
    query, database = _counts(query_counts, database_counts)
    matched = 2 * jnp.sum(jnp.minimum(query, database), axis=-1)
    return _ratio(matched, jnp.sum(query + database, axis=-1), zero_division)


def class_iou(
    query_counts: ArrayLike, database_counts: ArrayLike, *, zero_division: float = 0.0
) -> Float[Array, "*batch"]:
    """Intersection over union of the classes that are present, App. D.4.

    Args:
      query_counts: (..., C), booleans, or numbers above 0 where a class is present.
      database_counts: (..., C), booleans or numbers, as `query_counts`; leading axes
        are broadcast.
      zero_division: the score where neither shows anything.

    Returns:
      Scores in [0, 1], (...).

    Raises:
      TypeError: counts are neither real nor boolean.
      ValueError: as `instance_f1`.

    Examples:
      >>> import numpy as np
      >>> from semrsm_jax import class_iou
      >>> print(class_iou(np.array([2, 1, 0]), np.array([1, 1, 1])))
      0.667
    """
    query, database = (c > 0 for c in _counts(query_counts, database_counts))
    shared = jnp.sum(query & database, axis=-1)
    return _ratio(shared, jnp.sum(query | database, axis=-1), zero_division)


def scores_at_k(
    neighbors: "ArrayLike | Neighbors | SearchResult",
    query_counts: ArrayLike | Labels,
    database_counts: ArrayLike | Labels,
    score: Score = instance_f1,
) -> ScoresAtK:
    """Scores each query's neighbors: F1@k or IoU@k for every k at once.

    The paper's retrieval tables are means over queries of these, Section 4.2.

    Args:
      neighbors: (N, k) indices into the database, most similar first, -1 where there is
        none; or what `nearest` or `search` returned, with the ids of its samples.
      query_counts: (N, C), see `instance_f1`; or the `Labels` of a file, which come in
        the order of the ids, and both over the same classes.
      database_counts: (M, C), or `Labels`.
      score: of a query's counts and an image's, `instance_f1` or `class_iou`.

    Returns:
      The `ScoresAtK`. A query with fewer neighbors is scored by those it has, and one
      without any is NaN.

    Raises:
      TypeError: counts are neither real nor boolean, or indices not integers.
      ValueError: shapes that do not fit, counts that are negative or not finite, or an
        index outside the database; or as `align_labels` and `align_classes`.

    Warns:
      UserWarning: neighbors or labels have ids where the others have none.

    Examples:
      >>> import numpy as np
      >>> from semrsm_jax import scores_at_k
      >>> query, database = np.array([[1, 0]]), np.array([[0, 1], [1, 0]])
      >>> scores = scores_at_k(np.array([[0, 1]]), query, database)  # right: the 2nd
      >>> print(scores.mean, scores.best)
      [[0.0 0.5]] [[0. 1.]]
    """
    query_counts, database_counts = counts_of(neighbors, query_counts, database_counts)
    query, database = _counts(query_counts, database_counts)
    for name, counts in (("query_counts", query), ("database_counts", database)):
        if counts.ndim != 2:
            raise ValueError(f"{name} must have 2 axes, got shape {counts.shape}")
    # A list has a method of this name.
    given: Any = neighbors
    index = given.index if hasattr(given, "similarity") else given
    index = _checks.real_array_on_host("neighbors", index, rank=2)
    if not jnp.issubdtype(index.dtype, jnp.integer):
        raise TypeError(f"neighbors must be integers, got dtype {index.dtype}")
    if index.shape[0] != query.shape[0] or index.shape[1] == 0:
        raise ValueError(
            f"neighbors must have a row for each of {query.shape[0]} queries and at "
            f"least one column, got shape {index.shape}"
        )
    if not _checks.is_traced(index) and index.size:
        low, high = int(index.min()), int(index.max())
        if low < -1 or high >= len(database):
            raise ValueError(
                f"neighbors must be from -1 to {len(database) - 1}, the database, got "
                f"{low} to {high}"
            )
    return _scores(jnp.asarray(index, jnp.int32), query, database, score)


def counts_of(
    neighbors: Any, query: ArrayLike | Labels, database: ArrayLike | Labels
) -> tuple[ArrayLike, ArrayLike]:
    """The counts of both sides, in the order of the samples of the neighbors.

    ValueError: as `align_labels` and `align_classes`.
    """
    sides: list[Any] = []
    for name, labels in (("query", query), ("database", database)):
        ids = getattr(neighbors, f"{name}_ids", None)
        if isinstance(labels, Labels):
            labels = align_labels(labels, ids, None, f"{name}_counts")
        elif ids is not None:
            warnings.warn(
                f"the neighbors have ids, {name}_counts has none: its rows are taken "
                "as they come",
                stacklevel=3,
            )
        sides.append(labels)
    if all(isinstance(labels, Labels) for labels in sides):
        x, y = sides
        sides = [*align_classes(x, y, ("query_counts", "database_counts"))]
    counts = (s.counts if isinstance(s, Labels) else s for s in sides)
    return next(counts), next(counts)


@partial(jax.jit, static_argnames="score")
def _scores(
    index: Int[Array, "N k"],
    query: Float[Array, "N C"],
    database: Float[Array, "M C"],
    score: Score,
) -> ScoresAtK:
    def of_query(one: tuple[Array, Array]) -> ScoresAtK:
        neighbors, counts = one
        retrieved = neighbors >= 0
        scores = score(counts, database[neighbors])
        so_far = jnp.cumsum(retrieved)
        mean = jnp.cumsum(jnp.where(retrieved, scores, 0)) / jnp.maximum(so_far, 1)
        best = jax.lax.cummax(jnp.where(retrieved, scores, -jnp.inf))
        return ScoresAtK(*(jnp.where(so_far > 0, s, jnp.nan) for s in (mean, best)))

    return jax.lax.map(of_query, (index, query), batch_size=_QUERIES)


def _counts(query: ArrayLike, database: ArrayLike) -> tuple[Array, Array]:
    """Converts counts to floats; raises as `instance_f1` says."""
    arrays = []
    for name, value in (("query_counts", query), ("database_counts", database)):
        value = _checks.real_array(name, _as_numbers(value))
        if value.ndim == 0:
            raise ValueError(f"{name} must have an axis of classes, got a scalar")
        _checks.finite(name, value)
        if not _checks.is_traced(value) and value.size:
            low, high = float(value.min()), float(value.max())
            # Sums over classes are finite in float32 up to there.
            if low < 0 or high > _MOST:
                odd = low if low < 0 else high
                raise ValueError(f"{name} must be from 0 to {_MOST:g}, got {odd:g}")
        arrays.append(value.astype(accumulation_dtype(value.dtype)))
    if arrays[0].shape[-1] != arrays[1].shape[-1]:
        raise ValueError(
            "query_counts and database_counts must be over the same classes, got "
            f"{arrays[0].shape[-1]} and {arrays[1].shape[-1]}"
        )
    return arrays[0], arrays[1]


def _as_numbers(counts: ArrayLike) -> ArrayLike:
    """Booleans as 0 and 1; others as they are."""
    try:
        array = counts if isinstance(counts, jax.Array) else np.asarray(counts)
    except ValueError:  # lists of different lengths, which the caller names
        return counts
    return array.astype(np.int32) if array.dtype == bool else array


def _ratio(part: Array, whole: Array, zero_division: float) -> Float[Array, "*batch"]:
    otherwise = _checks.real_array("zero_division", zero_division, rank=0)
    dtype = jnp.result_type(float) if whole.dtype.kind != "f" else whole.dtype
    return jnp.where(
        whole > 0, part / jnp.maximum(whole, jnp.finfo(dtype).tiny), otherwise
    ).astype(dtype)
