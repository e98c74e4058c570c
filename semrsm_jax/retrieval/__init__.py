"""Retrieval of similar images: neighbors, scores, and the classical baselines."""

from semrsm_jax.retrieval._nearest import Neighbors, nearest, same_group, same_sample
from semrsm_jax.retrieval._search import BoundUse, SearchResult, search
from semrsm_jax.retrieval.baselines import (
    VLAD,
    AveragePooling,
    ClassToken,
    WhitenedPooling,
)
from semrsm_jax.retrieval.evaluation import (
    MeanScore,
    RetrievalScores,
    evaluate_retrieval,
)
from semrsm_jax.retrieval.neighbor_file import (
    NeighborFile,
    holds_neighbors,
    load_neighbors,
    save_neighbors,
)
from semrsm_jax.retrieval.scores import ScoresAtK, class_iou, instance_f1, scores_at_k

__all__ = [
    "MeanScore",
    "RetrievalScores",
    "evaluate_retrieval",
    "NeighborFile",
    "holds_neighbors",
    "load_neighbors",
    "save_neighbors",
    "VLAD",
    "AveragePooling",
    "BoundUse",
    "ClassToken",
    "Neighbors",
    "ScoresAtK",
    "SearchResult",
    "WhitenedPooling",
    "class_iou",
    "instance_f1",
    "nearest",
    "same_group",
    "same_sample",
    "scores_at_k",
    "search",
]
