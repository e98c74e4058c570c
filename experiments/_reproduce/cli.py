"""The command line of the reproduction."""

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Annotated

import typer

from experiments import reproduce
from experiments._common.command_line import app_of
from experiments._reproduce.entries import ENTRIES
from experiments._reproduce.entry import Entry
from experiments._reproduce.page import page
from experiments._reproduce.run import Outcome, Plan, remaining, run, stored
from semrsm_jax import _checks
from semrsm_jax.cli.console import Report, duration, progress_bar, say
from semrsm_jax.store import check_output, new_file

_SCALES = ("bundled", "smoke", "paper")
_PAGE = "results.md"


def command(entries: Sequence[Entry]) -> typer.Typer:
    """The command line that runs some experiments."""

    def main(
        scale: Annotated[
            str, typer.Option(help=f"How much to run: {' or '.join(_SCALES)}.")
        ] = _SCALES[0],
        output: Annotated[
            Path,
            typer.Option("--output", "-o", help="Folder for the page and all results."),
        ] = Path("results"),
        only: Annotated[
            list[str] | None,
            typer.Option(
                metavar="EXPERIMENT",
                help=f"Of {', '.join(e.name for e in entries)}; repeatable. The page "
                "shows what is there of the others.",
            ),
        ] = None,
        data: Annotated[
            list[str] | None,
            typer.Option(
                metavar="EXPERIMENT=FOLDER",
                help="Your copy of an experiment's data, for the scale paper; "
                "repeatable.",
            ),
        ] = None,
        overwrite: Annotated[
            bool, typer.Option("--overwrite", help="Replace the results of other runs.")
        ] = False,
        quiet: Annotated[
            bool, typer.Option("--quiet", "-q", help="Show no progress.")
        ] = False,
    ) -> None:
        """Runs the experiments, and writes the page after each of them."""
        _checks.one_of("scale", scale, _SCALES)
        names = tuple(entry.name for entry in entries)
        for name in only or ():
            _checks.one_of("only", name, names)
        chosen = [entry for entry in entries if not only or entry.name in only]
        plan = Plan(chosen, scale, output, folders(data or (), names), overwrite)
        path = check_output(output / _PAGE, True, suffixes=(".md",))
        done: dict[str, Outcome] = {}

        @contextmanager
        def progress(entry: Entry) -> Iterator[Report]:
            place = f"{len(done) + 1} of {len(chosen)}, {entry.name}"
            left = remaining(plan, list(done.values()))
            if not quiet:
                rest = "" if left is None else f"; about {duration(left)} to go in all"
                say(f"{place}{rest}")
            with progress_bar("steps", quiet) as report:
                yield lambda what, at, total: report(f"{place}: {what}", at, total)

        for outcome in run(plan, progress):
            done[outcome.entry.name] = outcome
            shown = [done.get(e.name) or stored(e, scale, output) for e in entries]
            text = page(scale, _command(scale, output), shown, output)
            with new_file(path, overwrite=True) as temporary:
                temporary.write_text(text)
            if outcome.error:
                say(f"  failed after {duration(outcome.seconds)}: {outcome.error}")
            elif not quiet:
                say(f"  done in {duration(outcome.seconds)}")
        say(f"Written: {path}")
        failed = [name for name, outcome in done.items() if outcome.error]
        if failed:
            say(f"Failed: {', '.join(failed)}; the page says why.")
            raise typer.Exit(1)

    return app_of(reproduce.__doc__ or "", main)


def folders(given: Sequence[str], names: Sequence[str]) -> Mapping[str, Path]:
    """Reads what ``--data`` was given.

    Raises:
      ValueError: one is not ``EXPERIMENT=FOLDER``, or names no experiment.
    """
    found = {}
    for text in given:
        name, equals, folder = text.partition("=")
        if not equals or not folder:
            raise ValueError(f"data must be EXPERIMENT=FOLDER, got {text!r}")
        _checks.one_of("data's experiment", name, tuple(names))
        found[name] = Path(folder)
    return found


def _command(scale: str, output: Path) -> str:
    return f"python -m experiments.reproduce --scale {scale} -o {output}"


app = command(ENTRIES)
