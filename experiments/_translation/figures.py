"""The figures: each network in the manner of Fig. 2, and all of them by depth."""

from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np
from jaxtyping import Float

from experiments._common.figures import draw_intervals
from experiments._translation.config import TranslationConfig
from experiments._translation.measure import Tried
from semrsm_jax.demo.photographs import Crops
from semrsm_jax.demo.separation import Estimate
from semrsm_jax.demo.translation import Stage, TranslationResult
from semrsm_jax.demo.translation import TranslationConfig as DemoConfig
from semrsm_jax.plotting import translation_figure
from semrsm_jax.plotting.style import FONT_SIZE, new_figure

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure


def as_demo(
    config: TranslationConfig, images: Float[np.ndarray, "n size size 3"], tried: Tried
) -> TranslationResult:
    """One network's result as the demo has it, which knows how to draw and list it."""
    case = tried.case
    described = DemoConfig(
        crops=config.batches * config.crops,
        crops_per_batch=config.crops,
        seed=config.seed,
        crop_size=case.crop,
        window_size=case.window,
        stages=tuple(Stage(stage.layer, stage.matcher) for stage in tried.layers),
        kernel=config.kernel,
        replicates=config.replicates,
        confidence=config.confidence,
    )
    crops = Crops(images, (), (), np.zeros((0, 3), int))
    return TranslationResult(described, crops, tried.layers)


def draw_network(
    config: TranslationConfig, images: Float[np.ndarray, "n size size 3"], tried: Tried
) -> "Figure":
    """Windows, RSMs and distributions of one network, as Fig. 2 and 7 show them."""
    figure = translation_figure(as_demo(config, images, tried))
    figure.suptitle(tried.network.title, fontsize=FONT_SIZE + 2)
    return figure


def draw_depth(tried: Sequence[Tried]) -> "Figure":
    """AUROC of both kinds of RSM against depth, a panel a network."""
    from matplotlib import rc_context

    # A layer takes as much room in each panel, for its name.
    widths = [0.4 + 0.62 * len(one.layers) for one in tried]
    figure = new_figure((sum(widths) + 0.3, 2.8))
    with rc_context({"font.size": FONT_SIZE, "axes.titlesize": FONT_SIZE}):
        ((*panels,),) = figure.subplots(
            1, len(tried), sharey=True, squeeze=False, width_ratios=widths
        )
        for ax, one in zip(panels, tried, strict=True):
            _draw_scores(ax, one)
        panels[0].set_ylabel("AUROC: shifted pairs against others")
        handles, names = panels[0].get_legend_handles_labels()
        figure.legend(
            handles, names, loc="outside lower center", ncols=3, frameon=False
        )
    return figure


def _draw_scores(ax: "Axes", tried: Tried) -> None:
    kinds: dict[str, list[Estimate]] = {
        "spatio-semantic RSM": [layer.spatio_semantic.auroc for layer in tried.layers],
        "semantic RSM": [layer.semantic.auroc for layer in tried.layers],
    }
    depth = np.arange(len(tried.layers))
    for k, (label, estimates) in enumerate(kinds.items()):
        # Beside each other, lest their bars cover each other.
        draw_intervals(ax, depth + (k - 0.5) * 0.12, estimates, k, label)
    ax.axhline(0.5, color="0.5", linewidth=0.8, linestyle=":", label="chance")
    labels = [f"{layer.layer}\nS={layer.tokens}" for layer in tried.layers]
    ax.set_xticks(depth, labels, rotation=60 if len(labels) > 5 else 0)
    ax.set_title(tried.network.title)
    ax.spines[["top", "right"]].set_visible(False)
