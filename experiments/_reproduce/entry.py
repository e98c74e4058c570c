"""An experiment on the results page: what it asks, who runs it, how it compares.

One `Entry` is all that an experiment needs to be run and to appear on the page.
"""

from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, NamedTuple, Protocol

from experiments._common.study import Study, conduct
from semrsm_jax.cli.console import Report

Document = Mapping[str, Any]  # the JSON that an experiment writes


class Experiment(Protocol):
    """What can be run at a scale.

    It leaves ``NAME.json`` in its folder, with the keys `scale`, `summary`, `seconds`
    and `environment`, and figures ``NAME.png`` or ``NAME-END.png``. Called again, it
    does what is missing.
    """

    @property
    def scales(self) -> Collection[str]:
        """The names of its scales."""
        ...

    def run(
        self,
        scale: str,
        data: Path | None,
        folder: Path,
        report: Report,
        overwrite: bool,
    ) -> None:
        """Runs what is missing of it, and writes its files."""
        ...


@dataclass(frozen=True)
class FromStudy:
    """A `Study` as an experiment."""

    study: Study[Any, Any]

    @property
    def scales(self) -> Collection[str]:
        """As in `Experiment`."""
        return tuple(self.study.scales)

    def run(
        self,
        scale: str,
        data: Path | None,
        folder: Path,
        report: Report,
        overwrite: bool,
    ) -> None:
        """As in `Experiment`."""
        config = self.study.scales[scale]
        if data is not None:
            if not self.study.data:
                raise ValueError(f"{self.study.name} takes no data")
            config = replace(config, data=data)
        conduct(self.study, scale, config, folder, report, overwrite=overwrite)


class Comparison(NamedTuple):
    """One finding of the paper beside ours.

    Attributes:
      finding: what was looked at, in plain words.
      paper: what the paper found.
      source: the table, figure or section that says so.
      ours: what we found, with its interval where there is one.
      agrees: whether both point the same way; None where the paper has no such number.
      why: where they do not agree, the likely reason.
    """

    finding: str
    paper: str
    source: str
    ours: str
    agrees: bool | None
    why: str = ""


@dataclass(frozen=True)
class Entry:
    """An experiment on the page.

    Attributes:
      name: of its files.
      title: of its section.
      question: what it asks, in words that need no paper.
      load: imports it, which may fail where an extra is missing.
      compare: sets its JSON beside the paper's numbers.
      differs: how the set-up at each scale differs from the paper's, in plain words.
      captions: what the name of a figure's file ends in, "" for ``NAME.png`` -> what
        it shows; figures without a caption are not on the page.
      minutes: scale -> about how long it takes on two cores, for the time remaining.
      folder: that its files are in; empty: one of its name.
    """

    name: str
    title: str
    question: str
    load: Callable[[], Experiment]
    compare: Callable[[Document], Sequence[Comparison]]
    differs: Mapping[str, str] = field(default_factory=dict)
    captions: Mapping[str, str] = field(default_factory=dict)
    minutes: Mapping[str, float] = field(default_factory=dict)
    folder: str = ""

    @property
    def place(self) -> str:
        """The folder of its files, below that of the page."""
        return self.folder or self.name
