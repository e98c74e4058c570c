"""Runs what is missing of a study, and writes its files."""

import csv
import dataclasses
import hashlib
import importlib.util
import json
import time
import warnings
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

import experiments
import semrsm_jax
from experiments.frame.environment import environment, plain
from experiments.frame.session import Session, fingerprint, silent
from experiments.frame.study import NUMBERS, TABLE, Study
from experiments.frame.worker import Report
from semrsm_jax.store import check_output, new_file

if TYPE_CHECKING:
    from distributed import Client

_C = TypeVar("_C")
_SECONDS, _CODE = "seconds.json", "code.json"
_SOURCES = (".py", ".safetensors")  # what finished steps depend on


def conduct(
    study: Study[_C, Any],
    scale: str,
    config: _C,
    output: Path,
    report: Report = silent,
    client: "Client | None" = None,
    overwrite: bool = False,
    only: Sequence[str] = (),
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
      only: the parts of the study to be run; none: all.

    Returns:
      What each file that was written ends in -> its path.

    Raises:
      ImportError: a module that the study needs is not installed.
      ValueError: the files cannot be written, or are those of another run.

    Warns:
      UserWarning: steps of an earlier call were computed by other code.
    """
    # Before the work, not after it.
    for module, distribution in study.needs.items():
        if importlib.util.find_spec(module) is None:
            raise ImportError(
                f"{study.name} needs {module}: pip install {distribution}"
            )
    paths = study.paths(output)
    described = plain(config)
    finished = study.resumable and _is_of(paths[NUMBERS], scale, described)
    overwrite = overwrite or finished
    for end, path in paths.items():
        check_output(path, overwrite, suffixes=(Path(end).suffix or end,))
    steps = None
    if study.resumable:
        steps = output / "steps" / f"{study.name}-{scale}-{fingerprint(config)}"
        steps.mkdir(parents=True, exist_ok=True)
        compare_code(steps)
    session = Session(steps, report, client, tuple(only))
    start = time.perf_counter()
    try:
        result = study.run(config, session)
    finally:
        spent = time.perf_counter() - start
        if steps is not None:
            # Of a finished run the steps were only read.
            spent = _total(steps, 0 if finished and not study.parts else spent)
    details = study.details(result)
    document = {
        "study": study.name,
        "scale": scale,
        "config": described,
        "environment": environment((*study.packages, *study.needs.values())),
        "seconds": round(spent, 1),
        "summary": study.summary(result),
        "findings": [dataclasses.asdict(f) for f in study.findings(result)],
        "measurements": [m.row() for m in study.measurements(config, result)],
        "rows": [plain(dict(row)) for row in study.rows(result)] if study.rows else [],
    }
    if repeated := document.keys() & details.keys():
        raise ValueError(
            f"details of {study.name} must not repeat the keys of its document, got "
            f"{', '.join(sorted(repeated))}"
        )
    return _write(study, result, document | dict(details), paths, overwrite)


def _is_of(numbers: Path, scale: str, config: Any) -> bool:
    """Whether the numbers are those of a run of this very config."""
    try:
        document = json.loads(numbers.read_text())
        return (document["scale"], document["config"]) == (scale, config)
    except (OSError, ValueError, KeyError, TypeError):
        return False


def compare_code(steps: Path) -> None:
    """Warns where other code or other trained networks computed finished steps.

    Args:
      steps: folder of the steps, which exists.

    Warns:
      UserWarning: the package, the experiments or the networks were others.
    """
    folders = (Path(str(m.__file__)).parent for m in (semrsm_jax, experiments))
    files = (path for folder in folders for path in sorted(folder.rglob("*")))
    sources = [path for path in files if path.suffix in _SOURCES]
    code = hashlib.sha256(b"".join(path.read_bytes() for path in sources)).hexdigest()
    path = steps / _CODE
    try:
        before = json.loads(path.read_text())
    except (OSError, ValueError):
        before = code  # the first run
        with new_file(path, overwrite=True) as temporary:
            temporary.write_text(json.dumps(code))
    if before != code:
        warnings.warn(
            f"finished steps in {steps} were computed by another state of semrsm_jax, "
            "the experiments or their trained networks, and are not computed again; "
            "remove the folder where that matters, as for times",
            stacklevel=3,
        )


def _total(steps: Path, spent: float) -> float:
    """Adds seconds to those of the runs that were interrupted; their sum."""
    path = steps / _SECONDS
    try:
        spent += float(json.loads(path.read_text()))
    except (OSError, ValueError, TypeError):
        pass  # the first run
    with new_file(path, overwrite=True) as temporary:
        temporary.write_text(json.dumps(spent))
    return spent


def _write(
    study: Study[Any, Any],
    result: Any,
    document: Mapping[str, Any],
    paths: Mapping[str, Path],
    overwrite: bool,
) -> dict[str, Path]:
    written = {}
    ends = [end for end in paths if end.endswith(".png")]
    for end, draw in zip(ends, study.figures.values(), strict=True):
        figure = draw(result)
        if figure is None:  # what lies there shows another run
            paths[end].unlink(missing_ok=True)
        else:
            with new_file(paths[end], overwrite) as temporary:
                figure.savefig(temporary)
            written[end] = paths[end]
    if rows := document["rows"]:
        with new_file(paths[TABLE], overwrite) as temporary:
            with temporary.open("w", newline="") as stream:
                writer = csv.DictWriter(stream, list(rows[0]))
                writer.writeheader()
                writer.writerows(rows)
        written[TABLE] = paths[TABLE]
    elif TABLE in paths:
        paths[TABLE].unlink(missing_ok=True)
    # The numbers last: where they are, all other files are.
    with new_file(paths[NUMBERS], overwrite) as temporary:
        temporary.write_text(json.dumps(plain(document), indent=2))
    return {NUMBERS: paths[NUMBERS], **written}
