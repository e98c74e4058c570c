"""How well similarities predict divergences, with intervals over images, paired."""

from collections.abc import Mapping
from functools import partial
from typing import Any, NamedTuple

import numpy as np
from jaxtyping import Float

from experiments.data.draw import Draw
from experiments.data.photographs import between_photographs
from experiments.data.shown import Shown, mean_tokens
from experiments.frame.finding import Number, number
from experiments.frame.session import Session
from experiments.frame.worker import track
from experiments.output_correlation.classifiers import title
from experiments.output_correlation.config import OutputCorrelationConfig
from semrsm_jax import RSA, Identity, Kernel, bootstrap_interval, difference_test
from semrsm_jax.output_similarity import jensen_shannon_matrix, output_correlation
from semrsm_jax.store import RunStore, open_similarity

METRICS = ("pearson", "spearman")
_DRAWN = 200  # images whose pairs are kept for the figure


class Correlations(NamedTuple):
    """Of one network, kernel and metric; negative is as it should be.

    Attributes:
      spatio_semantic: correlation of the similarities position by position with the
        divergences, over pairs.
      semantic: correlation of the similarities with tokens matched.
      pooled: correlation of the similarities of the mean tokens alone, by which most
        classifiers answer.
      difference: semantic less spatio-semantic, of the same images.
    """

    spatio_semantic: Number
    semantic: Number
    pooled: Number
    difference: Number


class Pairs(NamedTuple):
    """Some pairs of images: what a figure shows.

    Attributes:
      spatio_semantic: similarity, position by position.
      semantic: similarity, tokens matched.
      divergence: Jensen-Shannon divergence of the outputs, in nats.
    """

    spatio_semantic: Float[np.ndarray, " n"]
    semantic: Float[np.ndarray, " n"]
    divergence: Float[np.ndarray, " n"]


class NetworkCorrelations(NamedTuple):
    """The correlations of one network.

    Attributes:
      title: what figures call it.
      accuracy: share of the images whose class it names; NaN where none is known.
      correlations: name of the kernel -> of the metric -> correlations.
      pairs: name of the kernel -> some pairs.
    """

    title: str
    accuracy: float
    correlations: Mapping[str, Mapping[str, Correlations]]
    pairs: Mapping[str, Pairs]


class Result(NamedTuple):
    """The correlations of each network, in the order of the config."""

    config: OutputCorrelationConfig
    networks: dict[str, NetworkCorrelations]


def run(config: OutputCorrelationConfig, session: Session = Session()) -> Result:
    """Correlates the similarities of every network with its outputs."""
    networks = track(session.report, "Networks", config.networks)
    return Result(config, {name: measure(config, name, session) for name in networks})


def measure(
    config: OutputCorrelationConfig, network: str, session: Session
) -> NetworkCorrelations:
    """Correlates both similarities of a network with its outputs, for every kernel.

    A kernel is a step, and so is the network as a whole: where all is done, neither its
    images nor its tokens are touched.
    """

    def compute() -> dict[str, Any]:
        draw = Draw(config.samples, config.seed, config.data)
        look = config.classifiers.look
        answers = look(f"{network}/answers", network, draw, session)
        (tokens,) = answers.tokens.values()
        arrays: dict[str, Any] = {"accuracy": answers.accuracy}
        stores = [
            session.run(f"{network}/{name}", x, None, matcher, "channel")
            for name, x, matcher in (
                ("spatio-semantic", tokens, Identity()),
                ("semantic", tokens, config.matcher),
                ("pooled", mean_tokens(tokens).astype(np.float32), Identity()),
            )
        ]
        kernels = list(config.kernels.items())
        for name, kernel in track(session.report, f"Correlating {network}", kernels):
            step = partial(_compared, config, answers, stores, kernel)
            part = session.step(f"{network}/{name}", step)
            arrays |= {f"{name}/{key}": value for key, value in part.items()}
        return arrays

    stored = session.step(f"{network}/correlations", compute)
    return NetworkCorrelations(
        title(network),
        float(stored["accuracy"]),
        {
            name: {
                metric: Correlations(
                    *(Number(*map(float, v)) for v in stored[f"{name}/{metric}"])
                )
                for metric in METRICS
            }
            for name in config.kernels
        },
        {name: Pairs(*stored[f"{name}/pairs"]) for name in config.kernels},
    )


def _compared(
    config: OutputCorrelationConfig,
    answers: Shown,
    stores: list[RunStore],
    kernel: Kernel,
) -> dict[str, np.ndarray]:
    """Each metric's four intervals (4, 3) as `Correlations` has them, and pairs.

    Where images come in groups, only pairs of different groups count, and the intervals
    resample groups of all images.
    """
    rsms = [open_similarity(store.path, kernel) for store in stores]
    grouped = answers.groups is not None
    all_images = (
        []
        if grouped
        else [output_correlation(K, answers.logits, from_logits=True) for K in rsms]
    )
    most = config.samples if grouped else config.interval_samples
    chosen = _some(config.samples, most, config.seed)
    share = len(chosen) / config.samples
    divergence = np.asarray(
        jensen_shannon_matrix(answers.logits[chosen], from_logits=True)
    )
    parts = [K[chosen][:, chosen] for K in rsms]
    spatial, semantic, _ = parts
    settings: Any = {"key": config.seed, "resamples": config.resamples}
    settings |= between_photographs(answers.groups)
    intervals = {}
    for metric in METRICS:
        statistic = RSA(metric)
        of_each = [
            bootstrap_interval(K, divergence, statistic, **settings) for K in parts
        ]
        values = [
            *(float(getattr(each, metric)) for each in all_images),
            *(float(interval.estimate) for interval in of_each),
        ][: len(parts)]
        test = difference_test(
            (semantic, divergence), (spatial, divergence), statistic, **settings
        )
        scaled = [
            *(i.scaled(value, share) for i, value in zip(of_each, values, strict=True)),
            test.interval.scaled(values[1] - values[0], share),
        ]
        intervals[metric] = np.array([number(interval) for interval in scaled])
    return {**intervals, "pairs": _pairs(parts[:2], divergence, answers.groups)}


def _pairs(
    parts: list[np.ndarray], divergence: np.ndarray, groups: np.ndarray | None
) -> np.ndarray:
    """Similarities and divergence (3, n) of pairs that count, of the first images."""
    places = np.stack(np.triu_indices(min(len(divergence), _DRAWN), 1))
    if groups is not None:
        left, right = groups[places]
        places = places[:, left != right]
    places = tuple(places)
    return np.stack([each[places] for each in (*parts, divergence)]).astype(np.float32)


def _some(count: int, most: int, seed: int) -> np.ndarray:
    """All places, or `most` of them, drawn at random."""
    if count <= most:
        return np.arange(count)
    return np.sort(np.random.default_rng(seed).choice(count, most, replace=False))
