"""Semantic representational similarity matrices in JAX."""

from semrsm_jax.affinity import affinity
from semrsm_jax.comparison import cka, cka_matrix, hsic, hsic_matrix, rsa
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
    "TopKGreedy",
    "affinity",
    "center",
    "cka",
    "cka_matrix",
    "hsic",
    "hsic_matrix",
    "invariance_ladder",
    "linear_assignment",
    "match",
    "pair_statistics",
    "rsa",
    "rsm",
    "to_tokens",
]
