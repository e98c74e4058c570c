"""Section 4.4, Table 5 and Fig. 5 and 6 on the page, from the findings of the study."""

from experiments._reproduce.entries.translation import _compare
from experiments._reproduce.entry import Entry, FromStudy
from experiments.runtime.findings import SECTION


def _load() -> FromStudy:
    from experiments.runtime.study import STUDY

    return FromStudy(STUDY)


ENTRY = Entry(
    name="runtime",
    title=SECTION.title,
    question=SECTION.question,
    load=_load,
    compare=_compare,
    differs=SECTION.differs,
    captions=SECTION.captions,
    minutes=SECTION.minutes,
)
