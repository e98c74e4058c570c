"""Semantic representational similarity matrices in JAX."""

from semrsm_jax.affinity import affinity
from semrsm_jax.comparison import cka, hsic
from semrsm_jax.kernels import RBF, Cosine, Kernel, Linear
from semrsm_jax.ladder import Ladder, invariance_ladder
from semrsm_jax.losses import (
    rsm_alignment_loss,
    semantic_cka_loss,
    semantic_triplet_loss,
)
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
    Sinkhorn,
    SoftMatching,
    TopKGreedy,
    linear_assignment,
    match,
    round_plan,
)
from semrsm_jax.pair_statistics import PairStatistics, pair_statistics
from semrsm_jax.representations import center, to_tokens
from semrsm_jax.rsm import rsm

__all__ = [
    "RBF",
    "Assignment",
    "BatchOptimal",
    "CircularShift",
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
    "PairStatistics",
    "Sinkhorn",
    "SoftMatching",
    "TopKGreedy",
    "affinity",
    "center",
    "cka",
    "hsic",
    "invariance_ladder",
    "linear_assignment",
    "match",
    "pair_statistics",
    "round_plan",
    "rsm",
    "rsm_alignment_loss",
    "semantic_cka_loss",
    "semantic_triplet_loss",
    "to_tokens",
]
