"""Which channels can be pruned: does a channel's share in an RSM tell what it is worth?

A channel is removed from the last hidden layer, and the RSM of what is left compared
with that of the whole by CKA: the further it falls, the more the channel should matter.
Whether it does is said by the network itself, whose answers are asked for without the
channel, or without many of the least important ones.
"""

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import cache, partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import jax.numpy as jnp
import numpy as np
import optax
from jaxtyping import Array, Float, Int

from experiments.frame.figures import draw_intervals, draw_line, styled_figure
from experiments.frame.finding import Number, mean_number
from experiments.frame.session import Session
from experiments.frame.worker import track
from experiments.open_questions.networks import (
    HALF,
    Classifier,
    PublishedClassifier,
    classifier,
    last_tokens,
    output_of,
    rest_of,
)
from experiments.open_questions.question import (
    RSMS,
    SEMANTIC,
    SPATIAL,
    DrawnImages,
    Result,
    draw_images,
)
from experiments.scenes.compose import SceneConfig
from experiments.trained.networks import NETWORKS
from semrsm_jax import Linear, center
from semrsm_jax.cli.console import Report
from semrsm_jax.comparison import cka
from semrsm_jax.comparison.correlation import spearman
from semrsm_jax.matching import Matcher
from semrsm_jax.pairs import pair_statistics

if TYPE_CHECKING:
    from matplotlib.figure import Figure

DATA = "channels: such a folder too; the truth is then the whole network's answer."
MAGNITUDE, RANDOM = "magnitude", "random"
JUDGING = (*RSMS, MAGNITUDE)  # the criteria that give each channel a score
CRITERIA = (*JUDGING, RANDOM)


@dataclass(frozen=True)
class ChannelsConfig:
    """All that the study depends on.

    Attributes:
      networks: classifiers, whose last hidden layer is pruned.
      scenes: what the images show.
      compared: images of the RSMs.
      asked: other images, which the pruned networks name.
      shares: of channels that are pruned, those of least importance first.
      draws: random orders of pruning, which are averaged.
      seed: of scenes and orders.
      data: folder of photographs instead of scenes.
    """

    networks: tuple[Classifier, ...]
    scenes: SceneConfig = SceneConfig()
    compared: int = 24
    asked: int = 300
    shares: tuple[float, ...] = (0.25, 0.5, 0.75, 0.9)
    draws: int = 20
    seed: int = 5
    data: Path | None = None


class Pruned(NamedTuple):
    """A network whose channels were judged and removed.

    Attributes:
      network: its name.
      accuracy: of the whole network.
      importance: criterion but random -> (C,) score of each channel.
      rise: (C,), of the cross-entropy in nats, with that one channel removed.
      left: criterion -> (shares,) accuracy without so many channels.
    """

    network: str
    accuracy: float
    importance: dict[str, Float[np.ndarray, " C"]]
    rise: Float[np.ndarray, " C"]
    left: dict[str, Float[np.ndarray, " shares"]]


Results = Result[ChannelsConfig, Pruned]


def run(config: ChannelsConfig, session: Session = Session()) -> Results:
    """Judges the channels of every network, and prunes it."""
    pruned = []
    # Drawn once, where a network is still to be pruned: those of the RSMs come first.
    count = config.compared + config.asked
    images = cache(partial(draw_images, config.scenes, count, config.seed, config.data))
    for network in config.networks:
        step = partial(_judged, config, network, images, session.report)
        scores = session.step(f"{network.name}/importance", step)
        step = partial(_pruned, config, network, images, scores)
        arrays = session.step(f"{network.name}/pruning", step)
        accuracy, rise = float(arrays.pop("accuracy")), arrays.pop("rise")
        pruned.append(Pruned(network.name, accuracy, scores, rise, arrays))
    return Result(config, pruned)


def _judged(
    config: ChannelsConfig,
    network: Classifier,
    drawn: Callable[[], DrawnImages],
    report: Report,
) -> dict[str, np.ndarray]:
    """The importance of every channel by every criterion."""
    tokens = last_tokens(network, drawn()[0][: config.compared])
    x = jnp.asarray(center(tokens))
    results = {MAGNITUDE: np.abs(tokens).mean((0, 1))}
    for kind, matcher in RSMS.items():
        what = f"Removing channels of {network.name}, {kind}"
        results[kind] = cka_drops(x, matcher, report, what)
    return results


def cka_drops(
    x: Float[Array, "N S C"], matcher: Matcher, report: Report, description: str
) -> Float[np.ndarray, " C"]:
    """1 - CKA of the RSM without a channel and the whole one, for each channel.

    Tokens are matched anew without the channel.
    """

    def rsm(x: Array) -> Array:
        return Linear()(pair_statistics(x, matcher=matcher))

    whole, channels = rsm(x), range(x.shape[-1])
    drops = [
        1 - cka(whole, rsm(x.at[..., channel].set(0)))
        for channel in track(report, description, channels)
    ]
    return np.array(drops, float)


def _pruned(
    config: ChannelsConfig,
    network: Classifier,
    drawn: Callable[[], DrawnImages],
    scores: Mapping[str, np.ndarray],
) -> dict[str, Any]:
    """The network's answers without each channel, and without the least important."""
    images, photographs = drawn()
    model, layer = network.load(), network.layers[-1]
    asked = jnp.asarray(images[config.compared :])
    output = output_of(model, layer, network.logits, asked)
    rest = rest_of(model, layer, network.logits, asked)
    whole = rest(output)
    # A network that was not trained to name these is held to what it said itself.
    truth = whole.argmax(-1)
    if network.names_photographs and photographs is not None:
        truth = jnp.asarray(photographs[config.compared :])

    def entropy(logits: Array) -> float:
        results = optax.softmax_cross_entropy_with_integer_labels(logits, truth)
        return float(results.mean())

    def accuracy(order: Int[np.ndarray, " C"], share: float) -> float:
        kept = np.ones(channels, np.float32)
        kept[order[: math.floor(share * channels)]] = 0
        return float((rest(output * kept).argmax(-1) == truth).mean())

    channels = output.shape[-1]
    without = 1 - jnp.eye(channels)
    orders = {name: [np.argsort(scores[name])] for name in JUDGING}
    rng = np.random.default_rng(config.seed)
    orders[RANDOM] = [rng.permutation(channels) for _ in range(config.draws)]
    left = {
        name: [np.mean([accuracy(o, share) for o in own]) for share in config.shares]
        for name, own in orders.items()
    }
    rise = np.array([entropy(rest(output * m)) for m in without]) - entropy(whole)
    return {"accuracy": float((whole.argmax(-1) == truth).mean()), "rise": rise, **left}


def rows(result: Results) -> list[dict[str, Any]]:
    """One row for each network, criterion and share."""
    return [
        {
            "network": at.network,
            "channels": len(at.rise),
            "criterion": name,
            "channels pruned (share)": share,
            "accuracy": float(accuracy),
            "accuracy, nothing pruned": at.accuracy,
            "rank correlation with the rise of the cross-entropy": (
                None if name == RANDOM else _agreement(at, name)
            ),
        }
        for at in result.entries
        for name in CRITERIA
        for share, accuracy in zip(result.config.shares, at.left[name], strict=True)
    ]


def _agreement(at: Pruned, criterion: str) -> float:
    """Over channels: importance against what removing the one channel costs."""
    score, rise = jnp.asarray(at.importance[criterion]), jnp.asarray(at.rise)
    return float(spearman(score, rise))


def summary(result: Results) -> dict[str, Any]:
    """Over networks: how well each criterion foretells, and what is left."""
    entries: dict[str, Any] = {"networks": len(result.entries)}
    agreement = {
        name: np.array([_agreement(at, name) for at in result.entries])
        for name in JUDGING
    }
    what = "rank correlation of importance with the cost of a channel"
    for name, values in agreement.items():
        entries[f"{what}, {name}"] = mean_number(values)
    entries[f"{what}, semantic less spatio-semantic"] = mean_number(
        agreement[SEMANTIC] - agreement[SPATIAL]
    )
    for name in CRITERIA:
        entries[f"accuracy left, mean of all shares, {name}"] = _over(result, name)
    for other in (SPATIAL, MAGNITUDE, RANDOM):
        what = f"accuracy left, semantic less {other}"
        entries[what] = _over(result, SEMANTIC, other)
    return entries


def _over(result: Results, name: str, less: str | None = None) -> Number:
    """Accuracy left, of which that of another criterion is taken; over networks."""
    left = [at.left[name] - (at.left[less] if less else 0) for at in result.entries]
    return mean_number(np.mean(left, axis=1))


def draw(result: Results) -> "Figure":
    """What pruning leaves, and how well each criterion foretells a channel's cost."""
    shares = 100 * np.array((0.0, *result.config.shares))
    with styled_figure((7.2, 2.9)) as figure:
        left, right = figure.subplots(1, 2, width_ratios=(1.6, 1))
        for k, name in enumerate(CRITERIA):
            kept = np.array([(at.accuracy, *at.left[name]) for at in result.entries])
            intervals = [mean_number(v) for v in kept.T]
            draw_intervals(left, shares + 0.8 * (k - 1.5), intervals, k, name)
        for k, name in enumerate(JUDGING):
            own = np.array([_agreement(at, name) for at in result.entries])
            right.plot(own, np.full(len(own), k), ".", color="0.6", markersize=4)
            draw_intervals(right, np.array([k]), [mean_number(own)], k, name, along="y")
        left.set(
            xlabel="channels pruned, least important first [%]",
            ylabel="accuracy, mean over networks",
        )
        left.legend(title="importance by")
        right.set_yticks(range(len(JUDGING)), JUDGING)
        right.set_ylim(len(JUDGING) - 0.5, -0.5)
        draw_line(right, 0, vertical=True)
        right.set(
            xlabel="rank correlation of importance\nwith the cost of a channel",
            title="a gray point a network",
        )
    return figure


SCALES = {
    "bundled": ChannelsConfig(tuple(map(classifier, NETWORKS))),
    "smoke": ChannelsConfig(
        tuple(map(classifier, ("vit-2", "vit-4"))),
        compared=4,
        asked=16,
        shares=(0.5,),
        draws=2,
    ),
    "paper": ChannelsConfig(
        (
            PublishedClassifier("vit-b16", ("vit.layernorm",), HALF, HALF),
            PublishedClassifier("convnextv2-base", ("convnextv2.encoder.stages.3",)),
            *(
                PublishedClassifier(f"resnet{depth}", ("resnet.encoder.stages.3",))
                for depth in (18, 50, 101)
            ),
        ),
        SceneConfig(side=224),
        compared=100,
        asked=1000,
    ),
}
