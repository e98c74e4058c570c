"""The demo's figure, as in Fig. 2."""

from typing import TYPE_CHECKING

import numpy as np

from semrsm_jax.demo.measure import windows
from semrsm_jax.demo.translation import StageResult, TranslationResult
from semrsm_jax.plotting.rsm import plot_distributions, plot_rsm
from semrsm_jax.plotting.style import (
    COLORS,
    FONT_SIZE,
    MARKERS,
    AnyFigure,
    new_figure,
    paper_style,
)

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure, SubFigure

_EXAMPLES = 6


def translation_figure(
    result: TranslationResult, figure: AnyFigure | None = None
) -> "AnyFigure | Figure":
    """Draws the demo as in Fig. 2: windows, RSMs and distributions.

    On the left are windows of the first batch, their shared pixels outlined. Then, one
    column a stage, come the RSMs of that batch and the distributions over all batches,
    for the first network (the trained one, if any). All heatmaps share one color scale,
    and the distributions of a stage one axis. With two networks, their AUROCs with
    intervals are below.

    Args:
      result: of `semrsm_jax.demo.run`.
      figure: where to draw, also a part of a figure; None makes a new one that fits.

    Returns:
      The figure.

    Raises:
      ImportError: matplotlib is not installed.
    """
    networks: dict[str, list[StageResult]] = {}
    for stage in result.stages:
        networks.setdefault(stage.weights, []).append(stage)
    weights, stages = next(iter(networks.items()))
    compared = len(networks) > 1
    whole = figure or new_figure((2.5 + 1.9 * len(stages), 6.6 + 2.3 * compared))
    with paper_style():
        upper, below = whole, None
        if compared:
            rows = whole.add_gridspec(2, 1, height_ratios=(6.6, 2.3))
            upper, below = (whole.add_subfigure(row) for row in rows)
        widths = (1.9, 0.6 + 1.9 * len(stages))
        left, right = upper.add_gridspec(1, 2, width_ratios=widths)
        right = upper.add_subfigure(right)
        _draw_windows(upper.add_subfigure(left), result)
        _draw_stages(right, stages, result)
        if below is not None:
            right.suptitle(f"Network with {weights} weights", fontsize=FONT_SIZE + 1)
            _draw_aurocs(below, networks, result)
    return whole


def _draw_windows(panel: "SubFigure", result: TranslationResult) -> None:
    from matplotlib.patches import Rectangle

    config = result.config
    count = min(_EXAMPLES, config.crops_per_batch)
    images = windows(result.crops.images[:count], config.window_size)
    grid = panel.subplots(count, 2, squeeze=False)
    size, shift = config.window_size, config.shift
    for row in range(count):
        # The shared part is at the bottom of the upper window, at the top of the lower.
        for column, top in ((0, shift), (1, 0)):
            ax = grid[row, column]
            ax.imshow(images[row + column * count])
            # Half a line inside: the edge of the axes would cut it.
            corner, extent = (0.5, top + 0.5), (size - 2, size - shift - 2)
            box = Rectangle(corner, *extent, fill=False, ec=COLORS[1], lw=1.8)
            ax.add_patch(box)
            ax.set(xticks=[], yticks=[])
            ax.spines[:].set_visible(False)
    grid[0, 0].set_title("upper window")
    grid[0, 1].set_title("lower window")
    panel.supxlabel("outlined: pixels shared", color=COLORS[1], fontsize=FONT_SIZE)


def _draw_stages(
    panel: "SubFigure", stages: list[StageResult], result: TranslationResult
) -> None:
    count = len(stages)
    grid = panel.subplots(4, count, squeeze=False, height_ratios=(2.1, 2.1, 1, 1))
    pairs = [(stage.spatio_semantic, stage.semantic) for stage in stages]
    rsms = np.stack([scores.rsms for pair in pairs for scores in pair])
    lowest, highest = float(rsms.min()), float(rsms.max())
    darkest = float(rsms[:, 0].min())  # of the batch that is shown
    label = f"{type(result.config.kernel).__name__} similarity"
    for column, (stage, pair) in enumerate(zip(stages, pairs, strict=True)):
        for row, scores in enumerate(pair):
            heatmap, distribution = grid[row, column], grid[row + 2, column]
            plot_rsm(
                scores.rsms[0], heatmap, vmin=darkest, vmax=highest, colorbar=False
            )
            groups = {"unrelated": scores.unrelated, "overlapping": scores.overlapping}
            title = f"AUROC {scores.auroc.value:.3f}"
            plot_distributions(
                groups,
                distribution,
                limits=(lowest, highest),
                title=title,
                legend=False,
            )
            distribution.set(yticks=[], xlabel="", ylabel="")
            _name_blocks(heatmap, len(scores.rsms[0]), row == 1, column == 0)
        grid[0, column].set_title(f"{stage.layer}\nS = {stage.tokens}")
        grid[2, column].set_xticklabels([])
        grid[3, column].set_xlabel(label)
    for row, kind in enumerate(("spatio-semantic", "semantic") * 2):
        grid[row, 0].set_ylabel(kind)
    panel.colorbar(grid[0, 0].images[0], ax=list(grid[:2].flat), label=label, aspect=30)
    handles, names = grid[2, 0].get_legend_handles_labels()
    panel.legend(handles, names, loc="outside lower center", ncols=2, frameon=False)


def _draw_aurocs(
    panel: "SubFigure",
    networks: dict[str, list[StageResult]],
    result: TranslationResult,
) -> None:
    """A plot a network: the AUROC of both RSMs at each stage."""
    grid = panel.subplots(1, len(networks), sharey=True)
    for ax, (weights, stages) in zip(grid, networks.items(), strict=True):
        for kind, name in enumerate(("spatio-semantic", "semantic")):
            kinds = [(stage.spatio_semantic, stage.semantic)[kind] for stage in stages]
            value, low, high = np.array([scores.auroc for scores in kinds]).T
            ax.errorbar(
                np.arange(len(stages)) + 0.06 * (2 * kind - 1),
                value,
                (value - low, high - value),
                color=COLORS[2 + kind],
                marker=MARKERS[kind],
                capsize=3,
                label=name,
            )
        ax.axhline(0.5, color="0.5", linewidth=0.8, linestyle=":")
        ax.set_title(f"{weights} weights")
        ax.set_xticks(
            range(len(stages)), [f"{s.layer}\nS = {s.tokens}" for s in stages]
        )
        ax.spines[["top", "right"]].set_visible(False)
    level = f"{result.config.confidence:.0%}"
    grid[0].set_ylabel(f"AUROC, {level} interval")
    grid[0].annotate(
        "chance", (0, 0.5), (2, 2), textcoords="offset points", color="0.4"
    )
    handles, names = grid[0].get_legend_handles_labels()
    panel.legend(handles, names, loc="outside lower center", ncols=2, frameon=False)


def _name_blocks(ax: "Axes", samples: int, below: bool, beside: bool) -> None:
    """Labels the rows and columns of the upper and lower windows in an RSM."""
    centers, names = [samples / 4 - 0.5, samples * 3 / 4 - 0.5], ["upper", "lower"]
    ax.set(xticks=centers, yticks=centers, xlabel="", ylabel="")
    ax.set_xticklabels(names if below else [])
    ax.set_yticklabels(names if beside else [], rotation=90, va="center")
    ax.tick_params(length=0)
