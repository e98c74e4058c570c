"""Section 4.3 and Appendix E: what the paper reports, and what was measured here."""

from collections.abc import Iterator
from itertools import product
from typing import Any

from experiments.frame.finding import Finding, Quantity, Section, count, verdict
from experiments.output_correlation.measure import METRICS, Result
from experiments.output_correlation.paper import KERNELS, published, published_table

_TITLES = {
    "pearson": "Pearson correlation",
    "spearman": "Spearman's rank correlation",
}


def rows(result: Result) -> list[dict[str, Any]]:
    """A row for each network, kernel and metric, with the paper's numbers if any."""
    table = []
    for name, network in result.networks.items():
        for kernel, metrics in network.correlations.items():
            for metric, correlations in metrics.items():
                paper = published(metric, name, kernel, result.config.samples)
                row: dict[str, Any] = {
                    "network": network.title,
                    "kernel": kernel,
                    "metric": metric,
                    "images": result.config.samples,
                    "accuracy": network.accuracy,
                }
                for key, interval in correlations._asdict().items():
                    row |= interval.columns(key, " ")
                row["paper spatio_semantic"], row["paper semantic"] = paper
                table.append(row)
    return table


def summary(result: Result) -> dict[str, Any]:
    """How many networks' outputs are predicted better by the semantic similarity."""
    entries: dict[str, Any] = {
        "networks": len(result.networks),
        "images": result.config.samples,
    }
    for metric, kernel in product(METRICS, result.config.kernels):
        changes = [
            network.correlations[kernel][metric].difference
            for network in result.networks.values()
        ]
        what = f"{metric.capitalize()}, {kernel}"
        more = f"{what}: networks where matching makes it more negative"
        entries[more] = sum(change.value < 0 for change in changes)
        below = f"{what}: of these with an interval below 0"
        entries[below] = sum(change.high < 0 for change in changes)
        above = f"{what}: networks with an interval above 0"
        entries[above] = sum(change.low > 0 for change in changes)
    return entries


def findings(result: Result) -> Iterator[Finding]:
    """Each kernel by each correlation: is it more negative with tokens matched?"""
    for metric, name in _TITLES.items():
        table, source = published_table(metric, result.config.samples)
        for column, kernel in enumerate(KERNELS):
            paper = [
                row[2 * column + 1] < row[2 * column]  # semantic, spatio-semantic
                for row in table.values()
            ]
            each = [n.correlations[kernel][metric] for n in result.networks.values()]
            ours = [c.difference.value < 0 for c in each]
            below = [c.difference.high < 0 for c in each]
            above = [c.difference.low > 0 for c in each]
            before, after, pooled = (
                [getattr(c, field).value for c in each]
                for field in ("spatio_semantic", "semantic", "pooled")
            )
            yield Finding(
                f"{kernel} similarity, {name}: matching makes it more negative, so "
                "that similar tokens better indicate which answers are similar",
                source,
                (count(paper, "networks"),),
                (
                    count(ours, "networks"),
                    Quantity("interval below zero in", [sum(below)], digits=0),
                    Quantity("above zero in", [sum(above)], digits=0),
                    Quantity("without matching", before, digits=2),
                    Quantity("with", after, digits=2),
                ),
                # Both in most networks, or neither.
                verdict((2 * sum(ours) > len(ours)) == (2 * sum(paper) > len(paper))),
                "these classifiers answer by the mean of their tokens, whose "
                f"{Quantity('similarity alone gives', pooled, digits=2)}. Where "
                "position by position is that near already, there is little left to "
                "gain; and tokens that are matched may be alike in what their mean "
                "does not show.",
            )


SECTION = Section(
    title="Do similar tokens mean similar answers?",
    question="Does a network answer alike where its tokens are alike, and does "
    "matching show that better?",
    differs={
        "bundled": "Five small classifiers trained here name the photograph behind "
        "composed scenes; the paper has seven public classifiers on 2,000 (Table 1) "
        "and 20,000 (Table 4) images of ImageNet. How different two answers are is the "
        "Jensen-Shannon divergence of the class probabilities in both.",
        "smoke": "Everything is tiny: the numbers mean nothing.",
        "pretrained": "Three classifiers of ImageNet, EfficientNet-Lite 0 to 2, look "
        "at crops of photographs, several of each; the paper has seven others on 2,000 "
        "(Table 1) and 20,000 (Table 4) images of ImageNet. Only pairs of "
        "different photographs count, and intervals resample photographs.",
    },
    captions={
        "": "Pearson correlation with the divergence of the answers, by network and "
        "kernel, with 95 % intervals.",
        "spearman": "The same with Spearman's rank correlation.",
        "pairs": "Similarity and divergence of single pairs of images.",
    },
    minutes={"bundled": 3, "smoke": 0.4, "pretrained": 2.5},
)
