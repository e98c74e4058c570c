"""The figures of the benchmark: time against quality, and quality by depth."""

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from experiments.frame.figures import draw_intervals, draw_legend, styled_figure
from experiments.frame.finding import grouped
from experiments.runtime.depth import UNMATCHED
from experiments.runtime.sections import Results
from experiments.runtime.table5 import GROUPS
from semrsm_jax.plotting import plot_pareto, plot_rsm

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

_PANELS = 3  # of the first figure: the largest sizes, where matchers differ


def draw_pareto(results: Results) -> "Figure | None":
    """Time against quality, Table 5: the largest sizes, of trained features if any.

    Solvers are given the time of the affinity on top of their own, as the matchers'
    times include it.
    """
    if "table5" not in results:
        return None
    sizes = results["table5"]["sizes"]
    shown = [s for s in sizes if s["network"] == sizes[0]["network"]][-_PANELS:]
    least = min(row["quality"] for size in shown for row in size["matchers"])
    with styled_figure((1.0 + 3.0 * len(shown), 3.8)) as figure:
        panels = figure.subplots(1, len(shown), squeeze=False)[0]
        for ax, size in zip(panels, shown, strict=True):
            title = f"{size['network']}\nS = {size['tokens']}, C = {size['channels']}"
            groups = _groups(size)
            lowest = 1 - 1.3 * (1 - least)
            plot_pareto(groups, ax, lowest=lowest, title=title, legend=False)
            ax.label_outer()
        draw_legend(figure, panels[-1], place="lower", ncols=6)
    return figure


def _groups(size: dict[str, Any]) -> dict[str, dict[str, tuple[float, float]]]:
    """Time and quality of the methods of a size, by group."""
    groups: dict[str, dict[str, tuple[float, float]]] = {name: {} for name in GROUPS}
    for row in size["matchers"]:
        point = (row["seconds"], row["quality"])
        groups[row["group"]][row["label"]] = point
    groups["exact, other solvers"] = {
        name: (seconds + size["affinity_seconds"], 1.0)
        for name, seconds in size["solver_seconds"].items()
        if not name.startswith("ours")
    }
    return groups


def draw_quality(results: Results) -> "Figure | None":
    """Share of the optimum of each matcher by depth, a panel a network, as Fig. 5."""
    if "depth" not in results:
        return None
    networks = grouped(results["depth"]["layers"], lambda layer: layer["network"])
    with styled_figure((0.6 + 3.2 * len(networks), 3.2)) as figure:
        panels = figure.subplots(1, len(networks), squeeze=False, sharey=True)[0]
        for ax, (network, layers) in zip(panels, networks.items(), strict=True):
            _draw_shares(ax, layers)
            ax.set_title(network)
        panels[0].set_ylabel("k / k_opt [%]")
        draw_legend(figure, *panels, place="lower", ncols=1 + len(networks))
    return figure


def _draw_shares(ax: "Axes", layers: Sequence[dict[str, Any]]) -> None:
    names = list(dict.fromkeys(name for layer in layers for name in layer["matchers"]))
    depth = np.arange(len(layers))
    for k, name in enumerate(names):
        # A window of all tokens is the optimum.
        shares = [layer["matchers"].get(name) for layer in layers]
        ends = [
            (100 * s["mean"], 100 * s["low"], 100 * s["high"])
            if s
            else (100.0, 100.0, 100.0)
            for s in shares
        ]
        # Beside each other, so that their bars do not cover each other.
        draw_intervals(ax, depth + (k - (len(names) - 1) / 2) * 0.1, ends, k, name)
    labels = [f"stage {layer['stage']}\nS={layer['tokens']}" for layer in layers]
    ax.set_xticks(depth, labels)


def draw_isotropy(results: Results) -> "Figure | None":
    """Share of the optimum of each pair without matching, by depth, as Fig. 6."""
    if "depth" not in results:
        return None
    networks = grouped(results["depth"]["layers"], lambda layer: layer["network"])
    columns = max(map(len, networks.values()))
    shares = [np.array(layer["relative"]) for layer in results["depth"]["layers"]]
    lowest = min(share.min() for share in shares)
    size = 1.0 + 1.7 * columns, 0.3 + 2.0 * len(networks)
    with styled_figure(size, boxes=True) as figure:
        grid = figure.subplots(len(networks), columns, squeeze=False)
        for row, (network, layers) in zip(grid, networks.items(), strict=True):
            for ax, layer in zip(row, layers, strict=False):
                plot_rsm(
                    100 * np.array(layer["relative"]),
                    ax,
                    vmin=100 * lowest,
                    vmax=100,
                    title=f"stage {layer['stage']}, S = {layer['tokens']}",
                    colorbar=False,
                )
                ax.set(xlabel="image" if row is grid[-1] else "", ylabel="")
            row[0].set_ylabel(f"{network}\nimage")
            for ax in row[len(layers) :]:
                ax.set_visible(False)
        figure.colorbar(
            grid[0, 0].images[0],
            ax=list(grid.flat),
            label=f"k / k_opt [%], {UNMATCHED}",
            aspect=30,
        )
    return figure
