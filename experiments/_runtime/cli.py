"""The command line of the runtime experiment."""

import importlib.util
import json
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Annotated

import typer

from experiments import runtime
from experiments._runtime.config import SCALES
from experiments._runtime.report import goals, to_json
from experiments._runtime.sections import SECTIONS, run
from experiments._runtime.tables import pareto_figure, tables
from experiments._runtime.worker import Report
from semrsm_jax import _checks
from semrsm_jax.cli._console import guarded, say
from semrsm_jax.store import check_output, new_file

_FILES = ("runtime.json", "runtime.png")
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
        Path, typer.Option("--output", "-o", help="Folder for figures and plot.")
    ] = Path("results/runtime"),
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
    names = [name for name in SECTIONS if not only or name in only]
    numbers_path, figure_path = (
        check_output(output / name, overwrite, suffixes=(Path(name).suffix,))
        for name in _FILES
    )
    _check_installed()
    config = SCALES[scale]
    with show_progress() as show:
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


def _check_installed() -> None:
    """Raises ImportError before the work, not after it, where an extra is missing."""
    for module, extra in (("skimage", "demo"), ("matplotlib", "demo"), ("lap", "test")):
        if importlib.util.find_spec(module) is None:
            raise ImportError(
                f"the benchmark needs {module}: pip install 'semrsm_jax[{extra}]'"
            )


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
