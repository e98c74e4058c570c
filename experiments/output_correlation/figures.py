"""Figures of the correlations: all of them with their differences, and some pairs."""

from collections.abc import Mapping
from typing import TYPE_CHECKING

from experiments.frame.finding import Number
from experiments.output_correlation.measure import Result
from semrsm_jax.plotting import plot_correlation
from semrsm_jax.plotting.style import COLORS, FONT_SIZE, MARKERS, new_figure

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

# What is drawn -> the field of `Correlations`.
_LINES = {
    "position by position": "spatio_semantic",
    "tokens matched": "semantic",
    "mean token": "pooled",
    "": "difference",
}


def draw_correlations(result: Result, metric: str) -> "Figure":
    """All correlations of every network, and below them what matching adds."""
    from matplotlib import rc_context

    networks = list(result.networks.values())
    kernels = list(networks[0].correlations)
    height = 2 * (0.75 + 0.24 * len(networks)) + 0.5
    figure = new_figure((2.2 * len(kernels) + 1.2, height))
    with rc_context({"font.size": FONT_SIZE}):
        panels = figure.subplots(2, len(kernels), sharex="row", sharey=True)
        for column, kernel in zip(panels.T, kernels, strict=True):
            top, bottom = column
            lines = {
                name: {
                    each.title: getattr(each.correlations[kernel][metric], field)
                    for each in networks
                }
                for name, field in _LINES.items()
            }
            difference = lines.pop("")
            plot_intervals(top, lines)
            top.set_title(kernel)
            top.set_xlabel(f"{metric.capitalize()} correlation with JSD")
            plot_intervals(bottom, {"": difference}, first=3)
            bottom.set_xlabel("difference by matching, paired")
        panels[0, 0].set_ylabel("similarity")
        panels[1, 0].set_ylabel("matched less\nposition by position")
        handles, labels = panels[0, 0].get_legend_handles_labels()
        figure.legend(
            handles, labels, loc="outside upper center", ncols=3, frameon=False
        )
    return figure


def plot_intervals(
    ax: "Axes", series: Mapping[str, Mapping[str, Number]], first: int = 0
) -> "Axes":
    """Draws intervals from left to right, a line for each name, from the top.

    Args:
      ax: where to draw.
      series: label -> name of the line -> its interval.
      first: place of the first series among the colors and markers.

    Returns:
      The axes.
    """
    names = list(next(iter(series.values())))
    for place, (label, intervals) in enumerate(series.items()):
        # Beside each other, so that their bars do not cover each other.
        offset = 0.22 * (place - (len(series) - 1) / 2)
        for line, name in enumerate(names):
            value, low, high = intervals[name]
            ax.errorbar(
                value,
                line + offset,
                xerr=([value - low], [high - value]),
                color=COLORS[first + place],
                marker=MARKERS[first + place],
                markersize=4,
                linewidth=1.2,
                capsize=2,
                label=label if line == 0 else None,
            )
    ax.axvline(0, color="0.5", linewidth=0.8, linestyle=":")
    ax.set_yticks(range(len(names)), names)
    ax.set_ylim(len(names) - 0.5, -0.5)
    ax.spines[["top", "right"]].set_visible(False)
    return ax


def draw_pairs(result: Result, kernel: str) -> "Figure":
    """Divergence against both similarities of some pairs, a column for each network."""
    from matplotlib import rc_context

    networks = list(result.networks.values())
    figure = new_figure((1.75 * len(networks) + 0.6, 4.2))
    names = ("position by position", "tokens matched")
    with rc_context({"font.size": FONT_SIZE}):
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
