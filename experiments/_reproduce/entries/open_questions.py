"""The questions that section 5 leaves open on the page: nothing to compare with."""

from collections.abc import Callable

from experiments._reproduce.entry import Comparison, Document, Entry, FromStudy
from experiments._reproduce.words import value

_DIFFERS = {
    "bundled": "The paper has no such experiment. Scenes are composed here, so that "
    "what is asked about is controlled and all else is the same; the networks are "
    "small ones trained here.",
    "smoke": "Everything is tiny: the numbers mean nothing.",
}


def _load(question: str) -> Callable[[], FromStudy]:
    def load() -> FromStudy:
        from experiments.open_questions import STUDIES

        return FromStudy(STUDIES[question])

    return load


def _compare(document: Document) -> list[Comparison]:
    return [
        Comparison(name, "left open", "section 5", value(found), None)
        for name, found in document["summary"].items()
    ]


def _entry(question: str, title: str, asked: str, caption: str, minutes: float):
    return Entry(
        name=f"open_questions_{question}",
        title=title,
        question=asked,
        load=_load(question),
        compare=_compare,
        differs=_DIFFERS,
        captions={"": caption},
        minutes={"bundled": minutes, "smoke": 0.2},
        folder="open_questions",
    )


ENTRIES: tuple[Entry, ...] = (
    _entry(
        "windows",
        "Open question: which window?",
        "How wide should the windows of the approximation Batch-Optimal be, and when "
        "is it worth anything, now that the exact matching is fast?",
        "Time of a pair beside that of exact matching, against the share of the exact "
        "value.",
        2,
    ),
    _entry(
        "gain",
        "Open question: when does matching help retrieval?",
        "How does the gain depend on the size and number of objects, on how far the "
        "viewpoints lie apart, and on the resolution?",
        "Gain in F1 by what is changed in the scenes, one at a time.",
        3,
    ),
    _entry(
        "ablation",
        "Open question: kernel and normalisation",
        "How much of the result do the kernel, its bandwidth, the normalisation of "
        "tokens and their centring decide?",
        "F1 of both kinds of RSM by how tokens are prepared.",
        2,
    ),
    _entry(
        "prior",
        "Open question: where the place matters",
        "If the question is where something stands, do semantic RSMs lose, as they "
        "should?",
        "Scores of both kinds of RSM, by what is asked for.",
        2,
    ),
    _entry(
        "layers",
        "Open question: which layers transfer?",
        "Does an RSM tell, without training, which layer serves another task best?",
        "How well a linear read-out does, against what each RSM foretells.",
        3,
    ),
    _entry(
        "channels",
        "Open question: which channels can go?",
        "Does an RSM tell which channels of a network can be removed at little cost?",
        "What is left of the accuracy when channels are removed, by who chose them.",
        2,
    ),
)
