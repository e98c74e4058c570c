"""The files of the benchmark: run what is missing of it, write what it found."""

import csv
import json
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from experiments._common.command_line import check_installed
from experiments._common.session import Session, fingerprint
from experiments._common.spent import seconds, time_kept
from experiments._common.study import is_of
from experiments.runtime.config import RuntimeConfig
from experiments.runtime.figures import (
    isotropy_figure,
    pareto_figure,
    quality_figure,
)
from experiments.runtime.report import Results, table5_rows, to_json
from experiments.runtime.sections import SECTIONS, run
from semrsm_jax.cli.console import Report
from semrsm_jax.store import check_output, new_file

if TYPE_CHECKING:
    from matplotlib.figure import Figure

NAME = "runtime"
_NEEDS = {"skimage": "scikit-image", "matplotlib": "matplotlib", "lap": "lapx"}
_NUMBERS, _TABLE = f"{NAME}.json", f"{NAME}.csv"
# File -> the section that it shows, and what draws it.
_FIGURES: dict[str, tuple[str, "Callable[[Results], Figure]"]] = {
    f"{NAME}.png": ("table5", pareto_figure),
    f"{NAME}-quality.png": ("depth", quality_figure),
    f"{NAME}-isotropy.png": ("depth", isotropy_figure),
}


def conduct(
    scale: str,
    config: RuntimeConfig,
    output: Path,
    report: Report,
    only: Sequence[str] = (),
    overwrite: bool = False,
) -> tuple[Results, list[Path]]:
    """Runs the benchmark, or what is missing of it, and writes its files.

    Args:
      scale: the name of the config.
      config: the settings.
      output: folder of the files; finished sections are kept below it.
      report: called as ``report(description, done, total)``.
      only: the sections to be run; none: all.
      overwrite: replace files of another run. Those of the same one are what a second
        call reads its sections for, and are written again.

    Returns:
      What was found, and the files written.

    Raises:
      ImportError: what the benchmark needs is not installed.
      ValueError: the files cannot be written, or are those of another run.
    """
    check_installed("the benchmark", _NEEDS)
    names = [name for name in SECTIONS if not only or name in only]
    overwrite = overwrite or is_of(output / _NUMBERS, scale, config)
    for name in (_NUMBERS, _TABLE, *_FIGURES):
        check_output(output / name, overwrite, suffixes=(Path(name).suffix,))
    steps = output / "steps" / f"{NAME}-{scale}-{fingerprint(config)}"
    with time_kept(steps, finished=False):
        results = run(config, names, Session(steps, report))
    written = []
    for name, (section, draw) in _FIGURES.items():
        if section in results:
            with new_file(output / name, overwrite) as temporary:
                draw(results).savefig(temporary)
            written.append(output / name)
    if "table5" in results:
        with new_file(output / _TABLE, overwrite) as temporary:
            _write_csv(temporary, table5_rows(results["table5"]))
        written.append(output / _TABLE)
    with new_file(output / _NUMBERS, overwrite) as temporary:
        document = to_json(scale, config, results, seconds(steps))
        temporary.write_text(json.dumps(document, indent=2))
    return results, [output / _NUMBERS, *written]


def _write_csv(path: Path, rows: Sequence[dict]) -> None:
    with path.open("w", newline="") as stream:
        writer = csv.DictWriter(stream, list(rows[0]))
        writer.writeheader()
        writer.writerows(rows)
