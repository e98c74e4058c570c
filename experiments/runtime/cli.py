"""The command line of the runtime experiment."""

import dataclasses
from pathlib import Path
from typing import Annotated

import typer

from experiments import runtime
from experiments._common.command_line import app_of
from experiments.data.images import IMAGES
from experiments.runtime.config import SCALES
from experiments.runtime.files import conduct
from experiments.runtime.report import goals
from experiments.runtime.sections import SECTIONS
from experiments.runtime.tables import tables
from semrsm_jax import _checks
from semrsm_jax.cli import options
from semrsm_jax.cli.console import progress_bar, say

_WIDTH = 100  # columns of the tables where the terminal has fewer


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
    overwrite: options.Overwrite = False,
    quiet: options.Quiet = False,
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
    with progress_bar("turns", quiet) as show:
        results, written = conduct(scale, config, output, show, only or (), overwrite)
    if quiet:
        return
    console = Console(width=max(_WIDTH, Console().width))
    for table in tables(results, goals(config, results)):
        console.print(table)
        console.print()
    say(f"Written: {', '.join(map(str, written))}")


app = app_of(runtime.__doc__ or "", main)
