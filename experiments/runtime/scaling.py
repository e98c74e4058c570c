"""Refined Batch-Optimal on one core: its time against S, and how near it comes."""

from typing import Any

import jax.numpy as jnp
import numpy as np

from experiments._common.timing import take_turns
from experiments._common.worker import Report
from experiments.runtime.config import Layer, RuntimeConfig
from experiments.runtime.features import Features, pairs
from semrsm_jax import BatchOptimal, Exact, center, match


def layers(config: RuntimeConfig) -> tuple[Layer, ...]:
    """The features that `run` needs: one stage, of smaller and larger images."""
    return (*config.scaling, config.quality)


def run(config: RuntimeConfig, features: Features, report: Report) -> dict[str, Any]:
    """The exponent of time against S, and shares of the optimum."""
    return {
        **_exponent(config, features, report),
        "quality_tokens": features[config.quality].shape[1],
        "quality": _quality(config, features[config.quality], report, "quality"),
        "centred_quality": _quality(
            config,
            np.asarray(center(features[config.quality])),
            report,
            "quality, centred",
        ),
    }


def _exponent(
    config: RuntimeConfig, features: Features, report: Report
) -> dict[str, Any]:
    matcher = BatchOptimal(config.refined_window, config.sweeps[0])
    sides = {
        features[layer].shape[1]: [
            jnp.asarray(side[0]) for side in pairs(features[layer], 1, config.seed)
        ]
        for layer in config.scaling
    }
    calls = {
        str(tokens): lambda number, pair=pair: match(*pair, matcher=matcher)
        for tokens, pair in sides.items()
    }
    for call in calls.values():
        call(0)
    turns = take_turns(calls, config.scaling_rounds, report, "scaling")
    seconds = {name: turns.median(name) for name in calls}
    slope = np.polyfit(np.log(list(sides)), np.log(list(seconds.values())), 1)[0]
    return {
        "window": config.refined_window,
        "sweeps": config.sweeps[0],
        "images": [layer.side for layer in config.scaling],
        "seconds": seconds,
        "exponent": float(slope),
    }


def _quality(
    config: RuntimeConfig, features: np.ndarray, report: Report, description: str
) -> dict[str, float]:
    """Shares of the optimum by the number of sweeps, of the sums over all pairs.

    Centred, the optimum of a single pair may lie near zero.
    """
    values = dict.fromkeys((0, *config.sweeps), 0.0)
    optimum = 0.0
    sides = zip(*pairs(features, config.quality_pairs, config.seed), strict=True)
    # One pair at a time: the affinities of all would be held together otherwise.
    for done, (x, y) in enumerate(sides):
        optimum += float(match(x, y, matcher=Exact()).value)
        for sweeps in values:
            matcher = BatchOptimal(config.refined_window, sweeps)
            values[sweeps] += float(match(x, y, matcher=matcher).value)
        report(f"scaling: {description}", done + 1, config.quality_pairs)
    return {str(sweeps): value / optimum for sweeps, value in values.items()}
