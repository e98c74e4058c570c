"""The command line of the runtime experiment."""

import json
from pathlib import Path
from typing import Annotated

import typer

from experiments import runtime
from experiments._common.command_line import app_of, check_installed
from experiments._runtime.config import SCALES
from experiments._runtime.report import goals, to_json
from experiments._runtime.sections import SECTIONS, run
from experiments._runtime.tables import pareto_figure, tables
from semrsm_jax import _checks
from semrsm_jax.cli._console import progress_bar, say
from semrsm_jax.store import check_output, new_file

_FILES = ("runtime.json", "runtime.png")
_NEEDS = {"skimage": "scikit-image", "matplotlib": "matplotlib", "lap": "lapx"}
_WIDTH = 100  # columns of the tables where the terminal has fewer


def main(
    scale: Annotated[
        str, typer.Option(help=f"How much to run: {' or '.join(SCALES)}.")
    ] = "bundled",
    output: Annotated[
        Path, typer.Option("--output", "-o", help="Folder for figures and plot.")
    ] = Path("results/runtime"),
    overwrite: Annotated[
        bool, typer.Option("--overwrite", help="Replace the files of another run.")
    ] = False,
    quiet: Annotated[
        bool, typer.Option("--quiet", "-q", help="Show no progress.")
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
    names = [name for name in SECTIONS if not only or name in only]
    numbers_path, figure_path = (
        check_output(output / name, overwrite, suffixes=(Path(name).suffix,))
        for name in _FILES
    )
    check_installed("the benchmark", _NEEDS)
    config = SCALES[scale]
    with progress_bar("turns", quiet) as show:
        results = run(config, names, show)
    with new_file(numbers_path, overwrite) as temporary:
        temporary.write_text(json.dumps(to_json(config, results), indent=2))
    written = [numbers_path]
    if "table5" in results:
        with new_file(figure_path, overwrite) as temporary:
            pareto_figure(results["table5"]["sizes"]).savefig(temporary)
        written.append(figure_path)
    console = Console(width=max(_WIDTH, Console().width))
    for table in tables(results, goals(config, results)):
        console.print(table)
        console.print()
    say(f"Written: {' and '.join(map(str, written))}")


app = app_of(runtime.__doc__ or "", main)
