"""What the gain in retrieval depends on: scenes in which one thing is changed."""

import dataclasses
from collections.abc import Iterator
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
from jaxtyping import Float

from experiments.frame.figures import draw_intervals, styled_figure
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
from semrsm_jax.retrieval import same_sample

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

# Which images a query may find: the paper's database holds other views of its scene.
DATABASES = ("another view of each scene", "other scenes alone")


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


class Result(NamedTuple):
    """All conditions."""

    config: GainConfig
    conditions: list[Condition]


def factors(
    base: SceneConfig,
    *,
    scales: tuple[float, ...],
    counts: tuple[int, ...],
    shifts: tuple[float, ...],
    sides: tuple[int, ...],
) -> tuple[Factor, ...]:
    """The four things that change, all else as in `base`."""

    def levels(values: tuple, **fields: Any) -> tuple[Level, ...]:
        return tuple(
            Level(v, dataclasses.replace(base, **{k: f(v) for k, f in fields.items()}))
            for v in values
        )

    return (
        Factor(
            "object scale", "side / image side", levels(scales, scale=lambda v: (v, v))
        ),
        Factor("number of objects", "", levels(counts, objects=lambda v: (v, v))),
        Factor(
            "viewpoint spread",
            "largest shift / image side",
            levels(shifts, shift=float),
        ),
        Factor("resolution", "image side, pixels", levels(sides, side=int)),
    )


def run(config: GainConfig, session: Session = Session()) -> Result:
    """Retrieves under every condition; one that factors share is computed once."""
    results, total = [], len(config.networks) * sum(1 for _ in _levels(config))
    for network in config.networks:
        for factor, level in _levels(config):
            session.report("Retrieving in scenes", len(results), total)
            name = f"{network.name}/{_name(level.scenes)}"
            arrays = session.step(
                name, partial(_retrieved, config, network, level, session, name)
            )
            f1 = {
                database: {kind: arrays[f"{database} {kind}"] for kind in RSMS}
                for database in DATABASES
            }
            hits = {kind: arrays[f"found {kind}"] for kind in RSMS}
            tokens = int(arrays["tokens"])
            results.append(
                Condition(network.name, factor.name, level.value, tokens, f1, hits)
            )
    session.report("Retrieving in scenes", total, total)
    return Result(config, results)


def _levels(config: GainConfig) -> Iterator[tuple[Factor, Level]]:
    return ((factor, level) for factor in config.factors for level in factor.levels)


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
    layer = network.layers[-1]
    z = np.asarray(network.open(scenes.images)(scenes.images)[layer])
    # Views of a scene stand together: first the query, then that in the database.
    mean = z[1::2].mean((0, 1))
    queries, database = (
        np.asarray(center(part, mean=mean)) for part in (z[::2], z[1::2])
    )
    counts = scenes.counts[::2], scenes.counts[1::2]
    rsms = both(session, name, config.kernel, queries, database)
    rules = None, same_sample(config.scenes)
    arrays: dict[str, Any] = {"tokens": z.shape[1]}
    for kind, K in rsms.items():
        for allowed, rule in zip(DATABASES, rules, strict=True):
            arrays[f"{allowed} {kind}"] = f1_at_1(K, *counts, rule)
        arrays[f"found {kind}"] = K.argmax(1) == np.arange(config.scenes)
    return arrays


def rows(result: Result) -> list[dict[str, Any]]:
    """One row for each condition and database."""
    return [
        {
            "network": at.network,
            "factor": at.factor,
            "level": at.value,
            "tokens": at.tokens,
            "database": database,
            "F1@1, semantic": float(scores[SEMANTIC].mean()),
            "F1@1, spatio-semantic": float(scores[SPATIAL].mean()),
            **gain(scores, result.config.seed).columns("gain"),
            **{
                f"own scene found, {k}": float(v.mean())
                for k, v in at.own_scene.items()
            },
        }
        for at in result.conditions
        for database, scores in at.f1.items()
    ]


def summary(result: Result) -> dict[str, Any]:
    """How often there is a gain, and how it changes from the lowest to the highest."""
    entries: dict[str, Any] = {}
    seed = result.config.seed
    for database in DATABASES:
        gains = [gain(c.f1[database], seed) for c in result.conditions]
        entries[f"{database}: conditions"] = len(gains)
        entries[f"{database}: with a gain above 0 (95 %)"] = sum(
            g.low > 0 for g in gains
        )
        entries[f"{database}: with a loss (95 %)"] = sum(g.high < 0 for g in gains)
    by_factor: dict[tuple[str, str], list[Condition]] = {}
    for at in result.conditions:
        by_factor.setdefault((at.network, at.factor), []).append(at)
    for (network, factor), (first, *_, last) in by_factor.items():
        for database in DATABASES:
            change = gain(last.f1[database], seed, than=first.f1[database])
            levels = f"from {first.value:g} to {last.value:g}"
            entries[f"{network}, {database}: change of the gain, {factor} {levels}"] = (
                change
            )
    return entries


def draw(result: Result) -> "Figure":
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
        for ax, factor in zip(panels[0], factors, strict=True):
            ax.set_title(factor.name)
        for ax, factor in zip(panels[-1], factors, strict=True):
            ax.set_xlabel(factor.unit or "objects")
        panels[0][0].legend(frameon=False)
    return figure


def _draw_factor(ax: "Axes", result: Result, factor: Factor, database: str) -> None:
    values = [level.value for level in factor.levels]
    places = np.arange(len(values))
    for k, network in enumerate(result.config.networks):
        gains = [
            gain(c.f1[database], result.config.seed)
            for c in result.conditions
            if (c.network, c.factor) == (network.name, factor.name)
        ]
        beside = 0.12 * (k - (len(result.config.networks) - 1) / 2)
        draw_intervals(ax, places + beside, gains, k, network.name)
    ax.axhline(0, color="0.5", linewidth=0.8, linestyle=":")
    ax.set_xticks(places, [f"{value:g}" for value in values])
    ax.spines[["top", "right"]].set_visible(False)


_BASE = SceneConfig(objects=(3, 3), scale=(0.3, 0.3), shift=0.1, zoom=0.0)
_FACTORS = factors(
    _BASE,
    scales=(0.15, 0.3, 0.45),
    counts=(1, 3, 6),
    shifts=(0.0, 0.1, 0.3),
    sides=(32, 64, 128),
)
SCALES = {
    "bundled": GainConfig((last_layer("resnet-10"), last_layer("vit-4")), _FACTORS),
    "smoke": GainConfig(
        (last_layer("vit-2"),),
        factors(_BASE, scales=(0.2, 0.3), counts=(1, 3), shifts=(0.1,), sides=(64,))[
            :2
        ],
        scenes=8,
    ),
    "paper": GainConfig(
        PUBLISHED,
        factors(
            dataclasses.replace(_BASE, side=224),
            scales=(0.1, 0.2, 0.3, 0.4, 0.5),
            counts=(1, 2, 3, 5, 8),
            shifts=(0.0, 0.05, 0.1, 0.2, 0.4),
            sides=(112, 224, 336, 448),
        ),
        scenes=500,
    ),
}
STUDY = question(
    "gain",
    __doc__ or "",
    SCALES,
    run,
    summary,
    rows,
    draw,
    title="What the gain in retrieval depends on",
    asks="How does the gain of semantic over spatio-semantic RSMs change with "
    "the scale and the number of objects, the viewpoint and the resolution?",
    caption="Gain in F1@1, semantic less spatio-semantic, with 95 % intervals over "
    "scenes. Above, another view of the query's own scene may be found; "
    "below, it may not.",
    minutes=1,
)
