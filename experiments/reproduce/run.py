"""Runs studies one after the other; one that fails does not stop the others."""

import json
import time
import traceback
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from experiments import open_questions
from experiments.cka import study as cka
from experiments.frame.conduct import conduct
from experiments.frame.finding import Finding, Section
from experiments.frame.study import Study
from experiments.output_correlation import study as output_correlation
from experiments.retrieval import study as retrieval
from experiments.runtime import study as runtime
from experiments.translation import study as translation
from semrsm_jax.cli.console import Report
from semrsm_jax.store import new_file

STUDIES: Mapping[str, Study[Any, Any]] = {
    study.name: study
    for study in (
        translation.STUDY,
        retrieval.STUDY,
        output_correlation.STUDY,
        runtime.STUDY,
        cka.STUDY,
        *open_questions.STUDIES.values(),
    )
}
"""The studies of the page, in its order."""


@dataclass(frozen=True)
class Outcome:
    """How a study stands.

    Attributes:
      name: of the study.
      section: what the page writes around its findings.
      folder: of its files, below that of the page.
      document: the JSON that it wrote; None where it failed, or was not run yet.
      figures: caption of each figure that exists -> its path.
      error: the message that it failed with; else empty.
      seconds: that it took now, little where its results existed already.
    """

    name: str
    section: Section
    folder: str
    document: Mapping[str, Any] | None = None
    figures: Mapping[str, Path] = field(default_factory=dict)
    error: str = ""
    seconds: float = 0.0

    @property
    def findings(self) -> list[Finding]:
        """The findings that the study stored."""
        stored = () if self.document is None else self.document["findings"]
        return [Finding.from_json(fields) for fields in stored]

    @property
    def error_path(self) -> str:
        """Where it is written how the study failed, below the folder of the page."""
        return f"{self.folder}/{self.name}-error.txt"


@dataclass(frozen=True)
class Plan:
    """What is to be run.

    Attributes:
      studies: by their names, in their order.
      scale: of all.
      output: below it each has a folder of its own.
      data: name of a study -> the folder of its data.
      overwrite: replace the results of other runs.
    """

    studies: Mapping[str, Study[Any, Any]]
    scale: str
    output: Path
    data: Mapping[str, Path] = field(default_factory=dict)
    overwrite: bool = False


def run(plan: Plan, name: str, report: Report) -> Outcome:
    """Runs a study of a plan; how it ended."""
    study = plan.studies[name]
    outcome = _blank(study)
    error_file = plan.output / outcome.error_path
    start = time.perf_counter()
    try:
        config = study.config(plan.scale, plan.data.get(name))
        folder = plan.output / outcome.folder
        conduct(study, plan.scale, config, folder, report, overwrite=plan.overwrite)
        outcome = _read(outcome, study, plan.scale, plan.output)
    # Whatever happens in one study, the others are to run.
    except Exception as error:
        error_file.parent.mkdir(parents=True, exist_ok=True)
        with new_file(error_file, overwrite=True) as temporary:
            temporary.write_text(traceback.format_exc())
        outcome = replace(outcome, error=_message(error))
    else:
        error_file.unlink(missing_ok=True)
    return replace(outcome, seconds=time.perf_counter() - start)


def stored(study: Study[Any, Any], scale: str, output: Path) -> Outcome:
    """A study as its files have it; without document where there are none."""
    outcome = _blank(study)
    try:
        return _read(outcome, study, scale, output)
    except FileNotFoundError:
        return outcome
    # For example files of another version: the page shows the others all the same.
    except Exception as error:
        return replace(outcome, error=_message(error))


def _blank(study: Study[Any, Any]) -> Outcome:
    """A study that was not run."""
    section = study.section or Section(study.name, "")
    return Outcome(study.name, section, study.folder or study.name)


def _read(
    outcome: Outcome, study: Study[Any, Any], scale: str, output: Path
) -> Outcome:
    paths = study.paths(output / outcome.folder)
    document = json.loads(paths[".json"].read_text())
    if document["scale"] != scale:
        return outcome
    figures = {
        caption: paths[f"-{end}.png" if end else ".png"]
        for end, caption in outcome.section.captions.items()
    }
    figures = {caption: path for caption, path in figures.items() if path.exists()}
    read = replace(outcome, document=document, figures=figures)
    _ = read.findings  # raises now where they cannot be read
    return read


def _message(error: Exception) -> str:
    return f"{type(error).__name__}: {error}"


def remaining(plan: Plan, done: Sequence[Outcome]) -> float | None:
    """The seconds that the rest of a plan will take, from what its start took.

    Returns:
      None where nothing is known of how long they take.
    """
    expected = {
        name: 60 * _blank(study).section.minutes.get(plan.scale, 0)
        for name, study in plan.studies.items()
    }
    rest = sum(list(expected.values())[len(done) :])
    if not rest:
        return None
    # This machine may be slower than the one that the minutes are from; a study whose
    # results existed, or that failed, shows nothing of its pace.
    worked = [o for o in done if o.seconds > expected[o.name] / 2]
    known = sum(expected[o.name] for o in worked)
    return rest * (sum(o.seconds for o in worked) / known if known else 1.0)
