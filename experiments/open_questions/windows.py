"""The best window of Batch-Optimal: time against quality, when exact is cheap."""

import dataclasses
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

from experiments.data.images import draw_files, read_squares
from experiments.frame.figures import styled_figure
from experiments.frame.finding import Number, number
from experiments.frame.networks import Network, Published
from experiments.frame.session import Session
from experiments.frame.timing import take_turns
from experiments.open_questions.networks import last_layer
from experiments.open_questions.question import question
from experiments.scenes.compose import SceneConfig, compose
from semrsm_jax import center
from semrsm_jax.cli.console import Report
from semrsm_jax.comparison.inference import (
    median_interval,
)
from semrsm_jax.matching import BatchOptimal, Exact, Matcher, match
from semrsm_jax.plotting import plot_pareto

if TYPE_CHECKING:
    from matplotlib.figure import Figure

DATA = (
    "windows: a folder of at least some hundred photographs (any mixture of sizes, "
    "below any folders), in place of scenes composed here."
)


@dataclass(frozen=True)
class Layer:
    """The last hidden layer of a network, for images of a side in pixels."""

    network: Network
    side: int


@dataclass(frozen=True)
class WindowsConfig:
    """All that the study depends on.

    Attributes:
      layers: where tokens come from; their number follows from the side.
      matchers: those compared with `Exact`; at each number of tokens only those whose
        window is smaller, as the others are exact.
      rounds: turns that every matcher takes, each with pairs of its own.
      tokens_a_round: a round has as many pairs as have so many tokens together, but at
        least two, one for each of two cores.
      scenes: what the images show; the side is the layer's.
      seed: of the scenes.
      good: the quality, as a share of the exact value, that an answer must have.
      data: folder of photographs instead of scenes.
    """

    layers: tuple[Layer, ...]
    matchers: tuple[BatchOptimal, ...] = (
        *(BatchOptimal(2**k) for k in range(6, 12)),
        BatchOptimal(128, sweeps=4),
        BatchOptimal(512, sweeps=4),
    )
    rounds: int = 7
    tokens_a_round: int = 4096
    scenes: SceneConfig = SceneConfig()
    seed: int = 0
    good: float = 0.99
    data: Path | None = None


class Comparison(NamedTuple):
    """A matcher beside `Exact` on the same pairs.

    Attributes:
      layer: where the tokens come from.
      tokens: a sample, S.
      channels: C.
      matcher: the approximation.
      ratio: its time over that of `Exact`, the median over rounds.
      seconds: a pair, median over rounds.
      exact_seconds: a pair by `Exact`, median over rounds.
      quality: its value over the exact one, the median over pairs where that is
        positive; NaN where there is none.
    """

    layer: Layer
    tokens: int
    channels: int
    matcher: BatchOptimal
    ratio: Number
    seconds: float
    exact_seconds: float
    quality: Number


class Result(NamedTuple):
    """All comparisons, layer by layer."""

    config: WindowsConfig
    comparisons: list[Comparison]


def run(config: WindowsConfig, session: Session = Session()) -> Result:
    """Times all matchers on all layers."""
    results = []
    for layer in config.layers:
        name = f"{layer.network.name}/{layer.side} px"
        report = session.report
        arrays = session.step(name, partial(_measured, config, layer, report))
        results += _compared(config, layer, arrays)
    return Result(config, results)


def _measured(config: WindowsConfig, layer: Layer, report: Report) -> dict[str, Any]:
    """Seconds a round (matchers, rounds) and values (matchers, pairs); exact last."""
    sample = _images(config, layer, 1)
    read, name = layer.network.open(sample), layer.network.layers[-1]
    tokens, channels = read(sample)[name].shape[1:]
    each = max(2, config.tokens_a_round // tokens)
    images = _images(config, layer, 2 * each * config.rounds)
    # Few at a time: a network's attention and first maps grow with the tokens too.
    part = max(1, config.tokens_a_round // tokens)
    parts = (images[start : start + part] for start in range(0, len(images), part))
    z = np.concatenate([np.asarray(read(some)[name]) for some in parts])
    # As RSMs for retrieval and CKA are built: approximations lose more than on raw
    # tokens, whose mean any matching finds.
    shape = (config.rounds, 2, each, tokens, channels)
    pairs = [
        tuple(map(jnp.asarray, both)) for both in np.asarray(center(z)).reshape(shape)
    ]
    matchers = {
        repr(m): m for m in (*_approximations(config, tokens), Exact(tolerance=1e-6))
    }
    values: dict[str, list[Array]] = {name: [] for name in matchers}

    def matched(name: str, matcher: Matcher, number: int) -> Array:
        value = match(*pairs[number], matcher=matcher).value
        values[name].append(value)
        return value

    calls = {name: partial(matched, name, m) for name, m in matchers.items()}
    for call in calls.values():
        call(0)  # compiled beforehand
    turns = take_turns(
        calls, config.rounds, report, f"Matching S={tokens}, {layer.network.name}"
    )
    return {
        "seconds": np.array([turns.seconds[name] for name in matchers]) / each,
        "values": np.array([np.concatenate(v[1:]) for v in values.values()]),
        "tokens": tokens,
        "channels": channels,
    }


def _images(
    config: WindowsConfig, layer: Layer, count: int
) -> Float[np.ndarray, "N H W 3"]:
    """Images of different scenes, so that no two pairs share one."""
    if config.data is not None:
        rng = np.random.default_rng(config.seed)
        files = draw_files(config.data, count, rng)
        return read_squares(config.data, files, layer.side)
    scenes = dataclasses.replace(config.scenes, side=layer.side)
    return compose(scenes, count, 1, config.seed).images


def _approximations(config: WindowsConfig, tokens: int) -> list[BatchOptimal]:
    return [matcher for matcher in config.matchers if matcher.window < tokens]


def _compared(
    config: WindowsConfig, layer: Layer, arrays: dict[str, np.ndarray]
) -> list[Comparison]:
    *seconds, exact_seconds = arrays["seconds"]
    *values, exact = arrays["values"]
    tokens, channels = int(arrays["tokens"]), int(arrays["channels"])
    return [
        Comparison(
            layer,
            tokens,
            channels,
            matcher,
            number(median_interval(own / exact_seconds)),
            float(np.median(own)),
            float(np.median(exact_seconds)),
            _share(value, exact),
        )
        for matcher, own, value in zip(
            _approximations(config, tokens), seconds, values, strict=True
        )
    ]


def _share(value: Float[np.ndarray, " n"], exact: Float[np.ndarray, " n"]) -> Number:
    """Of the exact value, over the pairs where that is positive: of others it is none.

    Centered tokens of two images can be opposite wherever they are put.
    """
    positive = exact > 0
    if not positive.any():
        return Number(np.nan)
    return number(median_interval(value[positive] / exact[positive]))


def rows(result: Result) -> list[dict[str, Any]]:
    """One row for each matcher at each layer."""
    return [
        {
            "network": at.layer.network.name,
            "side": at.layer.side,
            "tokens": at.tokens,
            "channels": at.channels,
            "window": at.matcher.window,
            "sweeps": at.matcher.sweeps,
            "time / exact time": at.ratio.value,
            "time ratio, low": at.ratio.low,
            "time ratio, high": at.ratio.high,
            "ms a pair": 1e3 * at.seconds,
            "ms a pair, exact": 1e3 * at.exact_seconds,
            "value / exact value": at.quality.value,
            "value ratio, low": at.quality.low,
            "value ratio, high": at.quality.high,
        }
        for at in result.comparisons
    ]


def summary(result: Result) -> dict[str, Any]:
    """At each layer: the fastest approximation that is good, and the paper's window.

    It must be faster than exact matching, with its whole interval.
    """
    answers: dict[str, Any] = {}
    for name, entries in _by_layer(result).items():
        good = [
            at
            for at in entries
            if at.quality.value >= result.config.good and at.ratio.high < 1
        ]
        best = min(good, key=lambda at: at.ratio.value, default=None)
        share = f"{100 * result.config.good:g} %"
        answers[f"{name}: fastest with {share} of the exact value"] = (
            "exact" if best is None else _label(best.matcher)
        )
        answers[f"{name}: its time / exact time"] = 1.0 if best is None else best.ratio
        for at in entries:
            if at.matcher == BatchOptimal(512):
                answers[f"{name}: window 512, value / exact value"] = at.quality
                answers[f"{name}: window 512, time / exact time"] = at.ratio
    return answers


def _by_layer(result: Result) -> dict[str, list[Comparison]]:
    results: dict[str, list[Comparison]] = {}
    for at in result.comparisons:
        results.setdefault(f"{at.layer.network.name}, S={at.tokens}", []).append(at)
    return results


def _label(matcher: BatchOptimal) -> str:
    refined = f", {matcher.sweeps} sweeps" if matcher.sweeps else ""
    return f"window {matcher.window}{refined}"


def draw(result: Result) -> "Figure":
    """Time against quality, a row of panels a network, a column a number of tokens."""
    layers = _by_layer(result)
    networks = list(dict.fromkeys(at.layer.network.name for at in result.comparisons))
    columns = max(
        sum(name.startswith(f"{network}, S") for name in layers) for network in networks
    )
    lowest = min(at.quality.value for at in result.comparisons)
    with styled_figure((2.9 * columns, 2.6 * len(networks))) as figure:
        panels = figure.subplots(len(networks), columns, squeeze=False)
        for line, network in zip(panels, networks, strict=True):
            here = {n: f for n, f in layers.items() if n.startswith(f"{network}, S")}
            for ax in line[len(here) :]:
                ax.set_axis_off()
            for ax, (name, results) in zip(line, here.items(), strict=False):
                plot_pareto(
                    _points(results),
                    ax,
                    lowest=1 - 1.3 * (1 - lowest),
                    title=name,
                    label="time / exact time",
                    unit=1.0,
                    legend=ax is panels[0][0],
                )
    return figure


def _points(
    results: list[Comparison],
) -> dict[str, dict[str, tuple[float, float]]]:
    points = {
        at.matcher: (str(at.matcher.window), (at.ratio.value, at.quality.value))
        for at in results
    }
    return {
        "windows": dict(p for m, p in points.items() if not m.sweeps),
        "windows, 4 sweeps": dict(p for m, p in points.items() if m.sweeps),
        "exact": {"exact": (1.0, 1.0)},
    }


def _at(network: Network, *sides: int) -> tuple[Layer, ...]:
    return tuple(Layer(network, side) for side in sides)


SCALES = {
    "bundled": WindowsConfig(
        layers=(
            *_at(last_layer("resnet-10"), 128, 256, 512),
            *_at(last_layer("vit-4"), 128, 256, 512),
        )
    ),
    "smoke": WindowsConfig(
        layers=_at(last_layer("vit-2"), 64),
        matchers=(BatchOptimal(16), BatchOptimal(32, sweeps=1)),
        rounds=6,
        tokens_a_round=128,
    ),
    "paper": WindowsConfig(
        layers=(
            *_at(Published("dinov2-giant", ("dinov2.layernorm",)), 224, 448, 896),
            *_at(
                Published("resnet18", ("resnet.encoder.stages.3",)),
                512,
                1024,
            ),
            *_at(Published("sam-b", ("vision_encoder.neck",)), 1024),
        ),
        matchers=(
            *(BatchOptimal(2**k) for k in range(5, 12)),
            *(BatchOptimal(2**k, sweeps=4) for k in (7, 9, 11)),
        ),
        rounds=15,
    ),
}
STUDY = question(
    "windows",
    __doc__ or "",
    SCALES,
    run,
    summary,
    rows,
    draw,
    title="The window of Batch-Optimal",
    asks="Exact matching is cheap here: when is the paper's approximation still "
    "worth it, and with which window?",
    caption="Time as a ratio to that of exact matching on the same pairs, against "
    "the share of the exact value: medians, of centered tokens. Numbers are "
    "windows; the gray line joins those that no other beats.",
    minutes=1.2,
    data=DATA,
)
