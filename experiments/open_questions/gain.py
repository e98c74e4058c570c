"""What the gain in retrieval depends on: scenes in which one thing is changed."""

import dataclasses
from dataclasses import dataclass
from functools import partial
from itertools import product
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
from jaxtyping import Float

from experiments.frame.figures import draw_intervals, draw_line, styled_figure
from experiments.frame.finding import grouped
from experiments.frame.networks import Network
from experiments.frame.session import Session
from experiments.frame.worker import track
from experiments.open_questions.networks import PUBLISHED, last_layer, last_tokens
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
from semrsm_jax.retrieval import same_sample

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

# Which images a query may find: the paper's database holds other views of its scene.
DATABASES = ("another view of each scene", "other scenes alone")
# Field of the scenes that changes -> what figures call it, and its unit.
_NAMES = {
    "scale": ("object scale", "side / image side"),
    "objects": ("number of objects", ""),
    "shift": ("viewpoint spread", "largest shift / image side"),
    "side": ("resolution", "image side, pixels"),
}
_RANGES = ("scale", "objects")  # fields of which a scene has the least and the most


@dataclass(frozen=True)
class Level:
    """A setting of a factor, and the scenes that have it."""

    value: float
    scenes: SceneConfig


@dataclass(frozen=True)
class Factor:
    """One thing that changes, with its unit, and its levels, rising."""

    name: str
    unit: str
    levels: tuple[Level, ...]


@dataclass(frozen=True)
class GainConfig:
    """All that the study depends on.

    Attributes:
      networks: whose last hidden layer is taken.
      factors: what changes; the scenes of a seed differ in that alone.
      scenes: of each level; a query and a view in the database each.
      kernel: of both RSMs.
      seed: of scenes and intervals.
    """

    networks: tuple[Network, ...]
    factors: tuple[Factor, ...]
    scenes: int = 100
    kernel: Kernel = Cosine()
    seed: int = 1


class Condition(NamedTuple):
    """A level, seen by a network.

    Attributes:
      network: its name.
      factor: what changes.
      value: the level.
      tokens: S.
      f1: database -> RSM -> (scenes,), F1@1 of each query.
      own_scene: RSM -> (scenes,), whether the nearest is the other view of its scene.
    """

    network: str
    factor: str
    value: float
    tokens: int
    f1: dict[str, dict[str, Float[np.ndarray, " n"]]]
    own_scene: dict[str, Float[np.ndarray, " n"]]


Results = Result[GainConfig, Condition]


def factors(base: SceneConfig, **levels: tuple[Any, ...]) -> tuple[Factor, ...]:
    """The fields of scenes that change, each with its levels, all else as in `base`."""

    def level(field: str, value: Any) -> Level:
        setting = (value, value) if field in _RANGES else value
        return Level(value, dataclasses.replace(base, **{field: setting}))

    return tuple(
        Factor(*_NAMES[field], tuple(level(field, value) for value in values))
        for field, values in levels.items()
    )


def run(config: GainConfig, session: Session = Session()) -> Results:
    """Retrieves under every condition; one that factors share is computed once."""
    conditions = []
    levels = [(f.name, level) for f in config.factors for level in f.levels]
    asked = list(product(config.networks, levels))
    for network, (factor, level) in track(
        session.report, "Retrieving in scenes", asked
    ):
        name = f"{network.name}/{_name(level.scenes)}"
        step = partial(_retrieved, config, network, level, session, name)
        arrays = session.step(name, step)
        conditions.append(
            Condition(
                network.name,
                factor,
                level.value,
                int(arrays["tokens"]),
                {d: {kind: arrays[f"{d} {kind}"] for kind in RSMS} for d in DATABASES},
                {kind: arrays[f"own {kind}"] for kind in RSMS},
            )
        )
    return Result(config, conditions)


def _name(scenes: SceneConfig) -> str:
    """What tells the scenes of this study apart."""
    return (
        f"side {scenes.side} objects {scenes.objects[0]} scale {scenes.scale[0]:g} "
        f"shift {scenes.shift:g}"
    )


def _retrieved(
    config: GainConfig, network: Network, level: Level, session: Session, name: str
) -> dict[str, Any]:
    scenes = compose(level.scenes, config.scenes, 2, config.seed)
    z = last_tokens(network, scenes.images)
    # Views of a scene stand together: first the query, then that in the database.
    mean = z[1::2].mean((0, 1))
    views = (np.asarray(center(part, mean=mean)) for part in (z[::2], z[1::2]))
    counts = scenes.counts[::2], scenes.counts[1::2]
    rules = None, same_sample(config.scenes)
    arrays: dict[str, Any] = {"tokens": z.shape[1]}
    for kind, K in both(session, name, config.kernel, *views).items():
        for allowed, rule in zip(DATABASES, rules, strict=True):
            arrays[f"{allowed} {kind}"] = f1_at_1(K, *counts, rule)
        arrays[f"own {kind}"] = K.argmax(1) == np.arange(config.scenes)
    return arrays


def rows(result: Results) -> list[dict[str, Any]]:
    """One row for each condition and database."""
    return [
        {
            "network": at.network,
            "factor": at.factor,
            "level": at.value,
            "tokens": at.tokens,
            "database": database,
            **score_columns(scores, result.config.seed, "F1@1"),
            **{
                f"own scene found, {k}": float(v.mean())
                for k, v in at.own_scene.items()
            },
        }
        for at in result.entries
        for database, scores in at.f1.items()
    ]


def summary(result: Results) -> dict[str, Any]:
    """How often there is a gain, and how it changes from the lowest to the highest."""
    entries: dict[str, Any] = {}
    seed = result.config.seed
    for database in DATABASES:
        gains = [gain(c.f1[database], seed) for c in result.entries]
        above, below = sum(g.low > 0 for g in gains), sum(g.high < 0 for g in gains)
        entries[f"{database}: conditions"] = len(gains)
        entries[f"{database}: with a gain above 0 (95 %)"] = above
        entries[f"{database}: with a loss (95 %)"] = below
    by_factor = grouped(result.entries, lambda at: (at.network, at.factor))
    for (network, factor), (first, *_, last) in by_factor.items():
        levels = f"{factor} from {first.value:g} to {last.value:g}"
        for database in DATABASES:
            what = f"{network}, {database}: change of the gain, {levels}"
            entries[what] = gain(last.f1[database], seed, than=first.f1[database])
    return entries


def draw(result: Results) -> "Figure":
    """The gain against each factor, a row of panels a database."""
    factors = result.config.factors
    with styled_figure((2.1 * len(factors), 4.2)) as figure:
        panels = figure.subplots(
            len(DATABASES), len(factors), sharey=True, squeeze=False
        )
        for line, database in zip(panels, DATABASES, strict=True):
            for ax, factor in zip(line, factors, strict=True):
                _draw_factor(ax, result, factor, database)
            line[0].set_ylabel(f"gain in F1@1\n({database})")
        for top, bottom, factor in zip(panels[0], panels[-1], factors, strict=True):
            top.set_title(factor.name)
            bottom.set_xlabel(factor.unit or "objects")
        panels[0][0].legend()
    return figure


def _draw_factor(ax: "Axes", result: Results, factor: Factor, database: str) -> None:
    places = np.arange(len(factor.levels))
    own = [at for at in result.entries if at.factor == factor.name]
    networks = grouped(own, lambda at: at.network)
    for k, (network, conditions) in enumerate(networks.items()):
        gains = [gain(at.f1[database], result.config.seed) for at in conditions]
        beside = 0.12 * (k - (len(networks) - 1) / 2)
        draw_intervals(ax, places + beside, gains, k, network)
    draw_line(ax, 0)
    ax.set_xticks(places, [f"{level.value:g}" for level in factor.levels])


_BASE = SceneConfig(objects=(3, 3), scale=(0.3, 0.3), shift=0.1, zoom=0.0)
_FACTORS = factors(
    _BASE,
    scale=(0.15, 0.3, 0.45),
    objects=(1, 3, 6),
    shift=(0.0, 0.1, 0.3),
    side=(32, 64, 128),
)
SCALES = {
    "bundled": GainConfig((last_layer("resnet-10"), last_layer("vit-4")), _FACTORS),
    "smoke": GainConfig(
        (last_layer("vit-2"),),
        factors(_BASE, scale=(0.2, 0.3), objects=(1, 3)),
        scenes=8,
    ),
    "paper": GainConfig(
        PUBLISHED,
        factors(
            dataclasses.replace(_BASE, side=224),
            scale=(0.1, 0.2, 0.3, 0.4, 0.5),
            objects=(1, 2, 3, 5, 8),
            shift=(0.0, 0.05, 0.1, 0.2, 0.4),
            side=(112, 224, 336, 448),
        ),
        scenes=500,
    ),
}
