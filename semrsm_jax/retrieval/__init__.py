"""Retrieval of similar images: neighbours, scores, and the classical baselines."""

from semrsm_jax.retrieval._nearest import (
    Neighbors,
    nearest,
    same_group,
    same_sample,
)
from semrsm_jax.retrieval._search import BoundUse, SearchResult, search
from semrsm_jax.retrieval.baselines import (
    VLAD,
    AveragePooling,
    ClassToken,
    WhitenedPooling,
)
from semrsm_jax.retrieval.scores import (
    ScoresAtK,
    class_iou,
    instance_f1,
    scores_at_k,
)

__all__ = [
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
