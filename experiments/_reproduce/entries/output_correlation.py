"""Section 4.3 and Appendix E, Tables 1 and 4 on the page."""

from collections.abc import Mapping, Sequence
from typing import Any

from experiments._output_correlation.paper import KERNELS, TABLE_1, TABLE_4
from experiments._reproduce.entry import Comparison, Document, Entry, FromStudy
from experiments._reproduce.words import listed

_METRICS = {
    "pearson": ("Pearson correlation", TABLE_1, "Table 1"),
    "spearman": ("Spearman's rank correlation", TABLE_4["spearman"], "Table 4"),
}


def _load() -> FromStudy:
    from experiments.output_correlation import STUDY

    return FromStudy(STUDY)


def _compare(document: Document) -> list[Comparison]:
    summary = document["summary"]
    networks = summary["networks"]
    found = []
    for metric, (name, table, source) in _METRICS.items():
        for column, kernel in enumerate(KERNELS):
            pairs = [row[2 * column : 2 * column + 2] for row in table.values()]
            theirs = sum(after < before for before, after in pairs)
            what = f"{metric.capitalize()}, {kernel}"
            ours = summary[f"{what}: networks where matching makes it more negative"]
            sure = summary[f"{what}: of these with an interval below 0"]
            against = summary[f"{what}: networks with an interval above 0"]
            found.append(
                Comparison(
                    f"{kernel} similarity, {name}: matching makes it more negative, "
                    "so that similar tokens say better which answers are similar",
                    f"in {theirs} of {len(pairs)} networks",
                    source,
                    f"in {ours} of {networks} networks ({sure} with an interval below "
                    f"zero, {against} above); " + _numbers(document, metric, kernel),
                    # Both in most networks, or neither.
                    (2 * ours > networks) == (2 * theirs > len(pairs)),
                    "these classifiers answer by the mean of their tokens, whose "
                    f"similarity alone gives {_listed(document, metric, kernel)}. "
                    "Where position by position is that near already, there is little "
                    "left to be found; and tokens that are matched may be alike in "
                    "what their mean does not show.",
                )
            )
    return found


def _numbers(document: Document, metric: str, kernel: str) -> str:
    before, after = (
        _listed(document, metric, kernel, key)
        for key in ("spatio_semantic", "semantic")
    )
    return f"from {before} to {after}"


def _listed(document: Document, metric: str, kernel: str, key: str = "pooled") -> str:
    """A correlation of every network, in their order."""
    rows: Sequence[Mapping[str, Any]] = document["rows"]
    return listed(
        row[key] for row in rows if (row["metric"], row["kernel"]) == (metric, kernel)
    )


ENTRY = Entry(
    name="output_correlation",
    title="Do similar tokens mean similar answers?",
    question="Does a network answer alike where its tokens are alike, and does "
    "matching show that better?",
    load=_load,
    compare=_compare,
    differs={
        "bundled": "Five small classifiers trained here name the photograph behind "
        "composed scenes; the paper has seven public classifiers on 2,000 (Table 1) "
        "and 20,000 (Table 4) images of ImageNet. How different two answers are is the "
        "Jensen-Shannon divergence of the class probabilities in both.",
        "smoke": "Everything is tiny: the numbers mean nothing.",
    },
    captions={
        "": "Pearson correlation with the divergence of the answers, by network and "
        "kernel, with 95 % intervals.",
        "spearman": "The same with Spearman's rank correlation.",
        "pairs": "Similarity and divergence of single pairs of images.",
    },
    minutes={"bundled": 3, "smoke": 0.4},
)
