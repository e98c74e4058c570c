"""The questions that the paper leaves open, a section each on the page."""

from functools import partial

from experiments._reproduce.entry import Comparison, Document, Entry, FromStudy
from experiments._reproduce.words import value

_NOT_ASKED = "left open"
_DIFFERS = {
    "bundled": "The paper did not try this. Networks are small ones trained here, and "
    "images are scenes composed of photographs' parts and handwritten digits, in which "
    "one thing can be changed at a time.",
    "smoke": "Everything is tiny: the numbers mean nothing.",
    "paper": "The paper did not try this. Networks are those of its retrieval and "
    "output experiments; images are composed scenes unless a folder is given.",
}


def _load(question: str) -> FromStudy:
    from experiments.open_questions import STUDIES

    return FromStudy(STUDIES[question])


def _findings(document: Document) -> list[Comparison]:
    """Each number of the summary; the paper has none to set beside it."""
    return [
        Comparison(finding, _NOT_ASKED, "", value(found), None)
        for finding, found in document["summary"].items()
    ]


def _entry(
    question: str,
    title: str,
    asks: str,
    caption: str,
    minutes: float,
) -> Entry:
    return Entry(
        name=f"open_questions_{question}",
        title=title,
        question=asks,
        load=partial(_load, question),
        compare=_findings,
        differs=_DIFFERS,
        captions={"": caption},
        minutes={"bundled": minutes, "smoke": 0.3},
        folder="open_questions",
    )


ENTRIES = (
    _entry(
        "windows",
        "The window of Batch-Optimal",
        "Exact matching is cheap here: when is the paper's approximation still worth "
        "it, and with which window?",
        "Time as a ratio to that of exact matching on the same pairs, against the "
        "share of the exact value: medians, of centred tokens. Numbers are windows; "
        "the grey line joins those that no other beats.",
        1.2,
    ),
    _entry(
        "gain",
        "What the gain in retrieval depends on",
        "How does the gain of semantic over spatio-semantic RSMs change with the scale "
        "and the number of objects, the viewpoint and the resolution?",
        "Gain in F1@1, semantic less spatio-semantic, with 95 % intervals over scenes. "
        "Above, another view of the query's own scene may be found; below, it may not.",
        1,
    ),
    _entry(
        "ablation",
        "Kernel, bandwidth, normalisation, centring",
        "What do both RSMs owe to how tokens are prepared and compared?",
        "Left, F1@1 under every preparation of the tokens and kernel; right, how the "
        "bandwidth of the RBF kernel changes the correlation of similarity with what "
        "two images share.",
        1,
    ),
    _entry(
        "prior",
        "Where the place is the label",
        "Do semantic RSMs lose where the place of objects is what is asked for?",
        "Share of nearest neighbours whose objects stand in the same place, and F1 of "
        "what they show, with 95 % intervals over scenes.",
        0.6,
    ),
    _entry(
        "layers",
        "Which layers transfer",
        "Does the CKA of a layer with a task's labels foretell how well a linear probe "
        "on it solves the task?",
        "Each point is a layer of a network: CKA with the labels by both RSMs, against "
        "the accuracy of the probe, for a task of the training (left) and two others.",
        1.2,
    ),
    _entry(
        "channels",
        "Which channels can be pruned",
        "Does the fall of CKA without a channel foretell what the network loses "
        "without it?",
        "Left, accuracy after pruning the least important channels of the last layer, "
        "by four measures of importance, with 95 % intervals over networks; right, how "
        "well each foretells the rise of the cross-entropy without a single channel.",
        1.2,
    ),
)
