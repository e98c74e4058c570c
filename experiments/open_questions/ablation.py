"""Kernel, bandwidth, token normalization, centering: what do both RSMs owe to each?"""

from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
from jaxtyping import Float

from experiments.frame.figures import styled_figure
from experiments.frame.finding import Number
from experiments.frame.networks import Network
from experiments.frame.session import Session
from experiments.open_questions.networks import PUBLISHED, last_layer
from experiments.open_questions.question import question
from experiments.open_questions.retrieval import (
    RSMS,
    SEMANTIC,
    SPATIAL,
    f1_at_1,
    gain,
)
from experiments.scenes.compose import SceneConfig, compose
from semrsm_jax import RBF, Cosine, Kernel, Linear, center
from semrsm_jax.comparison.inference import (
    RSA,
    difference_test,
)
from semrsm_jax.plotting.style import COLORS, MARKERS
from semrsm_jax.retrieval import instance_f1, same_sample

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

CENTERINGS = ("none", "channel", "position")
NORMALIZATIONS = ("none", "unit tokens", "unit channels")
KERNELS: dict[str, Kernel] = {"linear": Linear(), "cosine": Cosine(), "RBF": RBF()}
# What the paper's experiments use.
DEFAULT = ("channel", "none")


@dataclass(frozen=True)
class AblationConfig:
    """All that the study depends on.

    Attributes:
      networks: whose last hidden layer is taken.
      scenes: what the images show, one view of each.
      count: how many scenes.
      bandwidths: of the RBF kernel, as multiples of the default, whose square is the
        median squared distance; for the tokens as the paper prepares them.
      rules: further rules for the bandwidth.
      resamples: of the bootstrap over scenes.
      seed: of scenes and intervals.
    """

    networks: tuple[Network, ...]
    scenes: SceneConfig = SceneConfig()
    count: int = 120
    bandwidths: tuple[float, ...] = (0.125, 0.25, 0.5, 1.0, 2.0, 4.0)
    rules: tuple[str, ...] = ("official", "paper")
    resamples: int = 500
    seed: int = 2


class Setting(NamedTuple):
    """A kernel on tokens prepared in one way.

    Attributes:
      network: its name.
      centering: out of `CENTERINGS`.
      normalization: out of `NORMALIZATIONS`.
      kernel: its name.
      f1: RSM -> (scenes,), F1@1.
      correlation: RSM -> Pearson correlation of similarity with the F1 of what both
        images show, over pairs of scenes.
      difference: semantic less spatio-semantic correlation.
    """

    network: str
    centering: str
    normalization: str
    kernel: str
    f1: dict[str, Float[np.ndarray, " n"]]
    correlation: dict[str, float]
    difference: Number


class Result(NamedTuple):
    """All settings."""

    config: AblationConfig
    settings: list[Setting]


def prepared(
    x: Float[np.ndarray, "N S C"], centering: str, normalization: str
) -> Float[np.ndarray, "N S C"]:
    """Centers tokens, then brings each token, or each channel, to one scale."""
    if centering != "none":
        x = np.asarray(center(x, axis=centering))
    if normalization == "none":
        return x
    if normalization == "unit tokens":
        scale = np.linalg.norm(x, axis=-1, keepdims=True)
    else:
        scale = np.sqrt((x**2).mean((0, 1)))
    # A channel that never answers, and a token of nothing, stay zero.
    return x / np.where(scale > 0, scale, 1)


def run(config: AblationConfig, session: Session = Session()) -> Result:
    """Tries every setting on every network."""
    settings, done = [], 0
    total = len(config.networks) * len(CENTERINGS) * len(NORMALIZATIONS)
    for network in config.networks:
        scenes = partial(compose, config.scenes, config.count, 1, config.seed)
        results = session.step(
            f"{network.name}/tokens", partial(_tokens, network, scenes)
        )
        for centering in CENTERINGS:
            for normalization in NORMALIZATIONS:
                session.report("Trying settings", done, total)
                name = f"{network.name}/{centering}, {normalization}"
                x = partial(prepared, results["tokens"], centering, normalization)
                default = (centering, normalization) == DEFAULT
                arrays = session.step(
                    name,
                    partial(
                        _tried, config, session, name, x, results["counts"], default
                    ),
                )
                for k, kernel in enumerate(arrays["kernels"]):
                    settings.append(
                        Setting(
                            network.name,
                            centering,
                            normalization,
                            str(kernel),
                            {kind: arrays[f"f1 {kind}"][k] for kind in RSMS},
                            {kind: float(arrays[f"rsa {kind}"][k]) for kind in RSMS},
                            Number(*map(float, arrays["difference"][k])),
                        )
                    )
                done += 1
    session.report("Trying settings", total, total)
    return Result(config, settings)


def _tokens(network: Network, scenes: Any) -> dict[str, np.ndarray]:
    drawn, layer = scenes(), network.layers[-1]
    tokens = network.open(drawn.images)(drawn.images)[layer]
    return {"tokens": np.asarray(tokens), "counts": drawn.counts}


def _tried(
    config: AblationConfig,
    session: Session,
    name: str,
    x: Any,
    counts: np.ndarray,
    default: bool,
) -> dict[str, Any]:
    """All kernels on one preparation of the tokens, matched once."""
    tokens, truth = x(), np.asarray(instance_f1(counts[:, None], counts))
    statistics = {
        kind: session.run(f"{name}/{kind}", tokens, matcher=matcher).statistics(
            0, len(tokens)
        )
        for kind, matcher in RSMS.items()
    }
    kernels: dict[str, Any] = dict(KERNELS)
    if default:
        for factor in config.bandwidths:
            kernels[f"RBF, {factor:g} x median"] = partial(_scaled, factor)
        for rule in config.rules:
            kernels[f"RBF, {rule!r}"] = RBF(rule)
    arrays: dict[str, Any] = {"kernels": np.array(list(kernels)), "difference": []}
    for kind in RSMS:
        arrays |= {f"f1 {kind}": [], f"rsa {kind}": []}
    for kernel in kernels.values():
        K = {kind: np.asarray(kernel(stats)) for kind, stats in statistics.items()}
        test = difference_test(
            (K[SEMANTIC], truth),
            (K[SPATIAL], truth),
            RSA("pearson"),
            key=config.seed,
            resamples=config.resamples,
        )
        arrays["difference"].append((test.difference, test.low, test.high))
        for kind, value in zip(
            (SEMANTIC, SPATIAL), (test.first, test.second), strict=True
        ):
            arrays[f"rsa {kind}"].append(value)
            rule = same_sample(len(tokens))
            arrays[f"f1 {kind}"].append(f1_at_1(K[kind], counts, counts, rule))
    return {key: np.array(values) for key, values in arrays.items()}


def _scaled(factor: float, statistics: Any) -> Any:
    """The RBF kernel with a multiple of the default bandwidth."""
    return RBF(factor * float(RBF().sigma(statistics)))(statistics)


def rows(result: Result) -> list[dict[str, Any]]:
    """One row a setting."""
    table = []
    for at in result.settings:
        table.append(
            {
                "network": at.network,
                "centering": at.centering,
                "normalization": at.normalization,
                "kernel": at.kernel,
                "F1@1, semantic": float(at.f1[SEMANTIC].mean()),
                "F1@1, spatio-semantic": float(at.f1[SPATIAL].mean()),
                **gain(at.f1, result.config.seed).columns("gain"),
                "correlation, semantic": at.correlation[SEMANTIC],
                "correlation, spatio-semantic": at.correlation[SPATIAL],
                **at.difference.columns("correlation, difference"),
            }
        )
    return table


def summary(result: Result) -> dict[str, Any]:
    """How often the semantic RSM is better, and what the choices are worth."""
    seed = result.config.seed
    gains = [gain(at.f1, seed) for at in result.settings]
    entries: dict[str, Any] = {
        "settings": len(gains),
        "settings with a gain in F1@1 above 0 (95 %)": sum(g.low > 0 for g in gains),
        "settings with a loss in F1@1 (95 %)": sum(g.high < 0 for g in gains),
        "settings with a higher correlation (95 %)": sum(
            at.difference.low > 0 for at in result.settings
        ),
    }
    for network in result.config.networks:
        here = {
            (at.centering, at.normalization, at.kernel): at
            for at in result.settings
            if at.network == network.name
        }
        for kernel in KERNELS:
            at = here[(*DEFAULT, kernel)]
            entries[f"{network.name}, {kernel}: gain in F1@1"] = gain(at.f1, seed)
        for rsm in RSMS:
            best = max(here, key=lambda key: here[key].f1[rsm].mean())
            entries[f"{network.name}: best F1@1 of the {rsm} RSM"] = float(
                here[best].f1[rsm].mean()
            )
            entries[f"{network.name}: what that takes, {rsm} RSM"] = (
                f"centering {best[0]}, normalization {best[1]}, kernel {best[2]}"
            )
    return entries


def draw(result: Result) -> "Figure":
    """F1@1 of both RSMs under every preparation, and what the bandwidth does."""
    networks = [network.name for network in result.config.networks]
    with styled_figure((8.2, 2.7 * len(networks))) as figure:
        panels = figure.subplots(len(networks), 2, squeeze=False, width_ratios=(2.4, 1))
        for (left, right), network in zip(panels, networks, strict=True):
            here = [at for at in result.settings if at.network == network]
            _draw_preparations(left, [at for at in here if at.kernel in KERNELS])
            left.set(ylabel="F1@1", title=network)
            _draw_bandwidths(right, result.config, here)
        handles, labels = panels[0][0].get_legend_handles_labels()
        figure.legend(
            handles, labels, loc="outside upper center", ncols=3, frameon=False
        )
    return figure


def _draw_preparations(ax: "Axes", settings: list[Setting]) -> None:
    """A column a preparation, a marker a kernel, a color an RSM."""
    preparations = list(
        dict.fromkeys((at.centering, at.normalization) for at in settings)
    )
    for k, (kernel, marker) in enumerate(zip(KERNELS, MARKERS, strict=False)):
        for rsm, color in zip(RSMS, COLORS, strict=False):
            heights = [
                float(at.f1[rsm].mean()) for at in settings if at.kernel == kernel
            ]
            ax.plot(
                np.arange(len(heights)) + 0.2 * (k - 1),
                heights,
                marker,
                color=color,
                markersize=4,
                label=f"{rsm}, {kernel}",
            )
    labels = [
        f"{c}\n{n.removeprefix('unit ')}".replace("none", "–") for c, n in preparations
    ]
    ax.set_xticks(range(len(labels)), labels)
    ax.set_xlabel("mean taken off, of each ...\nthen length brought to one, of all ...")
    ax.spines[["top", "right"]].set_visible(False)


def _draw_bandwidths(
    ax: "Axes", config: AblationConfig, settings: list[Setting]
) -> None:
    """The correlation with what images show against the bandwidth."""
    for rsm, color, marker in zip(RSMS, COLORS, MARKERS, strict=False):
        by_kernel = {
            at.kernel: at.correlation[rsm]
            for at in settings
            if (at.centering, at.normalization) == DEFAULT
        }
        heights = [
            by_kernel[f"RBF, {factor:g} x median"] for factor in config.bandwidths
        ]
        ax.plot(
            config.bandwidths,
            heights,
            f"{marker}-",
            color=color,
            markersize=3,
            label=rsm,
        )
        ax.axhline(by_kernel["cosine"], color=color, linewidth=0.8, linestyle=":")
    ax.set(
        xscale="log",
        xlabel="RBF bandwidth\n/ median distance\n(dotted: cosine)",
        ylabel="correlation with shared objects",
    )
    ax.set_xticks(config.bandwidths, [f"{b:g}" for b in config.bandwidths])
    ax.set_xticks([], minor=True)
    ax.spines[["top", "right"]].set_visible(False)


SCALES = {
    "bundled": AblationConfig((last_layer("resnet-10"), last_layer("vit-4"))),
    "smoke": AblationConfig(
        (last_layer("vit-2"),),
        count=8,
        bandwidths=(0.5, 2.0),
        rules=(),
        resamples=50,
    ),
    "paper": AblationConfig(
        PUBLISHED,
        scenes=SceneConfig(side=224),
        count=1000,
        resamples=2000,
    ),
}
STUDY = question(
    "ablation",
    __doc__ or "",
    SCALES,
    run,
    summary,
    rows,
    draw,
    title="Kernel, bandwidth, normalization, centering",
    asks="What do both RSMs owe to how tokens are prepared and compared?",
    caption="Left, F1@1 under every preparation of the tokens and kernel; right, "
    "how the bandwidth of the RBF kernel changes the correlation of "
    "similarity with what two images share.",
    minutes=1,
)
