"""The experiments of the page, in its order: one module a part of the paper."""

from experiments._reproduce.entries import (
    cka,
    open_questions,
    output_correlation,
    retrieval,
    runtime,
    translation,
)
from experiments._reproduce.entry import Entry

ENTRIES: tuple[Entry, ...] = (
    translation.ENTRY,
    retrieval.ENTRY,
    output_correlation.ENTRY,
    runtime.ENTRY,
    cka.ENTRY,
    *open_questions.ENTRIES,
)
