"""The experiments of the page, in its order: one module an experiment."""

from experiments._reproduce.entries import open_questions, runtime, translation
from experiments._reproduce.entry import Entry

ENTRIES: tuple[Entry, ...] = (
    translation.ENTRY,
    runtime.ENTRY,
    *open_questions.ENTRIES,
)
