"""How well similarities predict divergences, with intervals over images, paired."""

from collections.abc import Mapping
from typing import Any, NamedTuple

import numpy as np
from jaxtyping import Float

from experiments._common.intervals import Interval
from experiments._common.rsm_intervals import Resampling
from experiments._common.session import Session
from experiments._output_correlation.classifiers import Answers
from experiments._output_correlation.config import OutputCorrelationConfig
from experiments.data.draw import Draw
from semrsm_jax._kernels import Kernel
from semrsm_jax.comparison.inference import RSA
from semrsm_jax.matching import Identity
from semrsm_jax.output_similarity import jensen_shannon_matrix, output_correlation
from semrsm_jax.store import RunStore, open_similarity

METRICS = ("pearson", "spearman")
_POOLED_AT_ONCE = 64  # images
_DRAWN = 200  # images whose pairs are kept for the figure


class Correlations(NamedTuple):
    """Of one network, kernel and metric; negative is as it should be.

    Attributes:
      spatio_semantic: correlation of the similarities position by position with the
        divergences, over pairs.
      semantic: likewise, of the similarities with tokens matched.
      pooled: likewise, of the mean tokens alone, which most classifiers answer by.
      difference: semantic less spatio-semantic, of the same images.
    """

    spatio_semantic: Interval
    semantic: Interval
    pooled: Interval
    difference: Interval


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


class OfNetwork(NamedTuple):
    """What was found for one network.

    Attributes:
      title: what figures call it.
      accuracy: share of the images whose class it names; NaN where none is known.
      correlations: name of the kernel -> of the metric -> what was found.
      pairs: name of the kernel -> some pairs.
    """

    title: str
    accuracy: float
    correlations: Mapping[str, Mapping[str, Correlations]]
    pairs: Mapping[str, Pairs]


def measure(
    config: OutputCorrelationConfig, network: str, session: Session
) -> OfNetwork:
    """Correlates both similarities of a network with its outputs, for every kernel.

    A kernel is a step, and so is the network as a whole: where all is done, neither its
    images nor its tokens are touched.
    """

    def compute() -> dict[str, Any]:
        draw = Draw(config.samples, config.seed, config.data)
        answers = config.classifiers.answers(network, draw, session)
        found: dict[str, Any] = {"accuracy": answers.accuracy}
        stores = [
            session.run(f"{network}/{name}", tokens, None, matcher, "channel")
            for name, tokens, matcher in (
                ("spatio-semantic", answers.tokens, Identity()),
                ("semantic", answers.tokens, config.matcher),
                ("pooled", _mean_tokens(answers.tokens), Identity()),
            )
        ]
        for done, (name, kernel) in enumerate(config.kernels.items()):
            session.report(f"Correlating {network}", done, len(config.kernels))
            part = session.step(
                f"{network}/{name}",
                lambda k=kernel: _compared(config, answers, stores, k),
            )
            found |= {f"{name}/{key}": value for key, value in part.items()}
        session.report(
            f"Correlating {network}", len(config.kernels), len(config.kernels)
        )
        return found

    found = session.step(f"{network}/found", compute)
    return OfNetwork(
        config.classifiers.title(network),
        float(found["accuracy"]),
        {
            name: {
                metric: Correlations(
                    *(Interval(*map(float, v)) for v in found[f"{name}/{metric}"])
                )
                for metric in METRICS
            }
            for name in config.kernels
        },
        {name: Pairs(*found[f"{name}/pairs"]) for name in config.kernels},
    )


def _compared(
    config: OutputCorrelationConfig,
    answers: Answers,
    stores: list[RunStore],
    kernel: Kernel,
) -> dict[str, np.ndarray]:
    """Each metric's four intervals (4, 3) as `Correlations` has them, and pairs."""
    rsms = [open_similarity(store.path, kernel) for store in stores]
    found = [output_correlation(K, answers.logits, from_logits=True) for K in rsms]
    chosen = _some(config.samples, config.interval_samples, config.seed)
    divergence = np.asarray(
        jensen_shannon_matrix(answers.logits[chosen], from_logits=True)
    )
    parts = [K[chosen][:, chosen] for K in rsms]
    spatial, semantic, _ = parts
    resampling = Resampling(config.samples, config.resamples, config.seed)
    intervals = {}
    for metric in METRICS:
        values = [getattr(each, metric) for each in found]
        intervals[metric] = np.array(
            [
                *(
                    resampling.interval(part, divergence, RSA(metric), value)
                    for part, value in zip(parts, values, strict=True)
                ),
                resampling.difference(
                    (semantic, divergence),
                    (spatial, divergence),
                    RSA(metric),
                    values[1] - values[0],
                ),
            ]
        )
    return {**intervals, "pairs": _pairs(parts[:2], divergence)}


def _mean_tokens(tokens: Any) -> Float[np.ndarray, "N 1 C"]:
    """The mean token of each image, of tokens (N, S, C) that may be on the disk."""
    blocks = range(0, len(tokens), _POOLED_AT_ONCE)
    means = [
        np.asarray(tokens[at : at + _POOLED_AT_ONCE], np.float32).mean(1, keepdims=True)
        for at in blocks
    ]
    return np.concatenate(means)


def _pairs(parts: list[np.ndarray], divergence: np.ndarray) -> np.ndarray:
    """Similarities and divergence (3, n) of the pairs of the first images."""
    places = np.triu_indices(min(len(divergence), _DRAWN), 1)
    return np.stack([each[places] for each in (*parts, divergence)]).astype(np.float32)


def _some(count: int, most: int, seed: int) -> np.ndarray:
    """All places, or `most` of them, drawn at random."""
    if count <= most:
        return np.arange(count)
    return np.sort(np.random.default_rng(seed).choice(count, most, replace=False))
