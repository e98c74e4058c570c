"""Retrieval by several definitions of similarity, scored and compared: section 4.2."""

import warnings
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np
from jax.typing import ArrayLike
from jaxtyping import Float

from semrsm_jax.comparison.grouping import LEAST_SIGNS
from semrsm_jax.comparison.inference import PairedTest, paired_test, score_interval
from semrsm_jax.retrieval._nearest import Neighbors
from semrsm_jax.retrieval._search import SearchResult
from semrsm_jax.retrieval.scores import Score, ScoresAtK, instance_f1, scores_at_k
from semrsm_jax.store import Labels


class MeanScore(NamedTuple):
    """The mean over queries of a score at 1, 2, ..., k neighbors, Section 4.2.

    Attributes:
      value: (k,).
      low: (k,), lower ends of the intervals; None where none were asked for.
      high: (k,), upper ends.
      less_first: the paired test against the first definition, its arrays (k,); None
        for the first one, where none were asked for, and of fewer than 6 queries or
        groups, which cannot be tested.
    """

    value: Float[np.ndarray, " k"]
    low: Float[np.ndarray, " k"] | None = None
    high: Float[np.ndarray, " k"] | None = None
    less_first: PairedTest | None = None


class RetrievalScores(NamedTuple):
    """How well one definition of similarity retrieves, Section 4.2.

    Attributes:
      mean: of the mean over the first 1, ..., k neighbors of each query.
      best: of the largest among them.
      queries: how many have a neighbor, and so a score.
      of_queries: the scores of each query, (N, k); NaN where a query has no neighbor.
    """

    mean: MeanScore
    best: MeanScore
    queries: int
    of_queries: ScoresAtK


def evaluate_retrieval(
    neighbors: "Mapping[str, Neighbors | SearchResult]",
    query_counts: ArrayLike | Labels,
    database_counts: ArrayLike | Labels,
    score: Score = instance_f1,
    *,
    groups: Sequence[Any] | None = None,
    resamples: int | None = None,
    confidence: float = 0.95,
    key: int = 0,
) -> dict[str, RetrievalScores]:
    """Scores what several definitions of similarity retrieve, as Section 4.2 does.

    Args:
      neighbors: by the name of each definition, what `nearest` or `search` returned for
        the same queries and database.
      query_counts: (N, C), see `instance_f1`, or `Labels`, see `scores_at_k`.
      database_counts: (M, C), of the same classes, or `Labels`.
      score: `instance_f1` or `class_iou`.
      groups: (N,), text or numbers, equal for queries that depend on each other, such
        as frames of one video: these are resampled together. None: all are independent.
      resamples: of queries, for intervals and for the paired tests against the first
        definition. None: neither.
      confidence: of the intervals, in (0, 1).
      key: the seed of all that is drawn.

    Returns:
      By name, the `RetrievalScores`. Queries without neighbors are left out.

    Raises:
      TypeError: as `scores_at_k`.
      ValueError: as `scores_at_k` and `paired_test`, or no query has a neighbor.

    Examples:
      >>> import numpy as np
      >>> from semrsm_jax import nearest
      >>> from semrsm_jax.retrieval import evaluate_retrieval
      >>> counts = np.array([[1, 0], [1, 0], [0, 1], [0, 1]])
      >>> neighbors = {"a": nearest(counts @ counts.T, 1, np.eye(4, dtype=bool))}
      >>> evaluate_retrieval(neighbors, counts, counts)["a"].mean.value
      array([1.], dtype=float32)
    """
    units = None if groups is None else np.asarray(groups)
    settings = {"key": key, "confidence": confidence, "resamples": resamples}
    results: dict[str, RetrievalScores] = {}
    for name, each in neighbors.items():
        scores = scores_at_k(each, query_counts, database_counts, score)
        arrays: list[Any] = [np.asarray(values) for values in scores]
        of_queries = ScoresAtK(*arrays)
        scored = np.isfinite(of_queries.mean).all(axis=1)
        if not scored.any():
            raise ValueError("no query has a neighbor: all are excluded")
        first = next(iter(results.values())).of_queries if results else None
        mean, best = (
            _mean(values, None if first is None else first[place], units, settings)
            for place, values in enumerate(arrays)
        )
        results[name] = RetrievalScores(mean, best, int(scored.sum()), of_queries)
    return results


def _mean(
    values: np.ndarray, first: Any, groups: Any, settings: dict[str, Any]
) -> MeanScore:
    """The mean over the queries that have a score, compared with the first if any."""
    scored = np.isfinite(values).all(axis=1)
    mean = values[scored].mean(axis=0)
    if not settings["resamples"]:
        return MeanScore(mean)
    own = None if groups is None else groups[scored]
    interval = score_interval(values[scored], groups=own, **settings)
    test = None
    both = scored if first is None else scored & np.isfinite(first).all(axis=1)
    own = None if groups is None else groups[both]
    units = both.sum() if own is None else len(np.unique(own))
    if first is not None and units < LEAST_SIGNS:
        warnings.warn(
            f"{units} queries or groups of them are too few to test a difference: "
            f"{LEAST_SIGNS} are the least that can give p below 0.05",
            stacklevel=3,
        )
    elif first is not None:
        test = paired_test(values[both], first[both], groups=own, **settings)
    return MeanScore(mean, np.asarray(interval.low), np.asarray(interval.high), test)
