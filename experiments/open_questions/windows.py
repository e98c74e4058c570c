"""The best window of Batch-Optimal: time against quality, when exact is cheap."""

import dataclasses
from functools import partial
from typing import TYPE_CHECKING, Any, NamedTuple

import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, Int

from experiments.data.photographs import PhotographCrops, median_over_pairs
from experiments.frame.figures import styled_figure
from experiments.frame.finding import Number, grouped, number
from experiments.frame.session import Session
from experiments.frame.timing import take_turns
from experiments.open_questions import window_scales
from experiments.open_questions.question import Result, draw_images
from experiments.open_questions.window_scales import Layer, WindowsConfig
from semrsm_jax import center
from semrsm_jax.cli.console import Report
from semrsm_jax.comparison.inference import median_interval
from semrsm_jax.matching import BatchOptimal, Exact, Matcher, match
from semrsm_jax.plotting import plot_pareto

if TYPE_CHECKING:
    from matplotlib.figure import Figure

SCALES = window_scales.SCALES
DATA = (
    "windows: a folder of at least some hundred photographs (any mixture of sizes, "
    "below any folders), in place of scenes composed here."
)


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


Results = Result[WindowsConfig, Comparison]
Points = dict[str, tuple[float, float]]  # time and quality, over those of `Exact`


def run(config: WindowsConfig, session: Session = Session()) -> Results:
    """Times all matchers on all layers."""
    results = []
    for layer in config.layers:
        step = partial(_measured, config, layer, session.report)
        name = f"{layer.network.name}/{layer.network.layers[-1]}/{layer.side} px"
        arrays = session.step(name, step)
        results += _compared(config, layer, arrays)
    return Result(config, results)


def _measured(config: WindowsConfig, layer: Layer, report: Report) -> dict[str, Any]:
    """Seconds a round (matchers, rounds) and values (matchers, pairs); exact last."""
    # Of different scenes, so that no two pairs share one.
    scenes = dataclasses.replace(config.scenes, side=layer.side)
    draw = partial(draw_images, scenes, seed=config.seed, data=config.data)
    sample, _ = draw(1)
    read, name = layer.network.open(sample), layer.network.layers[-1]
    tokens, channels = read(sample)[name].shape[1:]
    # Few at a time: a network's attention and first maps grow with the tokens too.
    part = max(1, config.tokens_a_round // tokens)
    each = max(2, part)
    images, numbers = draw(2 * each * config.rounds)
    arrays: dict[str, Any] = {"tokens": tokens, "channels": channels}
    if isinstance(scenes, PhotographCrops) and numbers is not None:
        order = pair_order(numbers, config.rounds, each)
        images, photographs = images[order.ravel()], numbers[order]
        arrays["photographs"] = np.moveaxis(photographs, 1, 0).reshape(2, -1)
    parts = (images[start : start + part] for start in range(0, len(images), part))
    z = np.concatenate([np.asarray(read(some)[name]) for some in parts])
    # As RSMs for retrieval and CKA are built: approximations lose more than on raw
    # tokens, whose mean any matching finds.
    shape = (config.rounds, 2, each, tokens, channels)
    pairs = [tuple(map(jnp.asarray, pair)) for pair in center(z).reshape(shape)]
    matchers = (*config.smaller(tokens), Exact(tolerance=1e-6))
    values: dict[str, list[Array]] = {repr(matcher): [] for matcher in matchers}

    def matched(matcher: Matcher, number: int) -> Array:
        value = match(*pairs[number], matcher=matcher).value
        values[repr(matcher)].append(value)
        return value

    calls = {repr(matcher): partial(matched, matcher) for matcher in matchers}
    what = f"Matching S={tokens}, {layer.network.name}"
    turns = take_turns(calls, config.rounds, report, what, warm=True)
    return arrays | {
        "seconds": np.array(list(turns.seconds.values())) / each,
        "values": np.array([np.concatenate(v[1:]) for v in values.values()]),
    }


def pair_order(
    photographs: Int[np.ndarray, " n"], rounds: int, each: int
) -> Int[np.ndarray, "rounds 2 each"]:
    """The crops of both sides of each round's pairs, of different photographs.

    The photographs of the n = rounds * 2 * each crops are in an order that repeats.
    """
    order = np.arange(len(photographs)).reshape(rounds, 2, each)
    if (photographs[order[:, 0]] == photographs[order[:, 1]]).any():
        order[:, 1] = np.roll(order[:, 1], 1, axis=-1)
    return order


def _compared(
    config: WindowsConfig, layer: Layer, arrays: dict[str, np.ndarray]
) -> list[Comparison]:
    tokens, channels = int(arrays["tokens"]), int(arrays["channels"])
    *seconds, exact_seconds = arrays["seconds"]
    *values, exact = arrays["values"]
    matchers = config.smaller(tokens)
    return [
        Comparison(
            *(layer, tokens, channels, matcher),
            number(median_interval(own / exact_seconds)),
            float(np.median(own)),
            float(np.median(exact_seconds)),
            _share(value, exact, arrays.get("photographs"), config.seed),
        )
        for matcher, own, value in zip(matchers, seconds, values, strict=True)
    ]


def _share(
    value: Float[np.ndarray, " n"],
    exact: Float[np.ndarray, " n"],
    photographs: Int[np.ndarray, "2 n"] | None,
    seed: int,
) -> Number:
    """The median share of the exact value, over the pairs where that is positive."""
    # Centered tokens of two images can be opposite wherever they are put.
    positive = exact > 0
    if not positive.any():
        return Number(np.nan)
    share = value[positive] / exact[positive]
    if photographs is not None:
        left, right = photographs[:, positive]
        return median_over_pairs(share, left, right, seed)
    return number(median_interval(share))


def rows(result: Results) -> list[dict[str, Any]]:
    """One row for each matcher at each layer."""
    return [
        {
            "network": at.layer.network.name,
            "side": at.layer.side,
            "tokens": at.tokens,
            "channels": at.channels,
            "window": at.matcher.window,
            "sweeps": at.matcher.sweeps,
            **_ratio_columns("time", at.ratio),
            "ms a pair": 1e3 * at.seconds,
            "ms a pair, exact": 1e3 * at.exact_seconds,
            **_ratio_columns("value", at.quality),
        }
        for at in result.entries
    ]


def _ratio_columns(what: str, ratio: Number) -> dict[str, float]:
    names = (f"{what} / exact {what}", f"{what} ratio, low", f"{what} ratio, high")
    return dict(zip(names, ratio, strict=True))


def summary(result: Results) -> dict[str, Any]:
    """At each layer: the fastest approximation that is good, and the paper's window.

    It must be faster than exact matching, with its whole interval.
    """
    answers: dict[str, Any] = {}
    fastest = f"fastest with {100 * result.config.good:g} % of the exact value"
    for (network, tokens), entries in grouped(result.entries, _place).items():
        good = [at for at in entries if at.quality.value >= result.config.good]
        faster = [at for at in good if at.ratio.high < 1]
        best = min(faster, key=lambda at: at.ratio.value, default=None)
        name = f"{network}, S={tokens}"
        matcher, ratio = (_label(best.matcher), best.ratio) if best else ("exact", 1.0)
        answers[f"{name}: {fastest}"] = matcher
        answers[f"{name}: its time / exact time"] = ratio
        for at in entries:
            if at.matcher == BatchOptimal(512):
                answers[f"{name}: window 512, value / exact value"] = at.quality
                answers[f"{name}: window 512, time / exact time"] = at.ratio
    return answers


def _place(at: Comparison) -> tuple[str, int]:
    """The network and the number of tokens."""
    return at.layer.network.name, at.tokens


def _label(matcher: BatchOptimal) -> str:
    refined = f", {matcher.sweeps} sweeps" if matcher.sweeps else ""
    return f"window {matcher.window}{refined}"


def draw(result: Results) -> "Figure":
    """Time against quality, a row of panels a network, a column a number of tokens."""
    layers = grouped(result.entries, _place)
    networks = grouped(layers.items(), lambda layer: layer[0][0])
    columns = max(map(len, networks.values()))
    lowest = min(at.quality.value for at in result.entries)
    with styled_figure((2.9 * columns, 2.6 * len(networks))) as figure:
        panels = figure.subplots(len(networks), columns, squeeze=False)
        for line, (network, own) in zip(panels, networks.items(), strict=True):
            for ax in line[len(own) :]:
                ax.set_axis_off()
            for ax, ((_, tokens), entries) in zip(line, own, strict=False):
                plot_pareto(
                    _points(entries),
                    ax,
                    lowest=1 - 1.3 * (1 - lowest),
                    title=f"{network}, S={tokens}",
                    label="time / exact time",
                    unit=1.0,
                    legend=ax is panels[0][0],
                )
    return figure


def _points(entries: list[Comparison]) -> dict[str, Points]:
    groups: dict[str, Points] = {"windows": {}, "windows, 4 sweeps": {}}
    for at in entries:
        group = groups["windows, 4 sweeps" if at.matcher.sweeps else "windows"]
        group[str(at.matcher.window)] = (at.ratio.value, at.quality.value)
    return {**groups, "exact": {"exact": (1.0, 1.0)}}
