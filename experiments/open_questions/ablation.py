"""Kernel, bandwidth, token normalization, centering: what do both RSMs owe to each?"""

from dataclasses import dataclass
from functools import lru_cache, partial
from itertools import product
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
from jaxtyping import Float

from experiments.frame.figures import draw_legend, draw_line, styled_figure
from experiments.frame.finding import Number, grouped
from experiments.frame.networks import Network
from experiments.frame.session import Session
from experiments.frame.worker import track
from experiments.open_questions.networks import LITE, PUBLISHED, last_layer, last_tokens
from experiments.open_questions.question import (
    RSMS,
    SEMANTIC,
    SPATIAL,
    Result,
    f1_at_1,
    gain,
    score_columns,
)
from experiments.scenes.compose import SceneConfig, compose
from semrsm_jax import RBF, Cosine, Kernel, Linear, center
from semrsm_jax.comparison import RSA, difference_test
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


Results = Result[AblationConfig, Setting]


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


def run(config: AblationConfig, session: Session = Session()) -> Results:
    """Tries every setting on every network."""

    @lru_cache(1)
    def stored(network: Network) -> dict[str, np.ndarray]:
        return session.step(f"{network.name}/tokens", partial(_tokens, config, network))

    settings = []
    tried = list(product(config.networks, product(CENTERINGS, NORMALIZATIONS)))
    for network, preparation in track(session.report, "Trying settings", tried):
        name = f"{network.name}/{', '.join(preparation)}"
        step = partial(_tried, config, session, name, stored(network), preparation)
        arrays = session.step(name, step)
        for k, kernel in enumerate(arrays["kernels"]):
            settings.append(
                Setting(
                    network.name,
                    *preparation,
                    str(kernel),
                    {kind: arrays[f"f1 {kind}"][k] for kind in RSMS},
                    {kind: float(arrays[f"rsa {kind}"][k]) for kind in RSMS},
                    Number(*arrays["difference"][k].tolist()),
                )
            )
    return Result(config, settings)


def _tokens(config: AblationConfig, network: Network) -> dict[str, np.ndarray]:
    scenes = compose(config.scenes, config.count, 1, config.seed)
    return {"tokens": last_tokens(network, scenes.images), "counts": scenes.counts}


def _tried(
    config: AblationConfig,
    session: Session,
    name: str,
    stored: dict[str, np.ndarray],
    preparation: tuple[str, str],
) -> dict[str, Any]:
    """All kernels on one preparation of the tokens, matched once."""
    x, counts = prepared(stored["tokens"], *preparation), stored["counts"]
    truth, rule = np.asarray(instance_f1(counts[:, None], counts)), same_sample(len(x))
    statistics = {
        kind: session.run(f"{name}/{kind}", x, matcher=matcher).statistics(0, len(x))
        for kind, matcher in RSMS.items()
    }
    kernels: dict[str, Any] = dict(KERNELS)
    if preparation == DEFAULT:
        for factor in config.bandwidths:
            kernels[_bandwidth(factor)] = partial(_scaled, factor)
        for bandwidth in config.rules:
            kernels[f"RBF, {bandwidth!r}"] = RBF(bandwidth)
    arrays: dict[str, Any] = {"kernels": list(kernels), "difference": []}
    arrays |= {f"{what} {kind}": [] for what in ("f1", "rsa") for kind in RSMS}
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
        arrays[f"rsa {SEMANTIC}"].append(test.first)
        arrays[f"rsa {SPATIAL}"].append(test.second)
        for kind in RSMS:
            arrays[f"f1 {kind}"].append(f1_at_1(K[kind], counts, counts, rule))
    return arrays


def _bandwidth(factor: float) -> str:
    """The name of the RBF kernel with a multiple of the default bandwidth."""
    return f"RBF, {factor:g} x median"


def _scaled(factor: float, statistics: Any) -> Any:
    """The RBF kernel with a multiple of the default bandwidth."""
    return RBF(factor * float(RBF().sigma(statistics)))(statistics)


def rows(result: Results) -> list[dict[str, Any]]:
    """One row a setting."""
    return [
        {
            "network": at.network,
            "centering": at.centering,
            "normalization": at.normalization,
            "kernel": at.kernel,
            **score_columns(at.f1, result.config.seed, "F1@1"),
            "correlation, semantic": at.correlation[SEMANTIC],
            "correlation, spatio-semantic": at.correlation[SPATIAL],
            **at.difference.columns("correlation, difference"),
        }
        for at in result.entries
    ]


def summary(result: Results) -> dict[str, Any]:
    """How often the semantic RSM is better, and what the choices are worth."""
    gains = [gain(at.f1, result.config.seed) for at in result.entries]
    higher = [at.difference.low > 0 for at in result.entries]
    entries: dict[str, Any] = {
        "settings": len(gains),
        "settings with a gain in F1@1 above 0 (95 %)": sum(g.low > 0 for g in gains),
        "settings with a loss in F1@1 (95 %)": sum(g.high < 0 for g in gains),
        "settings with a higher correlation (95 %)": sum(higher),
    }
    for network, settings in grouped(result.entries, lambda at: at.network).items():
        for at in settings:
            if at.kernel in KERNELS and (at.centering, at.normalization) == DEFAULT:
                what = f"{network}, {at.kernel}: gain in F1@1"
                entries[what] = gain(at.f1, result.config.seed)
        for rsm in RSMS:
            best = max(settings, key=lambda at: at.f1[rsm].mean())
            score = float(best.f1[rsm].mean())
            entries[f"{network}: best F1@1 of the {rsm} RSM"] = score
            entries[f"{network}: what that takes, {rsm} RSM"] = (
                f"centering {best.centering}, normalization {best.normalization}, "
                f"kernel {best.kernel}"
            )
    return entries


def draw(result: Results) -> "Figure":
    """F1@1 of both RSMs under every preparation, and what the bandwidth does."""
    networks = grouped(result.entries, lambda at: at.network)
    with styled_figure((8.2, 2.7 * len(networks))) as figure:
        panels = figure.subplots(len(networks), 2, squeeze=False, width_ratios=(2.4, 1))
        for (left, right), (network, settings) in zip(
            panels, networks.items(), strict=True
        ):
            _draw_preparations(left, [at for at in settings if at.kernel in KERNELS])
            left.set(ylabel="F1@1", title=network)
            _draw_bandwidths(right, result.config, settings)
        draw_legend(figure, panels[0][0])
    return figure


def _draw_preparations(ax: "Axes", settings: list[Setting]) -> None:
    """A column a preparation, a marker a kernel, a color an RSM."""
    for k, (kernel, marker) in enumerate(zip(KERNELS, MARKERS, strict=False)):
        for rsm, color in zip(RSMS, COLORS, strict=False):
            heights = [at.f1[rsm].mean() for at in settings if at.kernel == kernel]
            ax.plot(
                np.arange(len(heights)) + 0.2 * (k - 1),
                heights,
                marker,
                color=color,
                markersize=4,
                label=f"{rsm}, {kernel}",
            )
    labels = [
        f"{centering}\n{normalization.removeprefix('unit ')}".replace("none", "–")
        for centering, normalization in grouped(settings, lambda at: at[1:3])
    ]
    ax.set_xticks(range(len(labels)), labels)
    ax.set_xlabel("mean taken off, of each ...\nthen length brought to one, of all ...")


def _draw_bandwidths(
    ax: "Axes", config: AblationConfig, settings: list[Setting]
) -> None:
    """The correlation with what images show against the bandwidth."""
    default = {at.kernel: at for at in settings if at[1:3] == DEFAULT}
    for rsm, color, marker in zip(RSMS, COLORS, MARKERS, strict=False):
        ax.plot(
            config.bandwidths,
            [default[_bandwidth(f)].correlation[rsm] for f in config.bandwidths],
            f"{marker}-",
            color=color,
            markersize=3,
            label=rsm,
        )
        draw_line(ax, default["cosine"].correlation[rsm], color=color)
    ax.set(
        xscale="log",
        xlabel="RBF bandwidth\n/ median distance\n(dotted: cosine)",
        ylabel="correlation with shared objects",
    )
    ax.set_xticks(config.bandwidths, [f"{b:g}" for b in config.bandwidths])
    ax.set_xticks([], minor=True)


SCALES = {
    "bundled": AblationConfig((last_layer("resnet-10"), last_layer("vit-4"))),
    "smoke": AblationConfig(
        (last_layer("vit-2"),), count=8, bandwidths=(0.5, 2.0), rules=(), resamples=50
    ),
    "pretrained": AblationConfig(LITE[:1], SceneConfig(side=224)),
    "paper": AblationConfig(PUBLISHED, SceneConfig(side=224), 1000, resamples=2000),
}
