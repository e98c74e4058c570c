"""The command line of the runtime experiment."""

import dataclasses
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Annotated

import typer

from experiments import runtime
from experiments._data.images import IMAGES
from experiments._runtime.config import SCALES
from experiments._runtime.files import conduct
from experiments._runtime.report import goals
from experiments._runtime.sections import SECTIONS
from experiments._runtime.tables import tables
from experiments._runtime.worker import Report
from semrsm_jax import _checks
from semrsm_jax.cli._console import guarded, say

_WIDTH = 100  # columns of the tables where the terminal has fewer

app = typer.Typer(
    add_completion=False,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)


# \b keeps the lines of a paragraph as they are, here of the indented ones.
@app.command(help=(runtime.__doc__ or "").replace("\n\n    ", "\n\n\b\n    "))
@guarded
def main(
    scale: Annotated[
        str, typer.Option(help=f"How much to run: {' or '.join(SCALES)}.")
    ] = "bundled",
    output: Annotated[
        Path,
        typer.Option(
            "--output",
            "-o",
            help="Folder for numbers and figures, and in steps/ what a run that is "
            "interrupted goes on from.",
        ),
    ] = Path("results/runtime"),
    data: Annotated[Path | None, typer.Option(help=IMAGES.help)] = None,
    overwrite: Annotated[
        bool, typer.Option("--overwrite", help="Replace the files of another run.")
    ] = False,
    only: Annotated[
        list[str] | None,
        typer.Option(metavar="SECTION", help=f"Of {', '.join(SECTIONS)}; repeatable."),
    ] = None,
) -> None:
    """Runs the sections, prints their tables and writes what they found."""
    from rich.console import Console

    _checks.one_of("scale", scale, tuple(SCALES))
    for name in only or ():
        _checks.one_of("only", name, tuple(SECTIONS))
    config = SCALES[scale]
    if data is not None:
        config = dataclasses.replace(config, data=data)
    with show_progress() as show:
        results, written = conduct(scale, config, output, show, only or (), overwrite)
    console = Console(width=max(_WIDTH, Console().width))
    for table in tables(results, goals(config, results)):
        console.print(table)
        console.print()
    say(f"Written: {', '.join(map(str, written))}")


@contextmanager
def show_progress() -> Iterator[Report]:
    """Shows on stderr, in one line, what is being timed."""
    from rich.console import Console
    from rich.progress import (
        BarColumn,
        MofNCompleteColumn,
        Progress,
        TextColumn,
        TimeElapsedColumn,
    )

    columns = (
        TextColumn("{task.description}"),
        BarColumn(),
        MofNCompleteColumn(),
        TimeElapsedColumn(),
    )
    console = Console(stderr=True)
    hidden = not sys.stderr.isatty()
    with Progress(*columns, console=console, transient=True, disable=hidden) as bar:
        line = bar.add_task("Starting", total=None)

        def show(description: str, done: int, total: int | None) -> None:
            bar.update(line, description=description, completed=done, total=total)

        yield show
