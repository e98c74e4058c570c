"""A benchmark: a frozen config for each scale, what is measured, and how it is told.

Every benchmark has the same command line and leaves one file of numbers.
"""

import dataclasses
import json
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import Annotated, Any, Generic, TypeVar

import typer

from experiments._common.command_line import app_of, check_installed
from experiments._common.environment import environment, plain
from experiments._common.worker import Report
from semrsm_jax import _checks
from semrsm_jax.cli import options
from semrsm_jax.cli.console import progress_bar, say
from semrsm_jax.store import check_output, new_file

_C = TypeVar("_C")

_PACKAGES = ("semrsm_jax", "jax", "jaxlib", "numpy")


@dataclasses.dataclass(frozen=True)
class Benchmark(Generic[_C]):
    """What a benchmark has to say of itself.

    Attributes:
      name: of its file and of its default folder.
      doc: its help: what is measured, and what to expect.
      scales: name of each scale -> its config, a frozen dataclass; the first is the
        default.
      measure: name -> what was found, as JSON can express it; it reports as
        ``report(description, done, total)``.
      lines: what to print of that.
      needs: module -> the distribution that brings it, beyond what the package needs.
    """

    name: str
    doc: str
    scales: Mapping[str, _C]
    measure: Callable[[_C, Report], Mapping[str, Any]]
    lines: Callable[[_C, Mapping[str, Any]], Iterable[str]]
    needs: Mapping[str, str] = dataclasses.field(default_factory=dict)


def command(benchmark: Benchmark[Any]) -> typer.Typer:
    """The command line of a benchmark."""
    default, *_ = benchmark.scales

    def main(
        scale: Annotated[
            str,
            typer.Option(help=f"How much to run: {' or '.join(benchmark.scales)}."),
        ] = default,
        output: Annotated[
            Path,
            typer.Option(
                "--output",
                "-o",
                help=f"Folder of {benchmark.name}.json, or a file that ends in .json.",
            ),
        ] = Path("results") / benchmark.name,
        overwrite: options.Overwrite = False,
        quiet: options.Quiet = False,
    ) -> None:
        _checks.one_of("scale", scale, tuple(benchmark.scales))
        if output.suffix != ".json":
            output = output / f"{benchmark.name}.json"
        path = check_output(output, overwrite, suffixes=(".json",))
        check_installed(benchmark.name, benchmark.needs)
        config = benchmark.scales[scale]
        with progress_bar("turns", quiet) as report:
            found = benchmark.measure(config, report)
        document = {
            "scale": scale,
            "config": plain(dataclasses.asdict(config)),
            "environment": environment((*_PACKAGES, *benchmark.needs.values())),
            **plain(dict(found)),
        }
        with new_file(path, overwrite) as temporary:
            temporary.write_text(json.dumps(document, indent=2))
        if quiet:
            return
        for line in benchmark.lines(config, found):
            say(line)
        say(f"Written: {path}")

    return app_of(benchmark.doc, main)
