"""Similarity of a classifier's outputs, and its correlation with RSMs, section 4.3."""

from semrsm_jax.output_similarity.correlation import kendall, pearson, spearman
from semrsm_jax.output_similarity.divergence import (
    jensen_shannon_divergence,
    jensen_shannon_matrix,
)
from semrsm_jax.output_similarity.inference import (
    CorrelationInference,
    infer_output_correlation,
)
from semrsm_jax.output_similarity.over_pairs import (
    OutputCorrelation,
    output_correlation,
)

__all__ = [
    "CorrelationInference",
    "OutputCorrelation",
    "infer_output_correlation",
    "jensen_shannon_divergence",
    "jensen_shannon_matrix",
    "kendall",
    "output_correlation",
    "pearson",
    "spearman",
]
