"""A study: a frozen config for each scale, a result, and what is made of the result.

An experiment states what it computes, draws and finds; running it, its files and its
command line are the same for all, see `conduct` and `command_line`.

    STUDY = Study(
        name="translation",
        doc=__doc__,                      # the help of the command
        scales=SCALES,                    # {"bundled": Config(), "smoke": ...}
        run=run,                          # (config, session) -> result
        rows=rows,                        # result -> the table, NAME.csv
        summary=summary,                  # result -> {name: number or interval}
        findings=findings,                # result -> [Finding(...), ...]
        figures={"": draw, "depth": draw_depth},   # NAME.png, NAME-depth.png
        section=SECTION,                  # of the results page
    )

A benchmark is a study whose numbers are `Measurement` with goals:

    STUDY = benchmark("engine", __doc__, SCALES, measure, measurements)
"""

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, Generic, TypeVar

from experiments.frame.finding import Finding, Measurement, Section
from experiments.frame.session import Session
from experiments.frame.worker import Report

if TYPE_CHECKING:
    from matplotlib.figure import Figure

_C = TypeVar("_C")
_R = TypeVar("_R")

NUMBERS, TABLE = ".json", ".csv"
_SCENES = {
    "matplotlib": "matplotlib",
    "skimage": "scikit-image",
    "sklearn": "scikit-learn",
}


def _nothing(*_: Any) -> Any:
    """For a study that does not have such an output."""
    return {}


@dataclass(frozen=True)
class Study(Generic[_C, _R]):
    """All that is particular to an experiment.

    Attributes:
      name: of its files and of its default folder.
      doc: its help: what it does, and what to expect.
      scales: name of each scale -> its config, a frozen dataclass; the first is the
        default.
      run: computes the result, in steps of the session that are not done twice.
      rows: the table behind the figures, a dict a row, all with the same keys; None:
        there is no table.
      summary: name -> number, interval or text, the few that answer the question.
      findings: statements of the paper beside our numbers.
      measurements: (config, result) -> measured numbers with their goals.
      details: what else the JSON file holds: key -> value.
      figures: what the name of a figure's file ends in -> what draws it, or returns
        None where a part that it shows was not run; "" for the one named like the
        study.
      show: JSON document -> what the command prints of it, lines or tables of rich;
        None: the summary and the measurements.
      section: what the results page writes around the findings; None: not on the page.
      needs: module -> the distribution that brings it, beyond what the package needs;
        by default what composed scenes and figures need.
      data: what the folder given as ``--data`` must hold, for studies whose configs
        have a field `data`; empty: there is no such option.
      composed: scales that make their images, and read no such folder.
      parts: names of parts that ``--only`` can pick, see `Session.only`; empty: there
        is no such option.
      folder: of its files below the results; empty: `name`.
      packages: distributions whose versions are recorded.
      resumable: whether finished steps are kept and read again. Without, a second run
        measures again, and replaces the files of the first with ``--overwrite`` only.
    """

    name: str
    doc: str
    scales: Mapping[str, _C]
    run: Callable[[_C, Session], _R]
    rows: Callable[[_R], Sequence[Mapping[str, Any]]] | None = None
    summary: Callable[[_R], Mapping[str, Any]] = _nothing
    findings: Callable[[_R], Iterable[Finding]] = _nothing
    measurements: Callable[[_C, _R], Iterable[Measurement]] = _nothing
    details: Callable[[_R], Mapping[str, Any]] = _nothing
    figures: Mapping[str, Callable[[_R], "Figure | None"]] = field(default_factory=dict)
    show: Callable[[Mapping[str, Any]], Iterable[Any]] | None = None
    section: Section | None = None
    needs: Mapping[str, str] = field(default_factory=lambda: dict(_SCENES))
    data: str = ""
    composed: tuple[str, ...] = ()
    parts: tuple[str, ...] = ()
    folder: str = ""
    packages: tuple[str, ...] = (
        *("semrsm_jax", "jax", "jaxlib", "flax", "optax", "numpy", "scipy"),
    )
    resumable: bool = True

    def config(self, scale: str, data: Path | None) -> _C:
        """The config of a scale, with the user's folder where there is one.

        Raises:
          ValueError: there is no such scale, or a folder that it would not read.
        """
        if scale not in self.scales:
            raise ValueError(
                f"{self.name} has no scale {scale!r}, only {', '.join(self.scales)}"
            )
        if data is None:
            return self.scales[scale]
        if not self.data:
            raise ValueError(f"{self.name} takes no --data")
        if scale in self.composed:
            reading = [known for known in self.scales if known not in self.composed]
            raise ValueError(
                f"{self.name} reads no folder at the scale {scale}, got --data {data}; "
                f"--scale {' or '.join(reading)} does"
            )
        config: Any = self.scales[scale]
        return replace(config, data=data)

    @property
    def one_file(self) -> bool:
        """Whether the numbers are all that it writes."""
        return self.rows is None and not self.figures

    def paths(self, output: Path) -> dict[str, Path]:
        """What each file ends in -> its path: numbers, table and figures.

        Args:
          output: the folder; for a study of one file also that file, ending in .json.
        """
        if output.suffix == NUMBERS and self.one_file:
            return {NUMBERS: output}
        figures = (f"-{name}.png" if name else ".png" for name in self.figures)
        ends = (NUMBERS, *((TABLE,) if self.rows else ()), *figures)
        return {end: output / f"{self.name}{end}" for end in ends}


def benchmark(
    name: str,
    doc: str | None,
    scales: Mapping[str, _C],
    measure: Callable[[_C, Report], Mapping[str, Any]],
    measurements: Callable[[_C, Mapping[str, Any]], Iterable[Measurement]],
    needs: Mapping[str, str] | None = None,
) -> Study[_C, Mapping[str, Any]]:
    """A study that measures cost: one file of numbers, measured anew by every run.

    Args:
      name: of its file and of its default folder.
      doc: its help: what is measured, and what to expect.
      scales: name of each scale -> its config; the first is the default. Where a config
        has a field `has_goals` that is not set, its sizes have no goals.
      measure: name -> what was measured, as JSON can express it; it reports progress
        as ``report(description, done, total)``.
      measurements: what is printed of that, with goals.
      needs: module -> the distribution that brings it, beyond what the package needs.
    """

    def with_goals(config: _C, result: Mapping[str, Any]) -> Iterator[Measurement]:
        has_goals = getattr(config, "has_goals", True)
        for each in measurements(config, result):
            yield each if has_goals else each._replace(goal=None)

    return Study(
        name=name,
        doc=doc or "",
        scales=scales,
        run=lambda config, session: measure(config, session.report),
        measurements=with_goals,
        details=lambda result: result,
        needs=needs or {},
        packages=("semrsm_jax", "jax", "jaxlib", "numpy"),
        resumable=False,
    )
