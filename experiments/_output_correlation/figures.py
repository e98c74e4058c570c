"""Figures of the correlations: all of them with their differences, and some pairs."""

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

from experiments._common.intervals import Interval
from experiments._output_correlation.measure import OfNetwork
from semrsm_jax.plotting import plot_correlation
from semrsm_jax.plotting.style import COLORS, FONT_SIZE, MARKERS, new_figure

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure


def draw_correlations(networks: Sequence[OfNetwork], metric: str) -> "Figure":
    """All correlations of every network, and below them what matching adds."""
    from matplotlib import rc_context

    kernels = list(networks[0].correlations)
    height = 2 * (0.75 + 0.24 * len(networks)) + 0.5
    figure = new_figure((2.2 * len(kernels) + 1.2, height))
    with rc_context({"font.size": FONT_SIZE}):
        panels = figure.subplots(2, len(kernels), sharex="row", sharey=True)
        for column, kernel in zip(panels.T, kernels, strict=True):
            found = {each.title: each.correlations[kernel][metric] for each in networks}
            top, bottom = column
            plot_intervals(
                top,
                {
                    "position by position": {
                        title: each.spatio_semantic for title, each in found.items()
                    },
                    "tokens matched": {
                        title: each.semantic for title, each in found.items()
                    },
                    "mean token": {title: each.pooled for title, each in found.items()},
                },
            )
            top.set_title(kernel)
            top.set_xlabel(f"{metric.capitalize()} correlation with JSD")
            plot_intervals(
                bottom,
                {"": {title: each.difference for title, each in found.items()}},
                first=3,
            )
            bottom.set_xlabel("difference by matching, paired")
        panels[0, 0].set_ylabel("similarity")
        panels[1, 0].set_ylabel("matched less\nposition by position")
        handles, labels = panels[0, 0].get_legend_handles_labels()
        figure.legend(
            handles, labels, loc="outside upper center", ncols=3, frameon=False
        )
    return figure


def plot_intervals(
    ax: "Axes", series: Mapping[str, Mapping[str, Interval]], first: int = 0
) -> "Axes":
    """Draws intervals from left to right, a line for each name, from the top.

    Args:
      ax: where to draw.
      series: label -> name of the line -> its interval.
      first: place of the first series among the colours and markers.

    Returns:
      The axes.
    """
    names = list(next(iter(series.values())))
    for place, (label, intervals) in enumerate(series.items()):
        # Beside each other, lest their bars cover each other.
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


def draw_pairs(networks: Sequence[OfNetwork], kernel: str) -> "Figure":
    """Divergence against both similarities of some pairs, a column for each network."""
    from matplotlib import rc_context

    figure = new_figure((1.75 * len(networks) + 0.6, 4.2))
    names = ("position by position", "tokens matched")
    with rc_context({"font.size": FONT_SIZE}):
        panels = figure.subplots(2, len(networks), sharey=True, squeeze=False)
        for column, each in zip(panels.T, networks, strict=True):
            *similarities, divergence = each.pairs[kernel]
            found = each.correlations[kernel]["pearson"]
            values = (found.spatio_semantic.value, found.semantic.value)
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
