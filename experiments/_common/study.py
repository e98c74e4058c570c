"""A study: a frozen config for each scale, a result, a table and figures of it.

Every study has the same command line and leaves the same kinds of files, so an
experiment is what it computes and draws, and nothing else. Several studies may share a
command line, as the answers to several questions.
"""

import csv
import dataclasses
import json
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Generic, TypeVar

import typer

from experiments._common.command_line import app_of, check_installed
from experiments._common.environment import environment, plain
from experiments._common.session import Session, fingerprint, silent
from experiments._common.spent import seconds, time_kept
from semrsm_jax import _checks
from semrsm_jax.cli import options
from semrsm_jax.cli._rsm_store import crew
from semrsm_jax.cli.console import Report, progress_bar, say, say_fields
from semrsm_jax.store import check_output, new_file

if TYPE_CHECKING:
    from distributed import Client
    from matplotlib.figure import Figure

_C = TypeVar("_C")
_R = TypeVar("_R")

_NUMBERS, _TABLE = ".json", ".csv"
_SCENES = {
    "matplotlib": "matplotlib",
    "skimage": "scikit-image",
    "sklearn": "scikit-learn",
}
_PACKAGES = ("semrsm_jax", "jax", "jaxlib", "flax", "optax", "numpy", "scipy")


@dataclasses.dataclass(frozen=True)
class Study(Generic[_C, _R]):
    """What an experiment has to say of itself.

    Attributes:
      name: of its files and of its default folder.
      doc: its help: what it does, and what to expect.
      scales: name of each scale -> its config, a frozen dataclass; the first is the
        default.
      run: computes the result, in steps of the session that are not done twice.
      summary: name -> number, the few that answer the question.
      rows: the table behind the figures, a dict a row, all with the same keys.
      figures: what the name of a figure's file ends in -> what draws it; "" for the one
        named like the study.
      needs: module -> the distribution that brings it, beyond what the package needs;
        by default what composed scenes and figures need.
      data: what the folder given as ``--data`` must hold, for studies whose configs
        have a field `data`; empty: there is no such option.
    """

    name: str
    doc: str
    scales: Mapping[str, _C]
    run: Callable[[_C, Session], _R]
    summary: Callable[[_R], Mapping[str, Any]]
    rows: Callable[[_R], Sequence[Mapping[str, Any]]]
    figures: Mapping[str, Callable[[_R], "Figure"]]
    needs: Mapping[str, str] = dataclasses.field(default_factory=lambda: dict(_SCENES))
    data: str = ""

    def paths(self, folder: Path) -> dict[str, Path]:
        """What each file ends in -> its path: numbers, table and figures."""
        figures = (f"-{name}.png" if name else ".png" for name in self.figures)
        ends = (_NUMBERS, _TABLE, *figures)
        return {end: folder / f"{self.name}{end}" for end in ends}


def command(study: Study[Any, Any]) -> typer.Typer:
    """The command line of a study."""
    return _command({study.name: study}, study.name, study.doc)


def questions(
    name: str, doc: str, studies: Mapping[str, Study[Any, Any]]
) -> typer.Typer:
    """The command line of several studies, of which ``--question`` picks one.

    Args:
      name: of the default folder, which holds the files of all.
      doc: the help.
      studies: what each is called -> the study; all have the same scales.
    """
    return _command(studies, name, doc)


def _command(
    studies: Mapping[str, Study[Any, Any]], name: str, doc: str
) -> typer.Typer:
    scales = next(iter(studies.values())).scales
    takers = {key: study for key, study in studies.items() if study.data}

    def main(
        question: Annotated[
            str | None,
            typer.Option(
                help=f"Only one of {', '.join(studies)}.", hidden=len(studies) == 1
            ),
        ] = None,
        scale: Annotated[
            str, typer.Option(help=f"How much to run: {' or '.join(scales)}.")
        ] = next(iter(scales)),
        output: Annotated[
            Path,
            typer.Option(
                "--output",
                "-o",
                help="Folder for numbers and figures, and in steps/ what a run that is "
                "interrupted goes on from.",
            ),
        ] = Path("results") / name,
        data: Annotated[
            Path | None,
            typer.Option(
                help=" ".join(dict.fromkeys(s.data for s in takers.values())),
                hidden=not takers,
            ),
        ] = None,
        workers: Annotated[
            int | None, typer.Option(help="Match on so many local processes.")
        ] = None,
        cluster: Annotated[
            str | None, typer.Option(help="Match on the Dask cluster at this address.")
        ] = None,
        overwrite: options.Overwrite = False,
        quiet: options.Quiet = False,
    ) -> None:
        _checks.one_of("scale", scale, tuple(scales))
        if question is not None:
            _checks.one_of("question", question, tuple(studies))
        chosen = {k: s for k, s in studies.items() if question in (None, k)}
        if data is not None and not chosen.keys() & takers.keys():
            raise ValueError(f"{', '.join(chosen)} takes no --data")
        with (
            progress_bar("steps", quiet) as report,
            crew(workers, cluster) as client,
        ):
            for study in chosen.values():
                config = study.scales[scale]
                if data is not None and study.data:
                    config = dataclasses.replace(config, data=data)
                paths = conduct(study, scale, config, output, report, client, overwrite)
                if not quiet:
                    say_fields(json.loads(paths[_NUMBERS].read_text())["summary"])
                    say(f"Written: {', '.join(map(str, paths.values()))}")

    return app_of(doc, main)


def conduct(
    study: Study[_C, Any],
    scale: str,
    config: _C,
    output: Path,
    report: Report = silent,
    client: "Client | None" = None,
    overwrite: bool = False,
) -> dict[str, Path]:
    """Runs a study, or what is missing of it, and writes its files.

    Args:
      study: what to run.
      scale: the name of the config.
      config: what its work depends on.
      output: folder of its files; finished steps are kept below it.
      report: called as ``report(description, done, total)``.
      client: a Dask client for the matchings.
      overwrite: replace files of another run. Those of the same one are what a second
        call reads its steps for, and are written again.

    Returns:
      What each file ends in -> its path.

    Raises:
      ImportError: a module that the study needs is not installed.
      ValueError: the files cannot be written, or are those of another run.
    """
    check_installed(study.name, study.needs)
    paths = study.paths(output)
    finished = is_of(paths[_NUMBERS], scale, config)
    overwrite = overwrite or finished
    for end, path in paths.items():
        check_output(path, overwrite, suffixes=(Path(end).suffix or end,))
    steps = output / "steps" / f"{study.name}-{scale}-{fingerprint(config)}"
    with time_kept(steps, finished):
        result = study.run(config, Session(steps, report, client))
    _write(study, scale, config, result, seconds(steps), paths, overwrite)
    return paths


def is_of(numbers: Path, scale: str, config: Any) -> bool:
    """Whether the numbers are those of a run of this very config."""
    try:
        document = json.loads(numbers.read_text())
        return (document["scale"], document["config"]) == (scale, described(config))
    except (OSError, ValueError, KeyError, TypeError):
        return False


def described(config: Any) -> Any:
    """A config in types that JSON knows."""
    return plain(dataclasses.asdict(config))


def _write(
    study: Study[Any, Any],
    scale: str,
    config: Any,
    result: Any,
    spent: float,
    paths: Mapping[str, Path],
    overwrite: bool,
) -> None:
    rows = [plain(dict(row)) for row in study.rows(result)]
    document = {
        "study": study.name,
        "scale": scale,
        "config": described(config),
        "environment": environment((*_PACKAGES, *study.needs.values())),
        "seconds": round(spent, 1),
        "summary": plain(dict(study.summary(result))),
        "rows": rows,
    }
    # The numbers last: where they are, all is.
    for path, draw in zip(
        list(paths.values())[2:], study.figures.values(), strict=True
    ):
        with new_file(path, overwrite) as temporary:
            draw(result).savefig(temporary)
    with new_file(paths[_TABLE], overwrite) as temporary:
        with temporary.open("w", newline="") as stream:
            writer = csv.DictWriter(stream, list(rows[0]))
            writer.writeheader()
            writer.writerows(rows)
    with new_file(paths[_NUMBERS], overwrite) as temporary:
        temporary.write_text(json.dumps(document, indent=2))
