"""Section 4.2, Tables 2 and 3 on the page."""

from collections.abc import Iterator, Mapping
from statistics import mean
from typing import Any

from experiments._reproduce.entry import Comparison, Document, Entry, FromStudy
from experiments._reproduce.paper import EGOOBJECTS_F1
from experiments._reproduce.words import how_many, interval, number, value

_GAIN = "gain by permutation invariance"
_HUBS = "queries answered by 1 % of the database"


def _load() -> FromStudy:
    from experiments.retrieval import STUDY

    return FromStudy(STUDY)


def _compare(document: Document) -> list[Comparison]:
    summary = document["summary"]
    gains = {
        name.split(", ", 1)[1].removesuffix(f": {_GAIN}"): found
        for name, found in summary.items()
        if name.endswith(f": {_GAIN}")
    }
    return [
        *_by_kernel(summary, gains),
        *_by_size(document["rows"]),
        *(
            Comparison(f"all networks and layers: {name}", "", "", str(found), None)
            for name, found in summary.items()
            if name.startswith("gains with an interval above 0")
        ),
        *(
            Comparison(
                f"{name.partition(', ')[2]}, a classical descriptor of the same tokens",
                "left open",
                "section 5",
                value(found),
                None,
            )
            for name, found in summary.items()
            if " over " in name
        ),
    ]


def _by_kernel(
    summary: Mapping[str, Any], gains: Mapping[str, Mapping[str, float]]
) -> Iterator[Comparison]:
    table = EGOOBJECTS_F1[5000]
    for kernel in next(iter(table.values())):
        here = {n: g for n, g in gains.items() if n.endswith(f", {kernel}")}
        theirs = [kernels[kernel].gain for kernels in table.values()]
        missed = [name for name, gain in here.items() if gain["low"] <= 0]
        yield Comparison(
            f"{kernel} similarity: matching finds images with more of the same objects "
            "(gain in F1 of the most similar image)",
            f"gain in {how_many(g > 0 for g in theirs)} networks, "
            f"{number(min(theirs))} to {number(max(theirs))}",
            "Table 2, Fig. 3, 5,000 images",
            "; ".join(
                f"{name.partition(',')[0]} {interval(gain)}"
                for name, gain in here.items()
            ),
            not missed,
            f"the interval of {', '.join(missed)} includes zero or is below it. Some "
            "images are found whatever is asked, and matching may make them more: "
            f"{_hubs(summary, missed)}.",
        )


def _hubs(summary: Mapping[str, Any], names: list[str]) -> str:
    """How much is found among few images, without and with matching."""
    said = []
    for name in names:
        network = name.partition(", ")[0]
        for each in dict.fromkeys((name, f"{network}, cosine")):
            shares = [v for k, v in summary.items() if k.startswith(f"{each}: {_HUBS}")]
            said.append(f"{each} {' to '.join(f'{share:.0%}' for share in shares)}")
    return f"{_HUBS}, without and with matching: {'; '.join(said)}"


def _by_size(rows: list[Mapping[str, Any]]) -> Iterator[Comparison]:
    """How the gain changes with the size of the database."""
    gains: dict[int, list[float]] = {}
    for row in rows:
        if row["k"] == 1 and row[_GAIN] is not None:
            gains.setdefault(row["database"], []).append(row[_GAIN])
    if len(gains) < 2:
        return
    theirs = [
        mean(pair.gain for kernels in table.values() for pair in kernels.values())
        for table in EGOOBJECTS_F1.values()
    ]
    ours = [mean(gains[size]) for size in sorted(gains)]
    yield Comparison(
        "the gain is smaller in larger databases, where an image is likelier to match "
        "as it stands",
        f"mean gain {', '.join(map(number, theirs))} in 2,500, 5,000 and 10,000 images",
        "Table 2",
        f"mean gain {', '.join(map(number, ours))} in "
        f"{', '.join(map(str, sorted(gains)))} images",
        ours[-1] < ours[0],
        "these databases are small, and differ less in size.",
    )


ENTRY = Entry(
    name="retrieval",
    title="Finding images that show the same",
    question="Are images that show the same objects found better if tokens are "
    "matched?",
    load=_load,
    compare=_compare,
    differs={
        "bundled": "The images are scenes composed here of photographs' parts and "
        "handwritten digits, seen from several views, and the networks small ones that "
        "were trained here on such scenes; the paper has frames of EgoObjects and five "
        "large public networks. As there, images of the query's own video may not be "
        "retrieved, and others of the same scene may; the stricter protocol leaves out "
        "the whole scene.",
        "smoke": "Everything is tiny: the numbers mean nothing.",
    },
    captions={
        "": "F1 of the most similar image, by network, kernel and protocol, with "
        "classical descriptors beside.",
        "sizes": "F1 by the size of the database, and the gain by matching.",
        "gallery": "What is retrieved without and with matching, for some queries.",
    },
    minutes={"bundled": 4, "smoke": 0.4},
)
