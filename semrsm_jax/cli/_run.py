"""The run behind ``semrsm rsm``: its progress, and what stays of it."""

import os
import shutil
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import TYPE_CHECKING

import typer

from semrsm_jax.cli.console import Report, duration

if TYPE_CHECKING:
    from semrsm_jax.engine import Progress
    from semrsm_jax.store.json_log import Write

# Seconds between lines of the log.
_LOG_SECONDS = 1.0

_STAGES = {"reading": "Reading features", "matching": "Matching pairs"}


@contextmanager
def partial_store(output: Path) -> Iterator[Path]:
    """Yields the folder of the run that an output file is made from.

    It lies beside the file, and is removed once the block has written the file. If the
    block fails, it stays with the finished tiles, from which the same command resumes.
    """
    from semrsm_jax.store import RunStore

    folder = output.with_name(f"{output.name}.partial")
    try:
        yield folder
    except BaseException:
        # Only a run without any tile is removed: a folder may be somebody else's.
        with suppress(ValueError, OSError):
            run = RunStore.open(folder)
            if len(run.missing()) == sum(1 for _ in run.grid):
                shutil.rmtree(folder)
        raise
    shutil.rmtree(folder)


class ProgressLog:
    """Shows the progress of a run on the terminal, and logs it."""

    def __init__(self, store: Path, bar: Report, log: "Write") -> None:
        """Reports on the run in the folder `store`."""
        self._store, self._bar, self._log = store, bar, log
        self._last: Progress | None = None
        self._logged = float("-inf")

    def report(self, progress: "Progress") -> None:
        """Shows and logs the progress."""
        begins = self._last is None or self._last.stage != progress.stage
        ends = progress.done == progress.total
        self._last = progress
        description = _STAGES[progress.stage]
        if progress.resumed:
            description += f" ({progress.resumed_share:.0%} resumed)"
        self._bar(description, progress.done, progress.total)
        now = time.monotonic()
        if begins or ends or now - self._logged > _LOG_SECONDS:
            self._logged = now
            self._write("progress")

    def _write(self, event: str) -> None:
        if self._last is not None:
            fields = self._last._asdict()
            fields |= {"eta": self._last.eta, "store": str(self._store)}
            self._log(event, fields)

    @contextmanager
    def outcome(self) -> Iterator[None]:
        """Logs how the block ends, and after Ctrl-C says how to resume."""
        from semrsm_jax.engine import is_computing

        try:
            yield
        except KeyboardInterrupt:
            self._write("interrupted")
            last = self._last
            if last is not None and last.stage == "matching":
                typer.echo(
                    f"{last.done:,} of {last.total:,} pairs were done; finished tiles "
                    f"are kept in {self._store}. To go on, run the same command again.",
                    err=True,
                )
            if is_computing():
                # Pairs of many tokens take long, and ending in order waits for them.
                sys.stderr.flush()
                os._exit(130)
            raise
        except BaseException as error:
            self._write("failed")
            raise error
        self._write("finished")

    @property
    def seconds(self) -> float:
        """The time that matching took in this call."""
        return 0.0 if self._last is None else self._last.seconds

    def summary(self) -> str:
        """How many pairs were matched, in what time."""
        last = self._last
        if last is None or last.done == last.resumed:
            return "nothing to match: all pairs were stored"
        new = last.done - last.resumed
        rate = new / last.seconds if last.seconds else 0
        resumed = f", {last.resumed:,} resumed" if last.resumed else ""
        return (
            f"{duration(last.seconds)}: {new:,} pairs matched, {rate:,.0f} pairs/s "
            f"with compilation{resumed}"
        )
