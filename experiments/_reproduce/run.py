"""Runs experiments one after the other; one that fails does not stop the others."""

import json
import time
import traceback
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass, field, replace
from pathlib import Path

from experiments._reproduce.entry import Document, Entry
from semrsm_jax.cli._console import Report
from semrsm_jax.store import new_file

ERROR_FILE = "error.txt"  # in the folder of an experiment that failed


@dataclass(frozen=True)
class Outcome:
    """How an experiment stands.

    Attributes:
      entry: what it is.
      document: what it found; None where it failed, or was not run yet.
      figures: the end of each figure's name -> its path.
      error: the message that it failed with; else empty.
      seconds: that it took now, little where its results were there already.
    """

    entry: Entry
    document: Document | None = None
    figures: Mapping[str, Path] = field(default_factory=dict)
    error: str = ""
    seconds: float = 0.0


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


def run(
    plan: Plan, progress: Callable[[Entry], AbstractContextManager[Report]]
) -> Iterator[Outcome]:
    """Runs the experiments of a plan, and yields how each ended as it does.

    Args:
      plan: what is to be run.
      progress: gives what an experiment tells its progress to, as long as it runs.
    """
    for entry in plan.entries:
        with progress(entry) as report:
            yield _outcome(plan, entry, report)


def _outcome(plan: Plan, entry: Entry, report: Report) -> Outcome:
    folder = plan.output / entry.name
    start = time.perf_counter()
    try:
        experiment = entry.load()
        if plan.scale not in experiment.scales:
            raise ValueError(
                f"{entry.name} has no scale {plan.scale!r}, only "
                f"{', '.join(experiment.scales)}"
            )
        data = plan.data.get(entry.name)
        experiment.run(plan.scale, data, folder, report, plan.overwrite)
        found = stored(entry, plan.scale, plan.output)
        # What is to be shown is tried here, where it stops nothing else.
        entry.compare(found.document or {})
    # Whatever happens in one experiment, the others are to run.
    except Exception as error:
        folder.mkdir(parents=True, exist_ok=True)
        with new_file(folder / ERROR_FILE, overwrite=True) as temporary:
            temporary.write_text(traceback.format_exc())
        message = f"{type(error).__name__}: {error}"
        return Outcome(entry, error=message, seconds=time.perf_counter() - start)
    (folder / ERROR_FILE).unlink(missing_ok=True)
    return replace(found, seconds=time.perf_counter() - start)


def stored(entry: Entry, scale: str, output: Path) -> Outcome:
    """An experiment as its files have it; without document where there are none."""
    folder = output / entry.name
    try:
        document = json.loads((folder / f"{entry.name}.json").read_text())
    except (OSError, ValueError):
        return Outcome(entry)
    if document.get("scale") != scale:
        return Outcome(entry)
    paths = {
        end: folder / f"{entry.name}{end and '-' + end}.png" for end in entry.captions
    }
    return Outcome(entry, document, {e: p for e, p in paths.items() if p.exists()})


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
