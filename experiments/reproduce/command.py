"""The command line of the reproduction."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Annotated, Any

import typer

from experiments import reproduce
from experiments.frame.command_line import app_of, check_choice
from experiments.frame.study import Study
from experiments.reproduce.page import page
from experiments.reproduce.run import Outcome, Plan, remaining, run, stored
from semrsm_jax.cli import options
from semrsm_jax.cli.console import Report, duration, progress_bar, say
from semrsm_jax.store import check_output, new_file

_SCALES = ("bundled", "smoke", "pretrained", "paper")
_PAGE = "results.md"


def command(studies: Mapping[str, Study[Any, Any]]) -> typer.Typer:
    """The command line that runs studies, each by its name."""

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
                help=f"Of {', '.join(studies)}; repeatable. The page shows the results "
                "that exist of the others.",
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
        images: Annotated[
            Path | None,
            typer.Option(
                help="Folder of your photographs, for all experiments of the scale "
                "pretrained; by default those that scikit-image brings along."
            ),
        ] = None,
        overwrite: options.Overwrite = False,
        quiet: options.Quiet = False,
    ) -> None:
        """Runs the experiments, and writes the page after each of them."""
        check_choice("scale", scale, _SCALES)
        for name in only or ():
            check_choice("only", name, studies)
        if images is not None and scale != "pretrained":
            raise ValueError(
                f"--images is for the scale pretrained, got it with {scale}; --data "
                "EXPERIMENT=FOLDER is for the scale paper"
            )
        # Others have no such scale, and are not on its page; none: they all fail.
        having = {name for name, study in studies.items() if scale in study.scales}
        named = having.union(only or ()) if having else set(studies)
        shown = {name: study for name, study in studies.items() if name in named}
        chosen = {n: study for n, study in shown.items() if not only or n in only}
        given = folders(data or (), tuple(studies))
        if images is not None:
            takers = [name for name, study in chosen.items() if study.data]
            given = {**dict.fromkeys(takers, images), **given}
        plan = Plan(chosen, scale, output, given, overwrite)
        path = check_output(output / _PAGE, True, suffixes=(".md",))
        done: dict[str, Outcome] = {}

        for number, name in enumerate(chosen, 1):
            place = f"{number} of {len(chosen)}, {name}"
            left = remaining(plan, list(done.values()))
            if not quiet:
                rest = "" if left is None else f"; about {duration(left)} to go in all"
                say(f"{place}{rest}")
            with progress_bar("steps", quiet) as report:
                outcome = done[name] = run(plan, name, _after(f"{place}: ", report))
            outcomes = [
                done.get(name) or stored(study, scale, output)
                for name, study in shown.items()
            ]
            made_by = f"python -m experiments.reproduce --scale {scale} -o {output}"
            text = page(scale, made_by, outcomes, output)
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


def _after(start: str, report: Report) -> Report:
    return lambda what, at, total: report(start + what, at, total)


def folders(given: Sequence[str], names: Sequence[str]) -> Mapping[str, Path]:
    """Reads what ``--data`` was given.

    Raises:
      ValueError: one is not ``EXPERIMENT=FOLDER``, or names no experiment.
    """
    named = {}
    for text in given:
        name, equals, folder = text.partition("=")
        if not equals or not folder:
            raise ValueError(f"data must be EXPERIMENT=FOLDER, got {text!r}")
        check_choice("data", name, tuple(names))
        named[name] = Path(folder)
    return named
