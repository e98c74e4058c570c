"""Where the place is what is asked for: a test that semantic RSMs should lose."""

import dataclasses
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
from jaxtyping import Float

from experiments.frame.figures import (
    draw_intervals,
    draw_legend,
    draw_line,
    styled_figure,
)
from experiments.frame.finding import mean_number
from experiments.frame.networks import Network
from experiments.frame.session import Session
from experiments.frame.worker import track
from experiments.open_questions.networks import LITE, PUBLISHED, last_layer, last_tokens
from experiments.open_questions.question import (
    RSMS,
    Result,
    both,
    f1_at_1,
    gain,
    score_columns,
)
from experiments.scenes.compose import SceneConfig, compose
from semrsm_jax import Cosine, Kernel, center
from semrsm_jax.retrieval import instance_f1, nearest, same_sample

if TYPE_CHECKING:
    from matplotlib.figure import Figure

WHERE = "where it is: place apart from content"
WHAT = "what it is: place apart from content"
BOUND = "what it is: place given by content"
QUESTIONS = (WHERE, WHAT, BOUND)


@dataclass(frozen=True)
class PriorConfig:
    """All that the study depends on.

    Attributes:
      networks: whose last hidden layer is taken.
      scenes: what the images show, one view of each; the placement is the study's.
      count: scenes of either placement.
      kernel: of both RSMs.
      seed: of scenes and intervals.
    """

    networks: tuple[Network, ...]
    scenes: SceneConfig = SceneConfig(
        objects=(2, 2), scale=(0.3, 0.3), shift=0.05, zoom=0.0
    )
    count: int = 150
    kernel: Kernel = Cosine()
    seed: int = 3


class Answers(NamedTuple):
    """How well the nearest neighbor of each scene answers.

    Attributes:
      network: its name.
      question: out of `QUESTIONS`.
      chance: the score of a neighbor drawn at random.
      scores: RSM -> (scenes,): whether the neighbor's objects stand in the same cell,
        or the F1 of what it shows.
    """

    network: str
    question: str
    chance: float
    scores: dict[str, Float[np.ndarray, " n"]]


Results = Result[PriorConfig, Answers]


def run(config: PriorConfig, session: Session = Session()) -> Results:
    """Asks every network all questions."""
    answers = []
    for network in track(session.report, "Asking what and where", config.networks):
        arrays: dict[str, Any] = {}
        for placement in ("cell", "class"):
            name = f"{network.name}/{placement}"
            step = partial(_asked, config, network, placement, session, name)
            arrays |= session.step(name, step)
        for asked in QUESTIONS:
            scores = {kind: arrays[f"{asked} {kind}"] for kind in RSMS}
            chance = float(arrays[f"{asked} chance"])
            answers.append(Answers(network.name, asked, chance, scores))
    return Result(config, answers)


def _asked(
    config: PriorConfig, network: Network, placement: Any, session: Session, name: str
) -> dict[str, Any]:
    settings = dataclasses.replace(config.scenes, placement=placement)
    scenes = compose(settings, config.count, 1, config.seed)
    z = np.asarray(center(last_tokens(network, scenes.images)))
    rsms = both(session, name, config.kernel, z)
    others = same_sample(config.count)
    pairs = ~np.eye(config.count, dtype=bool)
    shared = np.asarray(instance_f1(scenes.counts[:, None], scenes.counts))
    what = WHAT if placement == "cell" else BOUND
    arrays: dict[str, Any] = {f"{what} chance": shared[pairs].mean()}
    for kind, K in rsms.items():
        arrays[f"{what} {kind}"] = f1_at_1(K, scenes.counts, scenes.counts, others)
    if placement == "cell":
        same = scenes.cell[:, None] == scenes.cell
        arrays[f"{WHERE} chance"] = same[pairs].mean()
        for kind, K in rsms.items():
            index = nearest(K, 1, others).index[:, 0]
            arrays[f"{WHERE} {kind}"] = scenes.cell[index] == scenes.cell
    return arrays


def rows(result: Results) -> list[dict[str, Any]]:
    """One row for each question and network."""
    return [
        {
            "network": at.network,
            "question": at.question,
            "chance": at.chance,
            **score_columns(at.scores, result.config.seed),
        }
        for at in result.entries
    ]


def summary(result: Results) -> dict[str, Any]:
    """For each question: the gain of the trained networks, and how many have one."""
    entries: dict[str, Any] = {}
    trained = {network.name for network in result.config.networks if network.trained}
    for asked in QUESTIONS:
        gains = [
            gain(at.scores, result.config.seed)
            for at in result.entries
            if at.question == asked and at.network in trained
        ]
        what = f"{asked}: semantic less spatio-semantic"
        values = np.array([g.value for g in gains])
        entries[f"{what}, over networks"] = mean_number(values)
        entries[f"{what}, trained networks"] = len(gains)
        entries[f"{what}, above 0 (95 %)"] = sum(g.low > 0 for g in gains)
        entries[f"{what}, below 0 (95 %)"] = sum(g.high < 0 for g in gains)
    return entries


def draw(result: Results) -> "Figure":
    """The scores of both RSMs, a panel a question, with chance."""
    networks = [network.name for network in result.config.networks]
    places = np.arange(len(networks))
    with styled_figure((7.4, 1.4 + 0.3 * len(networks))) as figure:
        panels = figure.subplots(1, len(QUESTIONS), sharey=True)
        for ax, asked in zip(panels, QUESTIONS, strict=True):
            own = [at for at in result.entries if at.question == asked]
            for k, rsm in enumerate(RSMS):
                scores = [mean_number(at.scores[rsm].astype(float)) for at in own]
                beside = places + 0.15 * (2 * k - 1)
                draw_intervals(ax, beside, scores, k, rsm, linestyle="", along="y")
            chance = float(np.mean([at.chance for at in own]))
            draw_line(ax, chance, vertical=True, label="chance")
            score = "share of neighbors" if asked == WHERE else "F1@1"
            ax.set(xlabel=score, title=asked.replace(": ", "\n"))
            ax.set_yticks(places, networks)
        panels[0].invert_yaxis()
        draw_legend(figure, panels[0])
    return figure


_NETWORKS = ("resnet-10", "resnet-18", "convnext", "vit-2", "vit-4")
SCALES = {
    "bundled": PriorConfig(
        (
            *map(last_layer, _NETWORKS),
            last_layer("resnet-10", seed=0),
            last_layer("vit-4", seed=0),
        )
    ),
    "smoke": PriorConfig((last_layer("vit-2"),), count=12),
    "pretrained": PriorConfig(
        (*LITE, dataclasses.replace(LITE[0], seed=0)),
        dataclasses.replace(PriorConfig(()).scenes, side=224),
    ),
    "paper": PriorConfig(
        PUBLISHED, dataclasses.replace(PriorConfig(()).scenes, side=224), count=1000
    ),
}
