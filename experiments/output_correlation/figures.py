"""Figures of the correlations: all of them with their differences, and some pairs."""

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

import numpy as np

from experiments.frame.figures import (
    draw_intervals,
    draw_legend,
    draw_line,
    styled_figure,
)
from experiments.frame.finding import Number
from experiments.output_correlation.measure import Result
from semrsm_jax.plotting import plot_correlation

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

# What is drawn -> the field of `Correlations`.
_LINES = {
    "position by position": "spatio_semantic",
    "tokens matched": "semantic",
    "mean token": "pooled",
}


def draw_correlations(result: Result, metric: str) -> "Figure":
    """All correlations of every network, and below them what matching adds."""
    networks = list(result.networks.values())
    names = [each.title for each in networks]
    kernels = list(networks[0].correlations)
    height = 2 * (0.75 + 0.24 * len(networks)) + 0.5
    with styled_figure((2.2 * len(kernels) + 1.2, height)) as figure:
        panels = figure.subplots(2, len(kernels), sharex="row", sharey=True)
        for (top, bottom), kernel in zip(panels.T, kernels, strict=True):
            numbers = [each.correlations[kernel][metric] for each in networks]
            lines = {
                name: [getattr(each, field) for each in numbers]
                for name, field in _LINES.items()
            }
            plot_intervals(top, names, lines)
            top.set_title(kernel)
            top.set_xlabel(f"{metric.capitalize()} correlation with JSD")
            differences = [each.difference for each in numbers]
            plot_intervals(bottom, names, {"": differences}, first=len(lines))
            bottom.set_xlabel("difference by matching, paired")
        panels[0, 0].set_ylabel("similarity")
        panels[1, 0].set_ylabel("matched less\nposition by position")
        draw_legend(figure, panels[0, 0])
    return figure


def plot_intervals(
    ax: "Axes",
    names: Sequence[str],
    series: Mapping[str, Sequence[Number]],
    first: int = 0,
) -> None:
    """Draws the intervals of each series from left to right, a line a name, from above.

    The colors and markers are those from the place `first` on.
    """
    for place, (label, intervals) in enumerate(series.items()):
        # Beside each other, so that their bars do not cover each other.
        lines = np.arange(len(names)) + 0.22 * (place - (len(series) - 1) / 2)
        draw_intervals(ax, lines, intervals, first + place, label, "", along="y")
    draw_line(ax, 0, vertical=True)
    ax.set_yticks(range(len(names)), names)
    ax.set_ylim(len(names) - 0.5, -0.5)


def draw_pairs(result: Result, kernel: str) -> "Figure":
    """Divergence against both similarities of some pairs, a column for each network."""
    networks = list(result.networks.values())
    names = ("position by position", "tokens matched")
    with styled_figure((1.75 * len(networks) + 0.6, 4.2)) as figure:
        panels = figure.subplots(2, len(networks), sharey=True, squeeze=False)
        for column, each in zip(panels.T, networks, strict=True):
            *similarities, divergence = each.pairs[kernel]
            of_kernel = each.correlations[kernel]["pearson"]
            values = (of_kernel.spatio_semantic.value, of_kernel.semantic.value)
            for ax, similarity, value in zip(column, similarities, values, strict=True):
                plot_correlation(
                    similarity,
                    divergence,
                    ax,
                    title=f"{each.title}\nPearson {value:.2f}",
                    xlabel=f"{kernel} similarity",
                    ylabel="",
                    colorbar=False,
                )
                ax.get_legend().remove()
        for ax, name in zip(panels[:, 0], names, strict=True):
            ax.set_ylabel(f"{name}\nJSD of the outputs [nats]")
    return figure
