"""Does similarity of representations predict similarity of outputs? Section 4.3.

    python -m experiments.output_correlation                  # minutes, 2 quiet cores
    python -m experiments.output_correlation --scale smoke    # everything tiny, seconds
    python -m experiments.output_correlation --scale paper --data imagenet

It needs matplotlib and scikit-image, and writes output_correlation.json, .csv and its
figures to results/output_correlation. Five classifiers that come with the repository
name the photograph behind composed scenes. For every two scenes the Jensen-Shannon
divergence (JSD) of the class probabilities is compared with the similarity of the
tokens of the last hidden layer: position by position (spatio-semantic) and with the
tokens matched (semantic, permutation invariant), under three kernels; that of the mean
tokens, by which most classifiers answer, stands beside. The better a
similarity predicts which outputs are alike, the more negative its correlation with the
JSD. Intervals are 95 % and resample images, not pairs; differences are paired.

Expected of `bundled`: matching makes Pearson's correlation more negative in five of
five networks by RBF (in three with an interval below zero), but in one of five by
cosine and by inner product, where both ResNets lose 0.09 to 0.10. The mean token, which
these networks answer by, is the best predictor for three of them.

`paper` repeats Table 1 with the seven published classifiers on 2,000 images of
ImageNet, `paper-table4` Table 4 on 20,000. Tokens and matchings are kept on the disk
(30 GB for DinoV2-Giant at 20,000 images) and resumed; --cluster matches on a cluster.
"""

from collections.abc import Callable
from dataclasses import replace
from typing import TYPE_CHECKING, Any, NamedTuple

from experiments._common.session import Session
from experiments._common.study import Study, command
from experiments._output_correlation.classifiers import OnImageNet, OnScenes
from experiments._output_correlation.config import OutputCorrelationConfig
from experiments._output_correlation.figures import draw_correlations, draw_pairs
from experiments._output_correlation.measure import METRICS, OfNetwork, measure
from experiments._output_correlation.paper import TABLE_1, published
from experiments.data.imagenet import IMAGENET
from semrsm_jax._kernels import RBF

if TYPE_CHECKING:
    from matplotlib.figure import Figure

_PAPER = OutputCorrelationConfig(
    OnImageNet(), networks=tuple(TABLE_1), samples=2000, rbf=RBF("official")
)
SCALES = {
    "bundled": OutputCorrelationConfig(
        OnScenes(),
        networks=("resnet-10", "resnet-18", "convnext", "vit-2", "vit-4"),
        samples=240,
    ),
    "smoke": OutputCorrelationConfig(
        OnScenes(), networks=("resnet-10", "vit-2"), samples=12, resamples=40
    ),
    "paper": _PAPER,
    "paper-table4": replace(_PAPER, samples=20_000),
}


class Result(NamedTuple):
    """What was found for each network, in the order of the config."""

    config: OutputCorrelationConfig
    networks: dict[str, OfNetwork]


def run(config: OutputCorrelationConfig, session: Session = Session()) -> Result:
    """Asks every network."""
    networks = {}
    for done, network in enumerate(config.networks):
        session.report("Networks", done, len(config.networks))
        networks[network] = measure(config, network, session)
    session.report("Networks", len(config.networks), len(config.networks))
    return Result(config, networks)


def rows(result: Result) -> list[dict[str, Any]]:
    """A row for each network, kernel and metric, with the paper's numbers if any."""
    table = []
    for name, network in result.networks.items():
        for kernel, metrics in network.correlations.items():
            for metric, found in metrics.items():
                theirs = published(metric, name, kernel, result.config.samples)
                row = {
                    "network": network.title,
                    "kernel": kernel,
                    "metric": metric,
                    "images": result.config.samples,
                    "accuracy": network.accuracy,
                }
                for key, interval in found._asdict().items():
                    row |= dict(
                        zip((key, f"{key} low", f"{key} high"), interval, strict=True)
                    )
                row |= zip(
                    ("paper spatio_semantic", "paper semantic"), theirs, strict=True
                )
                table.append(row)
    return table


def summary(result: Result) -> dict[str, Any]:
    """How many networks' outputs are predicted better by the semantic similarity."""
    found: dict[str, Any] = {
        "networks": len(result.networks),
        "images": result.config.samples,
    }
    for metric in METRICS:
        for kernel in result.config.kernels:
            each = [n.correlations[kernel][metric] for n in result.networks.values()]
            what = f"{metric.capitalize()}, {kernel}"
            found[f"{what}: networks where matching makes it more negative"] = sum(
                c.difference.value < 0 for c in each
            )
            found[f"{what}: of these with an interval below 0"] = sum(
                c.difference.high < 0 for c in each
            )
            found[f"{what}: networks with an interval above 0"] = sum(
                c.difference.low > 0 for c in each
            )
    return found


def _drawer(metric: str) -> "Callable[[Result], Figure]":
    return lambda result: draw_correlations(list(result.networks.values()), metric)


STUDY = Study(
    name="output_correlation",
    doc=__doc__ or "",
    scales=SCALES,
    run=run,
    summary=summary,
    rows=rows,
    figures={
        "": _drawer("pearson"),
        "spearman": _drawer("spearman"),
        "pairs": lambda result: draw_pairs(list(result.networks.values()), "cosine"),
    },
    needs={"matplotlib": "matplotlib", "skimage": "scikit-image"},
    data=IMAGENET.help,
)
app = command(STUDY)

if __name__ == "__main__":
    app()
