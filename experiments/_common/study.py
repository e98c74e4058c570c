"""A study: a frozen config for each scale, a result, a table and a figure of it.

Every study has the same command line and leaves the same three files, so an experiment
is what it computes and draws, and nothing else.
"""

import csv
import dataclasses
import importlib.util
import json
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Generic, TypeVar

import typer

from experiments._common.environment import environment, plain
from semrsm_jax import _checks
from semrsm_jax.cli._console import Report, guarded, progress_bar, say, say_fields
from semrsm_jax.store import check_output, new_file

if TYPE_CHECKING:
    from matplotlib.figure import Figure

_C = TypeVar("_C")
_R = TypeVar("_R")

_SUFFIXES = (".json", ".csv", ".png")
_PACKAGES = ("semrsm_jax", "jax", "jaxlib", "flax", "optax", "numpy", "scipy")


@dataclasses.dataclass(frozen=True)
class Study(Generic[_C, _R]):
    """What an experiment has to say of itself.

    Attributes:
      name: of its files and of its default folder.
      doc: its help: what it does, and what to expect.
      scales: name of each scale -> its config, a frozen dataclass; the first is the
        default.
      run: computes the result; it reports as ``report(description, done, total)``.
      summary: name -> figure, the few that answer the question.
      rows: the table behind the figure, a dict a row, all with the same keys.
      draw: the figure.
      needs: module -> the distribution that brings it, beyond what the package needs.
    """

    name: str
    doc: str
    scales: Mapping[str, _C]
    run: Callable[[_C, Report], _R]
    summary: Callable[[_R], Mapping[str, Any]]
    rows: Callable[[_R], Sequence[Mapping[str, Any]]]
    draw: Callable[[_R], "Figure"]
    needs: Mapping[str, str]


def command(study: Study[Any, Any]) -> typer.Typer:
    """The command line of a study."""
    app = typer.Typer(
        add_completion=False,
        pretty_exceptions_enable=False,
        context_settings={"help_option_names": ["-h", "--help"]},
    )
    default, *_ = study.scales

    # \b keeps the lines of a paragraph as they are, here of the indented ones.
    @app.command(help=study.doc.replace("\n\n    ", "\n\n\b\n    "))
    @guarded
    def main(
        scale: Annotated[
            str, typer.Option(help=f"How much to run: {' or '.join(study.scales)}.")
        ] = default,
        output: Annotated[
            Path, typer.Option("--output", "-o", help="Folder for numbers and figure.")
        ] = Path("results") / study.name,
        overwrite: Annotated[
            bool, typer.Option("--overwrite", help="Replace the files of another run.")
        ] = False,
        quiet: Annotated[
            bool, typer.Option("--quiet", "-q", help="Show no progress.")
        ] = False,
    ) -> None:
        _checks.one_of("scale", scale, tuple(study.scales))
        paths = [
            check_output(
                output / f"{study.name}{suffix}", overwrite, suffixes=(suffix,)
            )
            for suffix in _SUFFIXES
        ]
        _check_installed(study)
        config = study.scales[scale]
        with progress_bar("steps", quiet) as report:
            result = study.run(config, report)
        _write(study, scale, config, result, paths, overwrite)
        say_fields(study.summary(result))
        say(f"Written: {', '.join(map(str, paths))}")

    return app


def _check_installed(study: Study[Any, Any]) -> None:
    """Raises ImportError before the work, not after it."""
    for module, distribution in study.needs.items():
        if importlib.util.find_spec(module) is None:
            raise ImportError(
                f"{study.name} needs {module}: pip install {distribution}"
            )


def _write(
    study: Study[Any, Any],
    scale: str,
    config: Any,
    result: Any,
    paths: Sequence[Path],
    overwrite: bool,
) -> None:
    numbers, table, figure = paths
    rows = [plain(dict(row)) for row in study.rows(result)]
    document = {
        "study": study.name,
        "scale": scale,
        "config": plain(dataclasses.asdict(config)),
        "environment": environment((*_PACKAGES, *study.needs.values())),
        "summary": plain(dict(study.summary(result))),
        "rows": rows,
    }
    with new_file(numbers, overwrite) as temporary:
        temporary.write_text(json.dumps(document, indent=2))
    with new_file(table, overwrite) as temporary:
        with temporary.open("w", newline="") as stream:
            writer = csv.DictWriter(stream, list(rows[0]))
            writer.writeheader()
            writer.writerows(rows)
    with new_file(figure, overwrite) as temporary:
        study.draw(result).savefig(temporary)
