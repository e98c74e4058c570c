"""The figures: each network in the manner of Fig. 2, and all of them by depth."""

from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np

from experiments.frame.figures import (
    draw_intervals,
    draw_legend,
    draw_line,
    styled_figure,
)
from experiments.translation.measure import Measured
from semrsm_jax.plotting import translation_figure
from semrsm_jax.plotting.style import FONT_SIZE

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure


def draw_network(measured: Measured) -> "Figure":
    """Windows, RSMs and distributions of one network, as Fig. 2 and 7 show them."""
    figure = translation_figure(measured.result)
    figure.suptitle(measured.network.title, fontsize=FONT_SIZE + 2)
    return figure


def draw_depth(networks: Sequence[Measured]) -> "Figure":
    """AUROC of both kinds of RSM against depth, a panel a network."""
    # A layer takes as much room in each panel, for its name.
    widths = [0.4 + 0.62 * len(each.result.stages) for each in networks]
    with styled_figure((sum(widths) + 0.3, 2.8)) as figure:
        ((*panels,),) = figure.subplots(
            1, len(networks), sharey=True, squeeze=False, width_ratios=widths
        )
        for ax, each in zip(panels, networks, strict=True):
            _draw_scores(ax, each)
        panels[0].set_ylabel("AUROC: shifted pairs against others")
        draw_legend(figure, panels[0], place="lower")
    return figure


def _draw_scores(ax: "Axes", measured: Measured) -> None:
    stages = measured.result.stages
    depth = np.arange(len(stages))
    for k, label in enumerate(("spatio-semantic RSM", "semantic RSM")):
        aurocs = [(s.spatio_semantic, s.semantic)[k].auroc for s in stages]
        # Beside each other, so that their bars do not cover each other.
        draw_intervals(ax, depth + (k - 0.5) * 0.12, aurocs, k, label)
    draw_line(ax, 0.5, label="chance")
    labels = [f"{stage.layer}\nS={stage.tokens}" for stage in stages]
    ax.set_xticks(depth, labels, rotation=60 if len(labels) > 5 else 0)
    ax.set_title(measured.network.title)
