"""The results page: Markdown that can be read without the paper."""

import os
from collections.abc import Iterator, Sequence
from pathlib import Path

from experiments.frame.finding import Finding
from experiments.reproduce.run import Outcome
from semrsm_jax.cli.console import duration

_INTRODUCTION = """\
Networks for images turn an image into many *tokens*: feature vectors, one for each
position. The similarity of two images is usually computed position by position: each
token of one image is compared with the token at the same position of the other. The
matrix of these similarities, for all pairs of a set of images, is a *representational
similarity matrix* (RSM); computed in this way it is called **spatio-semantic**. [Wald
et al. (2024)](https://arxiv.org/abs/2410.23107), "the paper" below, first match the
tokens of the two images so that the sum of their inner products is largest, regardless
of position. The RSM is then called **semantic**, and this property *permutation
invariance*. A *kernel* turns matched tokens into a similarity: the inner product, the
cosine, or a function of the distance (RBF). The experiments on this page measure what
matching improves, and what it costs.

*Agrees* means that our result has the same direction as the paper's. The numbers
themselves are not expected to be equal, because networks and images differ; each
section says how. Where the paper claims an improvement, the 95 % confidence interval of
our result must lie above zero. Intervals are given in brackets."""


def page(scale: str, command: str, outcomes: Sequence[Outcome], folder: Path) -> str:
    """The whole page.

    Args:
      scale: that the experiments were run at.
      command: that makes the page.
      outcomes: in the order of the sections.
      folder: that the page is to be in, for the paths of figures.

    Returns:
      Markdown.
    """
    parts = [
        "# What semantic RSMs find, beside the paper",
        f"Made by `{command}`; running it again does what is missing.",
        _INTRODUCTION,
        "## At a glance",
        _overview(outcomes),
        *(
            part
            for number, outcome in enumerate(outcomes, 1)
            for part in _section(number, scale, outcome, folder)
        ),
        "## Machine and versions",
        _machines(outcomes),
    ]
    return "\n\n".join(parts) + "\n"


def _overview(outcomes: Sequence[Outcome]) -> str:
    rows = [
        (
            f"[{o.section.title}](#{_anchor(number, o)})",
            o.section.question,
            _verdict(o),
            duration(o.document["seconds"]) if o.document else "",
        )
        for number, o in enumerate(outcomes, 1)
    ]
    return _table(("experiment", "question", "beside the paper", "time"), rows)


def _verdict(outcome: Outcome) -> str:
    if outcome.error:
        return "failed"
    if outcome.document is None:
        return "not run yet"
    judged = [f.verdict for f in outcome.findings if f.verdict != "not asked"]
    agreeing = judged.count("agrees")
    if agreeing == len(judged):
        return "agrees" if judged else "no number of the paper to compare with"
    return f"agrees in {agreeing} of {len(judged)} findings"


def _section(number: int, scale: str, outcome: Outcome, folder: Path) -> Iterator[str]:
    section = outcome.section
    yield f"## {number}. {section.title}"
    yield f"**Question.** {section.question}"
    if outcome.error:
        yield (
            "**This experiment failed**; the others do not depend on it. Where it was "
            f"run, `{outcome.error_path}` has the details."
        )
        yield f"```text\n{outcome.error}\n```"
        return
    if outcome.document is None:
        yield "Not run yet."
        return
    yield from _findings(outcome.findings)
    if scale in section.differs:
        yield f"**How this differs from the paper's set-up.** {section.differs[scale]}"
    for caption, path in outcome.figures.items():
        relative = Path(os.path.relpath(path, folder)).as_posix()
        yield f"![{caption}]({relative})"
        yield f"*{caption}*"
    yield (
        f"All numbers, with the settings that they depend on: "
        f"[{outcome.name}.json]({outcome.folder}/{outcome.name}.json). "
        f"Time: {duration(outcome.document['seconds'])}."
    )


_MARKS = {"agrees": "yes", "differs": "**no**", "not asked": ""}


def _findings(findings: Sequence[Finding]) -> Iterator[str]:
    """The table of the findings, and the reasons for those that differ."""
    yield _table(
        ("finding", "the paper", "where", "here", "agrees"),
        [
            (
                each.statement,
                "; ".join(map(str, each.paper)),
                each.source,
                "; ".join(map(str, each.ours)),
                _MARKS[each.verdict],
            )
            for each in findings
        ],
    )
    reasons = [
        f"- {f.statement}: {f.reason}" for f in findings if f.verdict == "differs"
    ]
    if reasons:
        yield "**Where it does not agree, and what is likely behind it**"
        yield "\n".join(reasons)


def _machines(outcomes: Sequence[Outcome]) -> str:
    """Where the experiments ran, one line for all that ran in the same place."""
    places: dict[str, list[str]] = {}
    for outcome in outcomes:
        if outcome.document is not None:
            where = outcome.document["environment"]
            versions = ", ".join(f"{k} {v}" for k, v in where["versions"].items())
            text = (
                f"{where['cpu']}, {where['usable_cores']} cores; {where['platform']}; "
                f"Python {where['python']}; {versions}"
            )
            places.setdefault(text, []).append(outcome.name)
    lines = [f"- {', '.join(names)}: {text}" for text, names in places.items()]
    return "\n".join(lines) or "Nothing has run yet."


def _anchor(number: int, outcome: Outcome) -> str:
    """What GitHub and other viewers call the heading of a section."""
    heading = f"{number}. {outcome.section.title}".lower()
    kept = "".join(c for c in heading if c.isalnum() or c in " -_")
    return kept.replace(" ", "-")


def _table(heads: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    lines = [heads, ["---"] * len(heads), *rows]
    return "\n".join(f"| {' | '.join(map(_cell, line))} |" for line in lines)


def _cell(text: str) -> str:
    return text.replace("|", "\\|").replace("\n", " ")
