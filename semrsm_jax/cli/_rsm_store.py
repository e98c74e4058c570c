"""``semrsm rsm`` into a store: tile by tile, resumed where it stopped."""

import os
import shlex
import sys
import time
from collections.abc import Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager, nullcontext
from pathlib import Path
from typing import TYPE_CHECKING, Any

import typer

from semrsm_jax.cli._inputs import feature_layers
from semrsm_jax.cli.console import Report, duration, progress_bar, say, say_fields
from semrsm_jax.cli.options import CenterName, LayoutName

if TYPE_CHECKING:
    from semrsm_jax import Matcher
    from semrsm_jax.engine import Progress
    from semrsm_jax.matching.base import Bound
    from semrsm_jax.store.json_log import JSONLog

# Seconds between lines of the log.
_LOG_SECONDS = 1.0

_STAGES = {"reading": "Reading features", "matching": "Matching pairs"}


def write_store(
    inputs: Sequence[Path],
    output: Path,
    rule: "Matcher",
    proof: "Bound | None",
    *,
    center: CenterName,
    layout: LayoutName | None,
    key: str | None,
    layers: Sequence[str] | None,
    budget: int | None,
    tile: int | None,
    workers: int | None,
    cluster: str | None,
    log: Path | None,
    quiet: bool,
) -> None:
    """Checks all input, computes what is missing, and says where it stands."""
    from semrsm_jax.engine import run
    from semrsm_jax.store.json_log import json_log
    from semrsm_jax.store.output import check_folder

    check_folder(output)
    sides: list[Any] = [feature_layers(path, key, layers, layout) for path in inputs]
    if not layers:
        sides = [side[None] for side in sides]
    with (
        json_log(log) as lines,
        progress_bar("pairs", quiet) as bar,
        crew(workers, cluster) as client,
    ):
        watch = _Watch(output, bar, lines)
        with watch.interruptions():
            done = run(
                *sides,
                store=output,
                matcher=rule,
                bound=proof,
                center=None if center is CenterName.NONE else center.value,
                tile=tile,
                memory_budget=budget,
                cluster=client,
                progress=watch.see,
            )
    if quiet:
        return
    stores = done if isinstance(done, dict) else {None: done}
    say(f"RSM of {' and '.join(map(str, inputs))}")
    (grid, *_) = [store.grid for store in stores.values()]
    fields: dict[str, object] = {
        "samples": f"{grid.rows} x {grid.columns}",
        "matcher": rule,
        "centering": center.value,
        "tiles": f"{grid.shape[0]} x {grid.shape[1]} of {grid.side} x {grid.side}",
        "time": watch.summary(),
        "written to": output,
    }
    if layers:
        fields = {"layers": ", ".join(map(str, stores)), **fields}
    say_fields(fields)
    say(f"Next: semrsm status {shlex.quote(str(output))}")


def crew(workers: int | None, cluster: str | None) -> AbstractContextManager[Any]:
    """A Dask client for `--workers` or `--cluster`; None where neither is given."""
    from semrsm_jax.engine import connected, local_cluster

    if workers is not None and cluster is not None:
        raise ValueError("--workers and --cluster exclude each other")
    if workers is not None:
        if workers < 1:
            raise ValueError(f"--workers must be at least 1, got {workers}")
        return local_cluster(workers)
    return nullcontext() if cluster is None else connected(cluster)


class _Watch:
    """Shows and logs the progress of a run."""

    def __init__(self, output: Path, bar: Report, log: "JSONLog | None") -> None:
        self._output, self._bar, self._log = output, bar, log
        self._last: Progress | None = None
        self._logged = float("-inf")

    def see(self, progress: "Progress") -> None:
        """Takes note of how far the run is."""
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
        if self._log is None or self._last is None:
            return
        fields = self._last._asdict()
        fields |= {"eta": self._last.eta, "store": str(self._output)}
        self._log.write(event, fields)

    @contextmanager
    def interruptions(self) -> Iterator[None]:
        """Says after Ctrl-C how to go on."""
        from semrsm_jax.engine import is_computing

        try:
            yield
        except KeyboardInterrupt:
            self._write("interrupted")
            kept = ""
            if self._last is not None and self._last.stage == "matching":
                kept = f" {self._last.done:,} of {self._last.total:,} pairs were done;"
            typer.echo(
                f"{kept.strip()} finished tiles are kept in {self._output}. To go on, "
                "run the same command again.",
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

    def summary(self) -> str:
        """How many pairs, in what time."""
        last = self._last
        if last is None or last.done == last.resumed:
            return "nothing to match: all was there"
        new = last.done - last.resumed
        rate = new / last.seconds if last.seconds else 0
        resumed = f", {last.resumed:,} were there" if last.resumed else ""
        return (
            f"{duration(last.seconds)}: {new:,} pairs matched, {rate:,.0f} pairs/s "
            f"with compilation{resumed}"
        )
