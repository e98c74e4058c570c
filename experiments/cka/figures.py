"""Figures 15, 16 and 17: CKA between layers, by both kinds of RSMs."""

from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np

from experiments.cka.compare import BOTH, DIFFERENCE, Comparison
from experiments.cka.measure import SEMANTIC, SPATIO
from experiments.frame.figures import draw_intervals, styled_figure
from semrsm_jax.plotting import plot_comparison, plot_comparison_difference

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

ESTIMATOR = "unbiased"
_PANEL = 2.15  # inches
_MOST_NAMED = 10  # layers that have their name beside the matrix


def draw_kinds(comparisons: Sequence[Comparison]) -> "Figure":
    """Semantic against spatio-semantic RSMs: matrices, and the same layer by depth.

    Args:
      comparisons: of `KINDS`, all kernels; a row of panels is an architecture.
    """
    kernels = list(dict.fromkeys(each.kernel for each in comparisons))
    titles = list(dict.fromkeys(map(_title, comparisons)))
    size = (len(kernels) + 1.25) * _PANEL, len(titles) * _PANEL + 0.3
    with styled_figure(size, boxes=True) as figure:
        panels = figure.subplots(len(titles), len(kernels) + 1, squeeze=False)
        for row, title in zip(panels, titles, strict=True):
            of_title = [each for each in comparisons if _title(each) == title]
            for ax, each in zip(row[:-1], of_title, strict=True):
                last = each.kernel == kernels[-1]
                _matrix(ax, each, BOTH, last, f"{title}\n{each.kernel}")
                ax.set_xlabel(f"{SPATIO}, layer")
            row[0].set_ylabel(f"{SEMANTIC}, layer")
            _depth(row[-1], of_title)
    return figure


def _depth(ax: "Axes", comparisons: Sequence[Comparison]) -> None:
    """CKA of both kinds of RSMs of a layer against depth, a line for each network."""
    for number, each in enumerate(comparisons):
        for line, intervals in enumerate(each.intervals.values()):
            beside = 0.12 * (number - (len(comparisons) - 1) / 2)
            label = "_nolegend_" if line else each.kernel
            depth = np.arange(len(intervals)) + beside
            draw_intervals(ax, depth, list(intervals.values()), number, label)
    names, places = short_names(comparisons[0].rows), _named(len(comparisons[0].rows))
    ax.set_xticks(places, [names[place] for place in places])
    ax.set_ylim(min(0, ax.get_ylim()[0]), 1.04)
    ax.set(xlabel="layer", ylabel="CKA of both kinds", title="the same layer")
    ax.spines[["top", "right"]].set_visible(False)
    ax.legend(loc="lower right")


def draw_layers(comparisons: Sequence[Comparison]) -> "Figure":
    """CKA between layers by either kind of RSMs, and the difference, a row each.

    Args:
      comparisons: of `WITHIN` or of `ACROSS`.
    """
    differences = [each.cka[DIFFERENCE][ESTIMATOR] for each in comparisons]
    limit = max(float(np.nanmax(np.abs(values))) for values in differences)
    size = 3.6 * _PANEL, len(comparisons) * _PANEL + 0.3
    with styled_figure(size, boxes=True) as figure:
        panels = figure.subplots(len(comparisons), 3, squeeze=False)
        for (left, middle, right), each in zip(panels, comparisons, strict=True):
            _matrix(left, each, SPATIO)
            _matrix(middle, each, SEMANTIC, colorbar=True)
            plot_comparison_difference(
                each.cka[SEMANTIC][ESTIMATOR],
                each.cka[SPATIO][ESTIMATOR],
                short_names(each.rows),
                right,
                other_names=short_names(each.columns),
                limit=limit,
                numbers=False,
                title=f"{SEMANTIC} less {SPATIO}",
            )
            _thin(right, each)
            one, other = each.titles
            left.set_ylabel(f"{each.part}: {one},\nlayer")
            for ax in (left, middle, right):
                ax.set_xlabel(f"{other}, layer")
    return figure


def short_names(layers: Sequence[str]) -> list[str]:
    """What ticks call the layers: stage and block, or the block, counted from 1."""
    names = []
    for layer in layers:
        *_, last = parts = layer.split(".")
        numbers = [str(int(part) + 1) for part in parts if part.isdigit()]
        last = {"embedder": "stem", "layernorm": "norm"}.get(last, last)
        names.append(".".join(numbers) or last)
    return names


def _matrix(
    ax: "Axes", each: Comparison, kind: str, colorbar: bool = False, title: str = ""
) -> None:
    plot_comparison(
        each.cka[kind][ESTIMATOR],
        short_names(each.rows),
        ax,
        other_names=short_names(each.columns),
        numbers=False,
        colorbar=colorbar,
        title=title or kind,
    )
    _thin(ax, each)


def _thin(ax: "Axes", each: Comparison) -> None:
    """Names no more layers than have room."""
    for axis, layers in ((ax.xaxis, each.columns), (ax.yaxis, each.rows)):
        places = _named(len(layers))
        names = short_names(layers)
        axis.set_ticks(places, [names[place] for place in places])


def _named(layers: int) -> list[int]:
    """The layers, by place, that are named."""
    return list(range(0, layers, -(-layers // _MOST_NAMED)))


def _title(each: Comparison) -> str:
    """Of one architecture."""
    return f"{each.part}: {each.titles[0]}"
