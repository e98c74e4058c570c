"""Runs experiments one after the other; one that fails does not stop the others."""

import json
import time
import traceback
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass, field
from pathlib import Path

from experiments._reproduce.entry import Document, Entry
from semrsm_jax.cli._console import Report
from semrsm_jax.store import new_file

_ERROR = "error.txt"


@dataclass(frozen=True)
class Outcome:
    """How an experiment ended.

    Attributes:
      entry: what was run.
      seconds: that it took now, which is little where its results were there already.
      document: what it found, with the `seconds` of all runs; None where it failed.
      files: what each file ends in -> its path; none where it failed.
      error: its message, empty where it did not fail.
    """

    entry: Entry
    seconds: float
    document: Document | None = None
    files: Mapping[str, Path] = field(default_factory=dict)
    error: str = ""


@dataclass(frozen=True)
class Plan:
    """What is to be run.

    Attributes:
      entries: in their order.
      scale: of all.
      output: below it each has a folder of its own.
      data: name of an entry -> the folder of its data.
      overwrite: replace the results of other runs.
    """

    entries: Sequence[Entry]
    scale: str
    output: Path
    data: Mapping[str, Path] = field(default_factory=dict)
    overwrite: bool = False


def outcomes(
    plan: Plan, progress: Callable[[Entry], AbstractContextManager[Report]]
) -> Iterator[Outcome]:
    """Runs the experiments of a plan, and yields how each ended as it does.

    Args:
      plan: what is to be run.
      progress: gives what an experiment tells its progress to, as long as it runs.
    """
    for entry in plan.entries:
        folder = plan.output / entry.name
        with progress(entry) as report:
            yield _outcome(plan, entry, folder, report)


def _outcome(plan: Plan, entry: Entry, folder: Path, report: Report) -> Outcome:
    data = plan.data.get(entry.name)
    start = time.perf_counter()
    error_file = folder / _ERROR
    try:
        experiment = entry.load()
        if plan.scale not in experiment.scales:
            raise ValueError(
                f"{entry.name} has no scale {plan.scale!r}, only "
                f"{', '.join(experiment.scales)}"
            )
        files = experiment.run(plan.scale, data, folder, report, plan.overwrite)
        document = json.loads(files[".json"].read_text())
    # Whatever happens in one experiment, the others are to run.
    except Exception as error:
        folder.mkdir(parents=True, exist_ok=True)
        with new_file(error_file, overwrite=True) as temporary:
            temporary.write_text(traceback.format_exc())
        message = f"{type(error).__name__}: {error}"
        return Outcome(entry, time.perf_counter() - start, error=message)
    error_file.unlink(missing_ok=True)
    return Outcome(entry, time.perf_counter() - start, document, files)


def remaining(plan: Plan, done: Sequence[Outcome]) -> float | None:
    """The seconds that the rest of a plan will take, from what its start took.

    Returns:
      None where nothing is known of how long they take.
    """
    expected = {e.name: 60 * e.minutes.get(plan.scale, 0) for e in plan.entries}
    rest = sum(expected[entry.name] for entry in plan.entries[len(done) :])
    if not rest:
        return None
    # This machine may be slower than the one that the minutes are from; what was there
    # already, or failed, says nothing of its pace.
    worked = [o for o in done if o.seconds > expected[o.entry.name] / 2]
    known = sum(expected[o.entry.name] for o in worked)
    return rest * (sum(o.seconds for o in worked) / known if known else 1.0)
