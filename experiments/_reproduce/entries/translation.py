"""Section 4.1 and Appendix B on the page, from the findings of the study."""

from experiments._reproduce.entry import Comparison, Document, Entry, FromStudy
from experiments.frame.finding import Finding
from experiments.translation.findings import SECTION


def _load() -> FromStudy:
    from experiments.translation.study import STUDY

    return FromStudy(STUDY)


def _compare(document: Document) -> list[Comparison]:
    found = [Finding.from_json(fields) for fields in document["findings"]]
    agrees = {"agrees": True, "differs": False, "not asked": None}
    return [
        Comparison(
            each.statement,
            "; ".join(map(str, each.paper)),
            each.source,
            "; ".join(map(str, each.ours)),
            agrees[each.verdict],
            each.reason,
        )
        for each in found
    ]


ENTRY = Entry(
    name="translation",
    title=SECTION.title,
    question=SECTION.question,
    load=_load,
    compare=_compare,
    differs=SECTION.differs,
    captions=SECTION.captions,
    minutes=SECTION.minutes,
)
