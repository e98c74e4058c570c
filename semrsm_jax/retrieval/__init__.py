"""Retrieval of similar images: neighbours, scores, and the classical baselines."""

from semrsm_jax.retrieval.baselines import (
    VLAD,
    AveragePooling,
    ClassToken,
    WhitenedPooling,
)
from semrsm_jax.retrieval.nearest import (
    Neighbors,
    nearest,
    same_group,
    same_sample,
)
from semrsm_jax.retrieval.scores import (
    ScoresAtK,
    class_iou,
    instance_f1,
    scores_at_k,
)
from semrsm_jax.retrieval.search import BoundUse, SearchResult, search

__all__ = [
    "BoundUse",
    "SearchResult",
    "search",
    "VLAD",
    "AveragePooling",
    "ClassToken",
    "Neighbors",
    "ScoresAtK",
    "WhitenedPooling",
    "class_iou",
    "instance_f1",
    "nearest",
    "same_group",
    "same_sample",
    "scores_at_k",
]
