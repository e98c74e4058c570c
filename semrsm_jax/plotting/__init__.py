"""Figures for papers; each function takes and returns matplotlib's Axes."""

from semrsm_jax.plotting.correspondences import plot_correspondences, plot_displacement
from semrsm_jax.plotting.pareto import plot_pareto
from semrsm_jax.plotting.rsm import plot_distributions, plot_rsm
from semrsm_jax.plotting.translation import translation_figure

__all__ = [
    "plot_correspondences",
    "plot_displacement",
    "plot_distributions",
    "plot_pareto",
    "plot_rsm",
    "translation_figure",
]
