"""Figures for papers, in one style, drawn by matplotlib.

A function takes the `Axes` to draw on as its last positional argument, `ax`, and
returns them; without one it makes a figure of its own, which is ``plot_rsm(K).figure``
and belongs to no window. `plot_rsm_pair` takes and returns two axes; galleries, which
have as many as there are images, take and return a figure or a part of one.

All draw in the style of `paper_style`, whatever matplotlib's settings are, and change
none of them. `figure_size` says how large a figure of one or two columns is:

    with paper_style():
        figure, axes = plt.subplots(1, 2, figsize=figure_size(2, 0.45))
    plot_rsm_pair(spatial, semantic, axes)
    figure.savefig("rsms.pdf")
"""

from semrsm_jax.plotting.comparison import plot_comparison, plot_comparison_difference
from semrsm_jax.plotting.correlation import plot_correlation, plot_output_correlation
from semrsm_jax.plotting.correspondences import (
    plot_correspondences,
    plot_displacement,
    token_centers,
)
from semrsm_jax.plotting.ladder import plot_ladder
from semrsm_jax.plotting.pareto import plot_pareto
from semrsm_jax.plotting.retrieval import (
    Retrieved,
    ScoreCurve,
    neighbor_gallery,
    plot_retrieval_scores,
    plot_scores_at_k,
    retrieval_gallery,
)
from semrsm_jax.plotting.rsm import plot_distributions, plot_rsm, plot_rsm_pair
from semrsm_jax.plotting.style import figure_size, paper_style
from semrsm_jax.plotting.translation import translation_figure

__all__ = [
    "Retrieved",
    "ScoreCurve",
    "figure_size",
    "neighbor_gallery",
    "paper_style",
    "plot_comparison",
    "plot_comparison_difference",
    "plot_correlation",
    "plot_correspondences",
    "plot_displacement",
    "plot_distributions",
    "plot_ladder",
    "plot_output_correlation",
    "plot_pareto",
    "plot_retrieval_scores",
    "plot_rsm",
    "plot_rsm_pair",
    "plot_scores_at_k",
    "retrieval_gallery",
    "token_centers",
    "translation_figure",
]
