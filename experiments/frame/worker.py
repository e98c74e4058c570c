"""A process of its own for each part of the benchmark: its cores, its memory.

Thread counts are read by NumPy and JAX when they are imported, so they are set in the
new process before that. Only the standard library may be imported here, therefore.
"""

import multiprocessing
import os
import queue
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from typing import Any, NamedTuple, TypeVar

# Called as report(description, done, total).
Report = Callable[[str, int, int | None], None]
_T = TypeVar("_T")

_POLL = 0.2  # seconds between looks at what the worker reports
_ONE_THREAD = {
    **dict.fromkeys(
        (
            "OMP_NUM_THREADS",
            "OPENBLAS_NUM_THREADS",
            "MKL_NUM_THREADS",
            "VECLIB_MAXIMUM_THREADS",
            "NUMBA_NUM_THREADS",
        ),
        "1",
    ),
    "XLA_FLAGS": "--xla_cpu_multi_thread_eigen=false",
}


class Outcome(NamedTuple):
    """What a call gave, its time, and the cores that it kept busy on average."""

    value: Any
    seconds: float
    cores_used: float


_reports: Any = None  # the worker's end of the queue of reports


def track(report: Report, description: str, items: Sequence[_T]) -> Iterator[_T]:
    """Yields the items, and reports how many of them are done."""
    for done, item in enumerate(items):
        report(description, done, len(items))
        yield item
    report(description, len(items), len(items))


@contextmanager
def worker(
    show: Report, one_core: bool = False, cpu: bool = True
) -> Iterator[Callable[..., Outcome]]:
    """Starts a process and yields ``call(function, *arguments)``, which runs there.

    The function gets a `Report` as its last argument; what it reports is shown here. An
    exception it raises is raised here too.

    Args:
      show: shows progress.
      one_core: the process gets a single core (where the system can say so) and all
        libraries a single thread.
      cpu: JAX uses the processor there, even where there is an accelerator.
    """
    context = multiprocessing.get_context("spawn")
    reports = context.Queue()
    with ProcessPoolExecutor(1, context, _prepare, (one_core, cpu, reports)) as pool:

        def call(function: Callable[..., Any], *arguments: Any) -> Outcome:
            future = pool.submit(_run, function, *arguments)
            while not future.done() or not reports.empty():
                try:
                    show(*reports.get(timeout=_POLL))
                except queue.Empty:
                    pass
            return future.result()

        yield call


def _prepare(one_core: bool, cpu: bool, reports: Any) -> None:
    global _reports
    _reports = reports
    if cpu:
        os.environ["JAX_PLATFORMS"] = "cpu"
        if "jax" in sys.modules:  # imported by the main module, which comes first
            sys.modules["jax"].config.update("jax_platforms", "cpu")
    if one_core:
        os.environ.update(_ONE_THREAD)
        if hasattr(os, "sched_setaffinity"):
            # The last core: the first one serves most interrupts.
            os.sched_setaffinity(0, {max(os.sched_getaffinity(0))})


def _run(function: Callable[..., Any], *arguments: Any) -> Outcome:
    def report(description: str, done: int, total: int | None) -> None:
        _reports.put((description, done, total))

    wall, cpu = time.perf_counter(), time.process_time()
    value = function(*arguments, report)
    seconds = time.perf_counter() - wall
    return Outcome(value, seconds, (time.process_time() - cpu) / seconds)


def usable_cores() -> int:
    """The cores that this process may use."""
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


def peak_memory() -> int:
    """The most bytes of memory that this process ever held."""
    try:
        # On Linux, ru_maxrss would count what the parent held when it started this
        # process; the high-water mark does not.
        status = Path("/proc/self/status").read_text().splitlines()
        (mark,) = (line for line in status if line.startswith("VmHWM:"))
        return int(mark.split()[1]) * 1024
    except (OSError, ValueError):
        import resource

        peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
        # In bytes on macOS, else in KiB.
        return peak if sys.platform == "darwin" else peak * 1024
