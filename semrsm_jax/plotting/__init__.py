"""Figures for papers; each function takes and returns matplotlib's Axes."""

from semrsm_jax.plotting.comparison import (
    plot_comparison,
    plot_comparison_difference,
)
from semrsm_jax.plotting.correlation import plot_correlation
from semrsm_jax.plotting.correspondences import plot_correspondences, plot_displacement
from semrsm_jax.plotting.pareto import plot_pareto
from semrsm_jax.plotting.retrieval import (
    Retrieved,
    ScoreCurve,
    plot_scores_at_k,
    retrieval_gallery,
)
from semrsm_jax.plotting.rsm import plot_distributions, plot_rsm
from semrsm_jax.plotting.translation import translation_figure

__all__ = [
    "Retrieved",
    "ScoreCurve",
    "plot_comparison",
    "plot_comparison_difference",
    "plot_correlation",
    "plot_correspondences",
    "plot_displacement",
    "plot_distributions",
    "plot_pareto",
    "plot_rsm",
    "plot_scores_at_k",
    "retrieval_gallery",
    "translation_figure",
]
