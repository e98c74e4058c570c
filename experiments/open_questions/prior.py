"""Where the place is what is asked for: a test that semantic RSMs should lose."""

import dataclasses
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
from jaxtyping import Float

from experiments.frame.figures import styled_figure
from experiments.frame.finding import mean_number
from experiments.frame.networks import Network
from experiments.frame.session import Session
from experiments.open_questions.networks import PUBLISHED, last_layer
from experiments.open_questions.question import question
from experiments.open_questions.retrieval import (
    RSMS,
    SEMANTIC,
    SPATIAL,
    both,
    f1_at_1,
    gain,
)
from experiments.scenes.compose import SceneConfig, compose
from semrsm_jax import Cosine, Kernel, center
from semrsm_jax.plotting.style import COLORS, MARKERS
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


class Result(NamedTuple):
    """The answers of all networks."""

    config: PriorConfig
    answers: list[Answers]


def run(config: PriorConfig, session: Session = Session()) -> Result:
    """Asks every network all questions."""
    answers = []
    for done, network in enumerate(config.networks):
        session.report("Asking what and where", done, len(config.networks))
        arrays: dict[str, Any] = {}
        for placement in ("cell", "class"):
            name = f"{network.name}/{placement}"
            step = partial(_asked, config, network, placement, session, name)
            arrays |= session.step(name, step)
        for asked in QUESTIONS:
            scores = {kind: arrays[f"{asked} {kind}"] for kind in RSMS}
            chance = float(arrays[f"{asked} chance"])
            answers.append(Answers(network.name, asked, chance, scores))
    session.report("Asking what and where", len(config.networks), len(config.networks))
    return Result(config, answers)


def _asked(
    config: PriorConfig, network: Network, placement: Any, session: Session, name: str
) -> dict[str, Any]:
    settings = dataclasses.replace(config.scenes, placement=placement)
    scenes = compose(settings, config.count, 1, config.seed)
    layer = network.layers[-1]
    z = network.open(scenes.images)(scenes.images)[layer]
    rsms = both(session, name, config.kernel, np.asarray(center(z)))
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


def rows(result: Result) -> list[dict[str, Any]]:
    """One row for each question and network."""
    table = []
    for at in result.answers:
        table.append(
            {
                "network": at.network,
                "question": at.question,
                "semantic": float(at.scores[SEMANTIC].mean()),
                "spatio-semantic": float(at.scores[SPATIAL].mean()),
                "chance": at.chance,
                **gain(_as_numbers(at), result.config.seed).columns("gain"),
            }
        )
    return table


def _as_numbers(at: Answers) -> dict[str, np.ndarray]:
    return {kind: np.asarray(v, np.float32) for kind, v in at.scores.items()}


def summary(result: Result) -> dict[str, Any]:
    """For each question: the gain of the trained networks, and how many have one."""
    entries: dict[str, Any] = {}
    trained = {network.name for network in result.config.networks if network.trained}
    for asked in QUESTIONS:
        gains = [
            gain(_as_numbers(at), result.config.seed)
            for at in result.answers
            if at.question == asked and at.network in trained
        ]
        what = f"{asked}: semantic less spatio-semantic"
        entries[f"{what}, over networks"] = mean_number(
            np.array([g.value for g in gains])
        )
        entries[f"{what}, trained networks"] = len(gains)
        entries[f"{what}, above 0 (95 %)"] = sum(g.low > 0 for g in gains)
        entries[f"{what}, below 0 (95 %)"] = sum(g.high < 0 for g in gains)
    return entries


def draw(result: Result) -> "Figure":
    """The scores of both RSMs, a panel a question, with chance."""
    networks = [network.name for network in result.config.networks]
    with styled_figure((7.4, 1.2 + 0.3 * len(networks))) as figure:
        panels = figure.subplots(1, len(QUESTIONS), sharey=True)
        for ax, asked in zip(panels, QUESTIONS, strict=True):
            here = [at for at in result.answers if at.question == asked]
            for k, (kind, color, marker) in enumerate(
                zip(RSMS, COLORS, MARKERS, strict=False)
            ):
                scores = [np.asarray(at.scores[kind], float) for at in here]
                middle, low, high = np.array([mean_number(s) for s in scores]).T
                ax.errorbar(
                    middle,
                    np.arange(len(here)) + 0.15 * (2 * k - 1),
                    xerr=(middle - low, high - middle),
                    color=color,
                    marker=marker,
                    markersize=4,
                    linestyle="",
                    capsize=2,
                    label=kind,
                )
            chance = float(np.mean([at.chance for at in here]))
            ax.axvline(
                chance, color="0.5", linewidth=0.8, linestyle=":", label="chance"
            )
            score = "share of neighbors" if asked == WHERE else "F1@1"
            ax.set(xlabel=score, title=asked.replace(": ", "\n"))
            ax.set_yticks(range(len(networks)), networks)
            ax.spines[["top", "right"]].set_visible(False)
        panels[0].invert_yaxis()
        panels[-1].legend(frameon=False)
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
    "paper": PriorConfig(
        PUBLISHED,
        dataclasses.replace(PriorConfig(()).scenes, side=224),
        count=1000,
    ),
}
STUDY = question(
    "prior",
    __doc__ or "",
    SCALES,
    run,
    summary,
    rows,
    draw,
    title="Where the place is the label",
    asks="Do semantic RSMs lose where the place of objects is what is asked for?",
    caption="Share of nearest neighbors whose objects stand in the same place, and "
    "F1 of what they show, with 95 % intervals over scenes.",
    minutes=0.6,
)
