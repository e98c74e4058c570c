"""The command line of every study."""

import json
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Annotated, Any

import typer

from experiments.frame.conduct import conduct
from experiments.frame.finding import Measurement, Number, Quantity
from experiments.frame.study import NUMBERS, Study
from semrsm_jax.cli import options
from semrsm_jax.cli.console import guarded, progress_bar, say

_WIDTH = 100  # columns of tables where the terminal has fewer


def app_of(doc: str, main: Callable[..., None]) -> typer.Typer:
    """An application of one command.

    Args:
      doc: its help; lines that are indented stay as they are.
      main: the command, whose signature declares the options.
    """
    app = typer.Typer(
        add_completion=False,
        pretty_exceptions_enable=False,
        context_settings={"help_option_names": ["-h", "--help"]},
    )
    # \b keeps the lines of a paragraph as they are.
    app.command(help=doc.replace("\n\n    ", "\n\n\b\n    "))(guarded(main))
    return app


def command(study: Study[Any, Any]) -> typer.Typer:
    """The command line of a study."""
    return questions(study.folder or study.name, study.doc, {study.name: study})


def questions(
    name: str, doc: str, studies: Mapping[str, Study[Any, Any]]
) -> typer.Typer:
    """The command line of several studies, of which ``--question`` picks one.

    Args:
      name: of the default folder, which holds the files of all.
      doc: the help.
      studies: what each is called -> the study; all have the same scales.
    """
    scales = tuple(next(iter(studies.values())).scales)
    takers = {key: study for key, study in studies.items() if study.data}
    parts = tuple(part for study in studies.values() for part in study.parts)
    resumable = any(study.resumable for study in studies.values())
    steps = ", and in steps/ what a run that is interrupted goes on from" * resumable

    def main(
        question: Annotated[
            str | None,
            typer.Option(
                help=f"Only one of {', '.join(studies)}.", hidden=len(studies) == 1
            ),
        ] = None,
        scale: Annotated[
            str, typer.Option(help=f"How much to run: {' or '.join(scales)}.")
        ] = scales[0],
        output: Annotated[
            Path,
            typer.Option(
                "--output",
                "-o",
                help=f"Folder of {name}.json, or a file that ends in .json."
                if all(study.one_file for study in studies.values())
                else f"Folder for numbers and figures{steps}.",
            ),
        ] = Path("results") / name,
        data: Annotated[
            Path | None,
            typer.Option(
                "--data",
                "--images",
                help=" ".join(dict.fromkeys(s.data for s in takers.values())),
                hidden=not takers,
            ),
        ] = None,
        only: Annotated[
            list[str] | None,
            typer.Option(
                metavar="PART",
                help=f"Of {', '.join(parts)}; repeatable.",
                hidden=not parts,
            ),
        ] = None,
        workers: Annotated[
            int | None,
            typer.Option(
                help="Match on so many local processes.", hidden=not resumable
            ),
        ] = None,
        cluster: Annotated[
            str | None,
            typer.Option(
                help="Match on the Dask cluster at this address.", hidden=not resumable
            ),
        ] = None,
        overwrite: options.Overwrite = False,
        quiet: options.Quiet = False,
    ) -> None:
        check_choice("scale", scale, scales)
        if question is not None:
            check_choice("question", question, studies)
        for part in only or ():
            check_choice("only", part, parts)
        chosen = {
            name: study
            for name, study in studies.items()
            if question == name or (question is None and scale in study.scales)
        }
        if question is not None:
            check_choice("scale", scale, chosen[question].scales)
        if data is not None and not chosen.keys() & takers.keys():
            raise ValueError(f"{', '.join(chosen)} takes no --data")
        with (
            progress_bar("steps", quiet) as report,
            options.dask_client(workers, cluster) as client,
        ):
            for study in chosen.values():
                config = study.config(scale, data if study.data else None)
                paths = conduct(
                    study, scale, config, output, report, client, overwrite, only or ()
                )
                if not quiet:
                    _print(study, json.loads(paths[NUMBERS].read_text()))
                    say(f"Written: {', '.join(map(str, paths.values()))}")

    return app_of(doc, main)


def check_choice(option: str, value: str, choices: Mapping[str, Any] | tuple) -> None:
    """Checks that the value of an option is one of its choices.

    Raises:
      ValueError: it is not.
    """
    if value not in choices:
        raise ValueError(f"--{option} must be one of {', '.join(choices)}, got {value}")


def _print(study: Study[Any, Any], document: Mapping[str, Any]) -> None:
    from rich.console import Console

    console = Console(width=max(_WIDTH, Console().width))
    for item in (study.show or _shown)(document):
        if isinstance(item, str):
            say(item)
        else:
            console.print(item)


def _shown(document: Mapping[str, Any]) -> Iterator[str]:
    """The summary, and the measurements with their goals."""
    names = document["summary"]
    width = max(map(len, names), default=0)
    for name, value in names.items():
        yield f"  {name:<{width}}  {value_text(value)}"
    for row in document["measurements"]:
        yield str(Measurement(**{key: row[key] for key in Measurement._fields}))


def value_text(value: Any) -> str:
    """A value of a summary: an interval, a number, or text."""
    if isinstance(value, Mapping) and value.keys() == {*Number._fields}:
        return str(Quantity("", [value]))
    return f"{value:.4g}" if isinstance(value, float) else str(value)
