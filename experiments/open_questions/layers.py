"""Which layer transfers: does the CKA of a layer with a task's labels tell its probe?

The rule to be tested costs no training: take a layer's RSM, and an RSM that says which
images share a label; the closer they are by CKA, the better the layer should serve a
linear probe for that task.
"""

import dataclasses
import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import cache, partial
from typing import TYPE_CHECKING, Any, NamedTuple

import jax.numpy as jnp
import numpy as np
from flax import nnx
from jaxtyping import Array, Float, Int

from experiments.frame.figures import styled_figure
from experiments.frame.finding import Number, mean_number
from experiments.frame.networks import Network, Published
from experiments.frame.session import Session
from experiments.open_questions.networks import HALF, all_layers
from experiments.open_questions.question import question
from experiments.open_questions.retrieval import RSMS, SEMANTIC, SPATIAL, both
from experiments.scenes.compose import SceneConfig, compose
from experiments.trained.networks import NETWORKS
from semrsm_jax import Linear, center
from semrsm_jax.comparison import cka
from semrsm_jax.comparison.correlation import spearman
from semrsm_jax.comparison.inference import (
    score_interval,
)
from semrsm_jax.plotting.style import COLORS, MARKERS

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

NAME, TURN, PLACE = "name the photograph", "turned how far", "where the objects are"
TASKS = (NAME, TURN, PLACE)
_TURNS = 4
_PENALTIES = np.logspace(-5, 1, 7)  # of the probes, over the mean squared norm
_LAST = "the last layer"


@dataclass(frozen=True)
class LayersConfig:
    """All that the study depends on.

    Attributes:
      networks: all layers of each.
      scenes: what the images show; objects stand in one cell, and each image is turned
        by a random number of quarters.
      count: images that the probes see.
      compared: of these, the first are in the RSMs.
      grid: maps are averaged to at most so many rows and columns, so that layers
        differ in what they hold and not in how many tokens.
      folds: of the cross-validation of the probes.
      resamples: of the bootstrap over networks.
      seed: of scenes, turns, folds and bootstrap.
    """

    networks: tuple[Network, ...]
    scenes: SceneConfig = SceneConfig(
        objects=(1, 2), shift=0.05, zoom=0.0, grid=3, placement="cell"
    )
    count: int = 400
    compared: int = 120
    grid: int = 8
    folds: int = 5
    resamples: int = 2000
    seed: int = 4


class Images(NamedTuple):
    """Turned scenes (N, side, side, 3), and the label of each for each task, (N,)."""

    images: Float[np.ndarray, "N side side 3"]
    labels: dict[str, Int[np.ndarray, " N"]]


class Layer(NamedTuple):
    """A layer of a network under one task.

    Attributes:
      network: its name.
      layer: its name.
      depth: 0 for the first layer taken, 1 for the last.
      task: out of `TASKS`.
      accuracy: of the linear probe, on images it was not fitted to.
      cka: RSM -> CKA with the RSM of the labels.
    """

    network: str
    layer: str
    depth: float
    task: str
    accuracy: float
    cka: dict[str, float]


class Result(NamedTuple):
    """All layers under all tasks."""

    config: LayersConfig
    layers: list[Layer]


def run(config: LayersConfig, session: Session = Session()) -> Result:
    """Probes and compares every layer of every network."""
    results = []
    # Drawn once, and only where a network is still to be probed.
    images = cache(partial(turned_scenes, config))
    for done, network in enumerate(config.networks):
        session.report("Probing networks", done, len(config.networks))
        step = partial(_judged, config, network, images, session)
        arrays = session.step(f"{network.name}/layers", step)
        depths = np.linspace(0, 1, len(network.layers))
        for k, (layer, depth) in enumerate(zip(network.layers, depths, strict=True)):
            for t, task in enumerate(TASKS):
                closeness = {kind: float(arrays[kind][k, t]) for kind in RSMS}
                accuracy = float(arrays["accuracy"][k, t])
                results.append(
                    Layer(network.name, layer, float(depth), task, accuracy, closeness)
                )
    session.report("Probing networks", len(config.networks), len(config.networks))
    return Result(config, results)


def turned_scenes(config: LayersConfig) -> Images:
    """Draws scenes, turns each, and says what each task would have them called."""
    scenes = compose(config.scenes, config.count, 1, config.seed)
    turns = np.random.default_rng(config.seed).integers(_TURNS, size=config.count)
    images = np.stack(
        [np.rot90(i, k) for i, k in zip(scenes.images, turns, strict=True)]
    )
    # Where each cell is after so many quarter turns.
    cells = np.arange(config.scenes.grid**2).reshape(2 * (config.scenes.grid,))
    moved = np.stack([np.argsort(np.rot90(cells, k).ravel()) for k in range(_TURNS)])
    labels = {
        NAME: scenes.background,
        TURN: turns,
        PLACE: moved[turns, scenes.cell],
    }
    return Images(images, labels)


def pooled(x: Float[np.ndarray, "N S C"], grid: int) -> Float[np.ndarray, "N T C"]:
    """Averages the patches of a map to at most `grid` rows; a CLS token is left out."""
    side = math.isqrt(x.shape[1])
    maps = jnp.asarray(x[:, -(side**2) :]).reshape(len(x), side, side, x.shape[-1])
    window = 2 * (-(-side // grid),)
    maps = nnx.avg_pool(maps, window, strides=window)
    return np.asarray(maps).reshape(len(x), -1, x.shape[-1])


def probe_accuracy(
    x: Float[np.ndarray, "N S C"], labels: Int[np.ndarray, " N"], folds: int, seed: int
) -> float:
    """Accuracy of a ridge classifier on whole maps, cross-validated.

    Ridge regression sees features only by their inner products, so the N coordinates
    that have those of the maps serve as well as all S * C channels.
    """
    from sklearn.linear_model import RidgeClassifierCV
    from sklearn.model_selection import StratifiedKFold, cross_val_score

    flat = np.asarray(center(x), np.float64).reshape(len(x), -1)
    values, vectors = np.linalg.eigh(flat @ flat.T)
    values = np.maximum(values, 0)
    features = vectors * np.sqrt(values / max(values.mean(), 1e-300))
    split = StratifiedKFold(folds, shuffle=True, random_state=seed)
    probe = RidgeClassifierCV(_PENALTIES)
    return float(cross_val_score(probe, features, labels, cv=split).mean())


def _judged(
    config: LayersConfig,
    network: Network,
    images: Callable[[], Images],
    session: Session,
) -> dict[str, Any]:
    """Accuracy and CKA (layers, tasks) of a network."""
    data = images()
    tokens = network.open(data.images)(data.images)
    arrays: dict[str, list] = {"accuracy": [], **{kind: [] for kind in RSMS}}
    for layer in network.layers:
        x = pooled(np.asarray(tokens[layer]), config.grid)
        arrays["accuracy"].append(
            [
                probe_accuracy(x, data.labels[task], config.folds, config.seed)
                for task in TASKS
            ]
        )
        name = f"{network.name}/{layer}"
        some = np.asarray(center(x[: config.compared]))
        for kind, K in both(session, name, Linear(), some).items():
            arrays[kind].append([_with_labels(K, data.labels[t]) for t in TASKS])
    return {key: np.array(values) for key, values in arrays.items()}


def _with_labels(K: Float[np.ndarray, "N N"], labels: Int[np.ndarray, " n"]) -> float:
    own = labels[: len(K)]
    return float(cka(K, (own[:, None] == own).astype(K.dtype), "unbiased"))


def rows(result: Result) -> list[dict[str, Any]]:
    """One row for each layer and task."""
    return [
        {
            "network": at.network,
            "layer": at.layer,
            "task": at.task,
            "probe accuracy": at.accuracy,
            **{f"CKA with labels, {kind}": at.cka[kind] for kind in RSMS},
        }
        for at in result.layers
    ]


def summary(result: Result) -> dict[str, Number]:
    """For each task: rank correlations over layers, and what choosing by them costs."""
    entries = {}
    for task in TASKS:
        here = [at for at in result.layers if at.task == task]
        for name, interval in correlations(result.config, here).items():
            entries[f"{task}: rank correlation of CKA with the probe, {name}"] = (
                interval
            )
        for name, costs in _costs(here).items():
            entries[f"{task}: accuracy lost by choosing the layer by {name}"] = (
                mean_number(costs)
            )
    return entries


def correlations(config: LayersConfig, layers: list[Layer]) -> Mapping[str, Number]:
    """Spearman's over layers of all networks; networks are resampled as wholes."""
    columns = [[at.accuracy, at.cka[SEMANTIC], at.cka[SPATIAL]] for at in layers]
    interval = score_interval(
        np.array(columns, np.float32),
        _rank_correlations,
        key=config.seed,
        groups=np.array([at.network for at in layers]),
        resamples=config.resamples,
    )
    ends = zip(interval.estimate, interval.low, interval.high, strict=True)
    return {
        name: Number(*map(float, limits))
        for name, limits in zip((SEMANTIC, SPATIAL, "difference"), ends, strict=True)
    }


def _rank_correlations(
    scores: Float[Array, "layers 3"], counts: Float[Array, " layers"]
) -> Float[Array, "3"]:
    """Of accuracy with CKA by both RSMs, and their difference."""
    accuracy, semantic, spatial = scores.T
    ours, theirs = (spearman(cka, accuracy, counts) for cka in (semantic, spatial))
    return jnp.stack([ours, theirs, ours - theirs])


def _costs(layers: list[Layer]) -> dict[str, Float[np.ndarray, " networks"]]:
    """Accuracy of each network's best layer less that of the one chosen."""
    costs: dict[str, list[float]] = {**{kind: [] for kind in RSMS}, _LAST: []}
    for own in _by_network(layers).values():
        best = max(at.accuracy for at in own)
        for kind in RSMS:
            chosen = max(own, key=lambda at: at.cka[kind])
            costs[kind].append(best - chosen.accuracy)
        costs[_LAST].append(best - own[-1].accuracy)
    return {name: np.array(values) for name, values in costs.items()}


def _by_network(layers: list[Layer]) -> dict[str, list[Layer]]:
    results: dict[str, list[Layer]] = {}
    for at in layers:
        results.setdefault(at.network, []).append(at)
    return results


def draw(result: Result) -> "Figure":
    """CKA with the labels against the accuracy of the probe, a column a task."""
    with styled_figure((7.4, 4.6)) as figure:
        panels = figure.subplots(len(RSMS), len(TASKS), sharey="col", squeeze=False)
        for column, task in enumerate(TASKS):
            here = [at for at in result.layers if at.task == task]
            results = correlations(result.config, here)
            for line, kind in enumerate(RSMS):
                ax = panels[line][column]
                _draw_layers(ax, here, kind)
                value, low, high = results[kind]
                ax.set_title(
                    f"{task}\n" * (line == 0)
                    + f"rank correlation {value:.2f} [{low:.2f}, {high:.2f}]"
                )
                ax.set_xlabel(f"CKA with the labels,\n{kind}")
        for line in panels:
            line[0].set_ylabel("accuracy of the probe")
        handles, names = panels[0][0].get_legend_handles_labels()
        names = [f"{name} layer" for name in names]
        figure.legend(
            handles, names, loc="outside upper center", ncols=3, frameon=False
        )
    return figure


def _draw_layers(ax: "Axes", layers: list[Layer], kind: str) -> None:
    """A point a layer; marker and color say how deep it lies."""
    thirds = ("early", "middle", "late")
    for k, name in enumerate(thirds):
        own = [at for at in layers if min(2, int(3 * at.depth)) == k]
        ax.plot(
            [at.cka[kind] for at in own],
            [at.accuracy for at in own],
            MARKERS[k],
            color=COLORS[k],
            markersize=4,
            alpha=0.8,
            label=name,
        )
    ax.spines[["top", "right"]].set_visible(False)


_SCENES = LayersConfig(()).scenes
SCALES = {
    "bundled": LayersConfig(tuple(map(all_layers, NETWORKS))),
    "smoke": LayersConfig(
        (all_layers("vit-2"), all_layers("vit-2", seed=0)),
        dataclasses.replace(_SCENES, grid=2),
        count=40,
        compared=10,
        grid=4,
        folds=2,
        resamples=50,
    ),
    "paper": LayersConfig(
        (
            Published(
                "dinov2-giant",
                tuple(f"dinov2.encoder.layer.{k}" for k in range(3, 40, 12)),
            ),
            Published(
                "vit-b16",
                tuple(f"vit.encoder.layer.{k}" for k in range(2, 12, 3)),
                HALF,
                HALF,
            ),
            *(
                Published(
                    f"resnet{depth}",
                    tuple(f"resnet.encoder.stages.{k}" for k in range(4)),
                )
                for depth in (18, 50, 101)
            ),
        ),
        dataclasses.replace(_SCENES, side=224),
        count=1000,
        compared=300,
        grid=14,
    ),
}
STUDY = question(
    "layers",
    __doc__ or "",
    SCALES,
    run,
    summary,
    rows,
    draw,
    title="Which layers transfer",
    asks="Does the CKA of a layer with a task's labels foretell how well a "
    "linear probe on it solves the task?",
    caption="Each point is a layer of a network: CKA with the labels by both RSMs, "
    "against the accuracy of the probe, for a task of the training (left) "
    "and two others.",
    minutes=1.2,
)
