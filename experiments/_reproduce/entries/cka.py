"""Appendix G, Fig. 15 to 17 on the page."""

from collections.abc import Iterator, Mapping
from typing import Any

from experiments._reproduce.entry import Comparison, Document, Entry, FromStudy
from experiments._reproduce.paper import (
    CKA_CHANGE_ACROSS_MODELS,
    CKA_CHANGE_TINY_IMAGENET,
)
from experiments._reproduce.words import interval, number


def _load() -> FromStudy:
    from experiments.cka import STUDY

    return FromStudy(STUDY)


def _compare(document: Document) -> list[Comparison]:
    summary = document["summary"]
    return [*_kinds(summary), *_changes(summary)]


def _kinds(summary: Mapping[str, Any]) -> Iterator[Comparison]:
    ending = ": CKA of both kinds of RSMs, first layer"
    for name, first in summary.items():
        if name.endswith(ending):
            where = name.removesuffix(ending)
            last = summary[f"{where}: CKA of both kinds of RSMs, last layer"]
            yield Comparison(
                f"{where}: semantic and spatio-semantic RSMs of the same tokens "
                "differ, most in early layers of many tokens",
                "CKA below 1, rising with depth",
                "Fig. 15",
                f"CKA {interval(first)} in the first layer, {interval(last)} in the "
                "last",
                first["value"] < last["value"],
                "the two intervals overlap: neither a rise nor a fall is shown."
                if last["high"] >= first["low"]
                else "these networks are shallow, and their last layers still say "
                "where things stand.",
            )


def _changes(summary: Mapping[str, Any]) -> Iterator[Comparison]:
    for name, mean in summary.items():
        if not name.endswith(", mean"):
            continue
        what = name.removesuffix(", mean")
        low, high = summary[f"{what}, smallest"], summary[f"{what}, largest"]
        # What is held against the paper's is by the paper's estimator.
        biased = summary[f"{what}, mean, biased estimator"]
        ours = (
            f"mean {number(biased)} by the paper's estimator; unbiased {number(mean)}, "
            f"from {number(low)} to {number(high)}"
        )
        if "between layers" in what:
            least, most = CKA_CHANGE_TINY_IMAGENET
            yield Comparison(
                f"{what}: modest, up or down by the layers",
                f"from {least} to {most} on Tiny-ImageNet",
                "Appendix G.2, Fig. 16",
                ours,
                least <= low and high <= most,
                "the change is larger here.",
            )
        else:
            least, most = CKA_CHANGE_ACROSS_MODELS
            yield Comparison(
                f"{what}: mostly down, so that networks look less alike",
                f"mostly negative, from {least} to {most}",
                "Appendix G.2, Fig. 17",
                ours,
                biased < 0,
                "matching changes most where a first layer stands beside a later one: "
                "what the first one says of places, the later one no longer does.",
            )


ENTRY = Entry(
    name="cka",
    title="How alike are layers and networks?",
    question="Does comparing layers and networks with each other (CKA) say something "
    "else if tokens are matched?",
    load=_load,
    compare=_compare,
    differs={
        "bundled": "The networks are small ones trained here from several seeds and of "
        "several depths, on composed scenes; the paper has ResNets trained on "
        "CIFAR-100, Tiny-ImageNet and ImageNet. CKA is estimated without bias here; "
        "the table of the experiment has the paper's estimator too.",
        "smoke": "Everything is tiny: the numbers mean nothing.",
    },
    captions={
        "": "CKA of semantic with spatio-semantic RSMs of the same tokens.",
        "within": "CKA between the layers of a network, by both kinds of RSM, and the "
        "difference.",
        "across": "CKA between networks of different seeds and depths.",
    },
    minutes={"bundled": 3, "smoke": 0.4},
)
