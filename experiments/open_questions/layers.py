"""Which layer transfers: does the CKA of a layer with a task's labels tell its probe?

The rule to be tested costs no training: take a layer's RSM, and an RSM that says which
images share a label; the closer they are by CKA, the better the layer should serve a
linear probe for that task.
"""

import dataclasses
from collections.abc import Callable
from dataclasses import dataclass
from functools import cache, partial
from typing import TYPE_CHECKING, Any, NamedTuple

import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, Int

from experiments.frame.figures import draw_legend, styled_figure
from experiments.frame.finding import Number, grouped, mean_number
from experiments.frame.networks import Network, Published
from experiments.frame.session import Session
from experiments.frame.worker import track
from experiments.open_questions.networks import HALF, all_layers
from experiments.open_questions.probes import pooled, probe_accuracy
from experiments.open_questions.question import RSMS, SEMANTIC, SPATIAL, Result, both
from experiments.scenes.compose import SceneConfig, compose
from experiments.trained.networks import NETWORKS
from semrsm_jax import Linear, center
from semrsm_jax.comparison import cka
from semrsm_jax.comparison.correlation import spearman
from semrsm_jax.comparison.inference import score_interval
from semrsm_jax.plotting.style import COLORS, MARKERS

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

NAME, TURN, PLACE = "name the photograph", "turned how far", "where the objects are"
TASKS = (NAME, TURN, PLACE)
_TURNS = 4
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


Results = Result[LayersConfig, Layer]


def run(config: LayersConfig, session: Session = Session()) -> Results:
    """Probes and compares every layer of every network."""
    results = []
    # Drawn once, and only where a network is still to be probed.
    images = cache(partial(turned_scenes, config))
    for network in track(session.report, "Probing networks", config.networks):
        step = partial(_judged, config, network, images, session)
        arrays = session.step(f"{network.name}/layers", step)
        depths = np.linspace(0, 1, len(network.layers)).tolist()
        for k, t in np.ndindex(len(depths), len(TASKS)):
            where = network.name, network.layers[k], depths[k], TASKS[t]
            accuracy = float(arrays["accuracy"][k, t])
            closeness = {kind: float(arrays[kind][k, t]) for kind in RSMS}
            results.append(Layer(*where, accuracy, closeness))
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
    places = moved[turns, scenes.cell]
    return Images(images, {NAME: scenes.background, TURN: turns, PLACE: places})


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
        some = np.asarray(center(x[: config.compared]))
        rsms = both(session, f"{network.name}/{layer}", Linear(), some)
        judge = partial(probe_accuracy, x, folds=config.folds, seed=config.seed)
        arrays["accuracy"].append([judge(data.labels[task]) for task in TASKS])
        for kind, K in rsms.items():
            arrays[kind].append([_with_labels(K, data.labels[t]) for t in TASKS])
    return {key: np.array(values) for key, values in arrays.items()}


def _with_labels(K: Float[np.ndarray, "N N"], labels: Int[np.ndarray, " n"]) -> float:
    own = labels[: len(K)]
    return float(cka(K, (own[:, None] == own).astype(K.dtype), "unbiased"))


def rows(result: Results) -> list[dict[str, Any]]:
    """One row for each layer and task."""
    return [
        {
            "network": at.network,
            "layer": at.layer,
            "task": at.task,
            "probe accuracy": at.accuracy,
            **{f"CKA with labels, {kind}": at.cka[kind] for kind in RSMS},
        }
        for at in result.entries
    ]


def summary(result: Results) -> dict[str, Number]:
    """For each task: rank correlations over layers, and what choosing by them costs."""
    entries = {}
    for task, layers in grouped(result.entries, lambda at: at.task).items():
        what = f"{task}: rank correlation of CKA with the probe"
        for name, interval in correlations(result.config, layers).items():
            entries[f"{what}, {name}"] = interval
        what = f"{task}: accuracy lost by choosing the layer by"
        for name, costs in _costs(layers).items():
            entries[f"{what} {name}"] = mean_number(np.array(costs))
    return entries


def correlations(config: LayersConfig, layers: list[Layer]) -> dict[str, Number]:
    """Spearman's over layers of all networks; networks are resampled as wholes."""
    columns = [[at.accuracy, at.cka[SEMANTIC], at.cka[SPATIAL]] for at in layers]
    interval = score_interval(
        np.array(columns, np.float32),
        _rank_correlations,
        key=config.seed,
        groups=np.array([at.network for at in layers]),
        resamples=config.resamples,
    )
    names = (SEMANTIC, SPATIAL, "difference")
    limits = np.stack([interval.estimate, interval.low, interval.high], axis=1).tolist()
    return {name: Number(*own) for name, own in zip(names, limits, strict=True)}


def _rank_correlations(
    scores: Float[Array, "layers 3"], counts: Float[Array, " layers"]
) -> Float[Array, "3"]:
    """Of accuracy with CKA by both RSMs, and their difference."""
    accuracy, semantic, spatial = scores.T
    ours, theirs = (spearman(cka, accuracy, counts) for cka in (semantic, spatial))
    return jnp.stack([ours, theirs, ours - theirs])


def _costs(layers: list[Layer]) -> dict[str, list[float]]:
    """Accuracy of each network's best layer less that of the one chosen."""
    costs: dict[str, list[float]] = {**{kind: [] for kind in RSMS}, _LAST: []}
    for own in grouped(layers, lambda at: at.network).values():
        chosen = {kind: max(own, key=lambda at: at.cka[kind]) for kind in RSMS}
        for name, layer in {**chosen, _LAST: own[-1]}.items():
            costs[name].append(max(at.accuracy for at in own) - layer.accuracy)
    return costs


def draw(result: Results) -> "Figure":
    """CKA with the labels against the accuracy of the probe, a column a task."""
    tasks = grouped(result.entries, lambda at: at.task)
    with styled_figure((7.4, 4.6)) as figure:
        panels = figure.subplots(len(RSMS), len(tasks), sharey="col", squeeze=False)
        for column, (task, layers) in zip(panels.T, tasks.items(), strict=True):
            results = correlations(result.config, layers)
            for ax, kind in zip(column, RSMS, strict=True):
                _draw_layers(ax, layers, kind)
                value, low, high = results[kind]
                title = f"rank correlation {value:.2f} [{low:.2f}, {high:.2f}]"
                ax.set_title(f"{task}\n{title}" if ax is column[0] else title)
                ax.set_xlabel(f"CKA with the labels,\n{kind}")
        for line in panels:
            line[0].set_ylabel("accuracy of the probe")
        draw_legend(figure, panels[0][0])
    return figure


def _draw_layers(ax: "Axes", layers: list[Layer], kind: str) -> None:
    """A point a layer; marker and color say how deep it lies."""
    for k, name in enumerate(("early layer", "middle layer", "late layer")):
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


def _numbered(name: str, *ends: int) -> tuple[str, ...]:
    """Names of layers, with the numbers of a range."""
    return tuple(f"{name}.{number}" for number in range(*ends))


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
            Published("dinov2-giant", _numbered("dinov2.encoder.layer", 3, 40, 12)),
            Published("vit-b16", _numbered("vit.encoder.layer", 2, 12, 3), HALF, HALF),
            *(
                Published(f"resnet{depth}", _numbered("resnet.encoder.stages", 0, 4))
                for depth in (18, 50, 101)
            ),
        ),
        dataclasses.replace(_SCENES, side=224),
        count=1000,
        compared=300,
        grid=14,
    ),
}
