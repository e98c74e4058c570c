"""Semantic representational similarity matrices in JAX."""

from semrsm_jax.affinity import affinity
from semrsm_jax.comparison import cka, hsic
from semrsm_jax.kernels import RBF, Cosine, Kernel, Linear
from semrsm_jax.ladder import Ladder, invariance_ladder
from semrsm_jax.matching import (
    Assignment,
    BatchOptimal,
    CircularShift,
    DualBound,
    Exact,
    Greedy,
    Identity,
    Matcher,
    Matching,
    TopKGreedy,
    linear_assignment,
    match,
)
from semrsm_jax.output_similarity import (
    OutputCorrelation,
    jensen_shannon_divergence,
    jensen_shannon_matrix,
    output_correlation,
    pearson,
    spearman,
)
from semrsm_jax.pair_statistics import PairStatistics, pair_statistics
from semrsm_jax.representations import center, to_tokens
from semrsm_jax.retrieval import (
    VLAD,
    AveragePooling,
    ClassToken,
    Neighbors,
    ScoresAtK,
    WhitenedPooling,
    class_iou,
    instance_f1,
    nearest,
    same_group,
    same_sample,
    scores_at_k,
)
from semrsm_jax.rsm import rsm

__all__ = [
    "RBF",
    "VLAD",
    "Assignment",
    "AveragePooling",
    "BatchOptimal",
    "CircularShift",
    "ClassToken",
    "Cosine",
    "DualBound",
    "Exact",
    "Greedy",
    "Identity",
    "Kernel",
    "Ladder",
    "Linear",
    "Matcher",
    "Matching",
    "Neighbors",
    "OutputCorrelation",
    "PairStatistics",
    "ScoresAtK",
    "TopKGreedy",
    "WhitenedPooling",
    "affinity",
    "center",
    "cka",
    "class_iou",
    "hsic",
    "instance_f1",
    "invariance_ladder",
    "jensen_shannon_divergence",
    "jensen_shannon_matrix",
    "linear_assignment",
    "match",
    "nearest",
    "output_correlation",
    "pair_statistics",
    "pearson",
    "rsm",
    "same_group",
    "same_sample",
    "scores_at_k",
    "spearman",
    "to_tokens",
]
