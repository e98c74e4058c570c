"""Runs experiments one after the other; one that fails does not stop the others."""

import json
import time
import traceback
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass, field, replace
from pathlib import Path

from experiments._reproduce.entry import Comparison, Document, Entry
from semrsm_jax.cli.console import Report
from semrsm_jax.store import new_file


@dataclass(frozen=True)
class Outcome:
    """How an experiment stands.

    Attributes:
      entry: what it is.
      document: what it found; None where it failed, or was not run yet.
      comparisons: the same beside the paper.
      figures: the end of each figure's name -> its path.
      error: the message that it failed with; else empty.
      seconds: that it took now, little where its results were there already.
    """

    entry: Entry
    document: Document | None = None
    comparisons: Sequence[Comparison] = ()
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
    folder = plan.output / entry.place
    error_file = plan.output / error_path(entry)
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
        found = _read(entry, plan.scale, plan.output)
    # Whatever happens in one experiment, the others are to run.
    except Exception as error:
        folder.mkdir(parents=True, exist_ok=True)
        with new_file(error_file, overwrite=True) as temporary:
            temporary.write_text(traceback.format_exc())
        seconds = time.perf_counter() - start
        return Outcome(entry, error=_message(error), seconds=seconds)
    error_file.unlink(missing_ok=True)
    return replace(found, seconds=time.perf_counter() - start)


def error_path(entry: Entry) -> str:
    """Where it is said how an experiment failed, below the folder of the page."""
    return f"{entry.place}/{entry.name}-error.txt"


def stored(entry: Entry, scale: str, output: Path) -> Outcome:
    """An experiment as its files have it; without document where there are none."""
    try:
        return _read(entry, scale, output)
    except FileNotFoundError:
        return Outcome(entry)
    # Files of another version, say: the page shows the others all the same.
    except Exception as error:
        return Outcome(entry, error=_message(error))


def _read(entry: Entry, scale: str, output: Path) -> Outcome:
    folder = output / entry.place
    document = json.loads((folder / f"{entry.name}.json").read_text())
    if document["scale"] != scale:
        return Outcome(entry)
    paths = {
        end: folder / f"{entry.name}{end and '-' + end}.png" for end in entry.captions
    }
    figures = {end: path for end, path in paths.items() if path.exists()}
    return Outcome(entry, document, tuple(entry.compare(document)), figures)


def _message(error: Exception) -> str:
    return f"{type(error).__name__}: {error}"


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
