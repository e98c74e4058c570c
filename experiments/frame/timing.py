"""Times of calls that take turns, so that noise meets all alike; time and memory."""

import statistics
import time
from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

import jax

from experiments.frame.worker import Report, peak_memory, track


class Turns(NamedTuple):
    """What each call took, in seconds a turn, and what it gave in the last."""

    seconds: dict[str, list[float]]
    results: dict[str, Any]

    def median(self, name: str) -> float:
        """The median time of a call, in seconds."""
        return statistics.median(self.seconds[name])

    def medians(self) -> dict[str, float]:
        """The median time of each call, in seconds."""
        return {name: self.median(name) for name in self.seconds}


def take_turns(
    calls: Mapping[str, Callable[[int], Any]],
    rounds: int,
    report: Report,
    description: str,
    warm: bool = False,
) -> Turns:
    """Times calls one after the other, round after round: A B A B.

    Args:
      calls: called with the number of the round; JAX arrays that they return are waited
        for.
      rounds: how often each is called.
      report: of progress.
      description: of what is timed.
      warm: call each once beforehand, as round -1, which is not timed: where calls
        compile and are not warmed up otherwise.
    """
    if warm:
        for call in calls.values():
            jax.block_until_ready(call(-1))
    seconds: dict[str, list[float]] = {name: [] for name in calls}
    results: dict[str, Any] = {}
    for number in track(report, description, range(rounds)):
        for name, call in calls.items():
            start = time.perf_counter()
            results[name] = jax.block_until_ready(call(number))
            seconds[name].append(time.perf_counter() - start)
    return Turns(seconds, results)


def measured(
    call: Callable[[], Any], times: int, report: Report, description: str
) -> tuple[Any, dict[str, Any]]:
    """Calls a few times, and measures time and memory of this process.

    Args:
      call: JAX arrays that it returns are waited for.
      times: how often it is called; the first call may compile.
      report: of progress.
      description: of what is measured.

    Returns:
      The last result; and the seconds of the first and last call, the most memory held
      before, ever, and the difference of these.
    """
    before = peak_memory()
    turns = take_turns({"": lambda number: call()}, times, report, description)
    peak, seconds = peak_memory(), turns.seconds[""]
    return turns.results[""], {
        "first_seconds": seconds[0],
        "seconds": seconds[-1],
        "before_bytes": before,
        "peak_bytes": peak,
        "peak_bytes_over_baseline": peak - before,
    }
