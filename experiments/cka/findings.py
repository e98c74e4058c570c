"""Appendix G: what the paper reports, and what was measured here."""

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import numpy as np
from jaxtyping import Float

from experiments.cka.compare import ACROSS, DIFFERENCE, KINDS, WITHIN, Comparison
from experiments.frame.finding import Finding, Number, Quantity, Section, verdict

# Appendix G.2: how far CKA changes at most where semantic RSMs replace the others.
_CHANGE_TINY_IMAGENET = (-0.2, 0.2)
_CHANGE_ACROSS_MODELS = (-0.175, 0.025)
_WHERE = {WITHIN: "between layers", ACROSS: "across networks"}
_PLACES = {WITHIN: "two layers", ACROSS: "layer"}


def rows(comparisons: Sequence[Comparison]) -> list[dict[str, Any]]:
    """A row for each cell of each matrix."""
    return [
        {
            "images": each.part,
            "comparison": each.what,
            "network": each.titles[0],
            "other network": each.titles[1],
            "averaged over": len(each.networks),
            "kernel": each.kernel,
            "RSMs": kind,
            "accuracy": each.accuracy[0],
            "other accuracy": each.accuracy[1],
            "layer": each.rows[row],
            "other layer": each.columns[column],
            "tokens": each.tokens[0][row],
            "other tokens": each.tokens[1][column],
            "CKA": float(value),
            "CKA, biased": float(estimates["biased"][row, column]),
        }
        for each in comparisons
        for kind, estimates in each.cka.items()
        for (row, column), value in np.ndenumerate(estimates["unbiased"])
    ]


def summary(comparisons: Sequence[Comparison]) -> dict[str, Any]:
    """First and last layers of both kinds of RSMs, and what changes in CKA."""
    entries: dict[str, Any] = {}
    for each in comparisons:
        if each.what == KINDS:
            what = f"{_title(each)}, {each.kernel}: CKA of both kinds of RSMs"
            first, last = _ends(each)
            entries |= {f"{what}, first layer": first, f"{what}, last layer": last}
            continue
        what = f"{_title(each)}: {_change_name(each)}"
        change = _changes(each, "unbiased")
        entries |= {
            f"{what}, mean": float(change.mean()),
            f"{what}, smallest": float(change.min()),
            f"{what}, largest": float(change.max()),
            f"{what}, mean, biased estimator": float(_changes(each, "biased").mean()),
        }
        for place, interval in zip(("first", "last"), _ends(each), strict=False):
            entries[f"{what}, {place} {_PLACES[each.what]}"] = interval
    return entries


def findings(comparisons: Sequence[Comparison]) -> Iterator[Finding]:
    """Both kinds of RSMs of a network, then the changes of CKA."""
    for each in comparisons:
        if each.what == KINDS:
            yield _of_kinds(each)
    for each in comparisons:
        if each.what != KINDS:
            yield _of_changes(each)


def _of_kinds(each: Comparison) -> Finding:
    first, last = _ends(each)
    reason = "these networks are shallow, and their last layers still encode position."
    if last.high >= first.low:
        reason = "the two intervals overlap: neither a rise nor a fall is shown."
    return Finding(
        f"{_title(each)}, {each.kernel}: semantic and spatio-semantic RSMs of the same "
        "tokens differ, most in early layers of many tokens",
        "Fig. 15",
        (Quantity("CKA below 1, rising with depth"),),
        (
            Quantity("CKA", [first], "in the first layer"),
            Quantity("", [last], "in the last"),
        ),
        verdict(first.value < last.value),
        reason,
    )


def _of_changes(each: Comparison) -> Finding:
    name = f"{_title(each)}: {_change_name(each)}"
    change = _changes(each, "unbiased")
    # The estimator that the paper's numbers are by.
    biased = float(_changes(each, "biased").mean())
    ours = (
        Quantity("mean", [biased], "by the paper's estimator"),
        Quantity("unbiased", [float(change.mean())]),
        Quantity("smallest and largest", [float(change.min()), float(change.max())]),
    )
    if each.what == WITHIN:
        low, high = _CHANGE_TINY_IMAGENET
        return Finding(
            f"{name}: modest, up or down by the layers",
            "Appendix G.2, Fig. 16",
            (Quantity("smallest and largest", [low, high], "on Tiny-ImageNet"),),
            ours,
            verdict(bool(low <= change.min() and change.max() <= high)),
            "the change is larger here.",
        )
    return Finding(
        f"{name}: mostly down, so that networks look less alike",
        "Appendix G.2, Fig. 17",
        (
            Quantity("mostly negative"),
            Quantity("smallest and largest", _CHANGE_ACROSS_MODELS),
        ),
        ours,
        verdict(biased < 0),
        "matching changes most where a first layer stands beside a later one: what the "
        "first one encodes of places, the later one no longer does.",
    )


def _title(each: Comparison) -> str:
    return f"{each.part}, {' with '.join(dict.fromkeys(each.titles))}"


def _change_name(each: Comparison) -> str:
    return f"change of CKA {_WHERE[each.what]} by matching"


def _changes(each: Comparison, estimator: str) -> Float[np.ndarray, " cells"]:
    """The differences of all cells that matching may change."""
    change = each.cka[DIFFERENCE][estimator]
    if each.what == ACROSS:
        return change.ravel()
    # A layer always has CKA 1 with itself.
    return change[~np.eye(len(change), dtype=bool)]


def _ends(each: Comparison) -> list[Any]:
    """The intervals of the first networks, at the first and the last of their layers.

    None where no cell has an interval.
    """
    intervals: Mapping[tuple[int, int], Number] = each.intervals[each.networks[0]]
    values = list(intervals.values())
    return [values[0], values[-1]] if values else []


SECTION = Section(
    title="How alike are layers and networks?",
    question="Does comparing layers and networks with each other (CKA) say something "
    "else if tokens are matched?",
    differs={
        "bundled": "The networks are small ones trained here from several seeds and of "
        "several depths, on composed scenes; the paper has ResNets trained on "
        "CIFAR-100, Tiny-ImageNet and ImageNet. CKA is estimated without bias here; "
        "the table of the experiment has the paper's estimator too.",
        "smoke": "Everything is tiny: the numbers mean nothing.",
        "pretrained": "The networks are EfficientNet-Lite 0 to 2, trained on ImageNet "
        "once each, of two depths, three widths and three sizes of images, and the "
        "images are crops of photographs, several of each; the paper has ResNets and "
        "whole data sets. Only pairs of different photographs count where CKA is "
        "estimated without bias, and intervals resample photographs.",
    },
    captions={
        "": "CKA of semantic with spatio-semantic RSMs of the same tokens.",
        "within": "CKA between the layers of a network, by both kinds of RSM, and the "
        "difference.",
        "across": "CKA between networks of different seeds and depths.",
    },
    minutes={"bundled": 3, "smoke": 0.4, "pretrained": 2.5},
)
