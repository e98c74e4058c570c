"""What the studies of all questions have in common."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any, TypeVar

from experiments.frame.finding import Finding, Quantity, Section
from experiments.frame.session import Session
from experiments.frame.study import Study

if TYPE_CHECKING:
    from matplotlib.figure import Figure

_C = TypeVar("_C")
_R = TypeVar("_R")
_DIFFERS = {
    "bundled": "The paper did not try this. Networks are small ones trained here, and "
    "images are scenes composed of photographs' parts and handwritten digits, in which "
    "one thing can be changed at a time.",
    "smoke": "Everything is tiny: the numbers mean nothing.",
    "paper": "The paper did not try this. Networks are those of its retrieval and "
    "output experiments; images are composed scenes unless a folder is given.",
}


def question(
    name: str,
    doc: str,
    scales: Mapping[str, _C],
    run: Callable[[_C, Session], _R],
    summary: Callable[[_R], Mapping[str, Any]],
    rows: Callable[[_R], Sequence[Mapping[str, Any]]],
    draw: "Callable[[_R], Figure]",
    *,
    title: str,
    asks: str,
    caption: str,
    minutes: float,
    data: str = "",
) -> Study[_C, _R]:
    """The study of a question that the paper leaves open.

    Each entry of its summary is a finding, which the paper has no number for.

    Args:
      name: of the question.
      doc: its help.
      scales: name of each scale -> its config.
      run: computes the result.
      summary: name -> number, interval or text, the few that answer the question.
      rows: the table behind the figure.
      draw: the figure.
      title: of its section on the results page.
      asks: the question in words that do not need the paper.
      caption: of the figure.
      minutes: that it takes at the scale bundled.
      data: what the folder given as ``--data`` must hold; empty: there is no option.
    """

    def findings(result: _R) -> Iterator[Finding]:
        for statement, value in summary(result).items():
            text = isinstance(value, str)
            count = isinstance(value, int)
            ours = (
                Quantity(value)
                if text
                else Quantity("", [value], digits=0 if count else 3)
            )
            yield Finding(statement, "", (Quantity("left open"),), (ours,))

    return Study(
        name=f"open_questions_{name}",
        doc=doc,
        scales=scales,
        run=run,
        rows=rows,
        summary=summary,
        findings=findings,
        figures={"": draw},
        section=Section(
            title,
            asks,
            _DIFFERS,
            {"": caption},
            {"bundled": minutes, "smoke": 0.3},
        ),
        data=data,
        folder="open_questions",
    )
