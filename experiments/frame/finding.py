"""What a study found, as data: the paper's statements beside our numbers, and goals."""

import math
import operator
from collections.abc import Callable, Hashable, Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any, Literal, NamedTuple, TypeVar

from jax.typing import ArrayLike

from semrsm_jax.comparison.inference import mean_interval

_E = TypeVar("_E")
_K = TypeVar("_K", bound=Hashable)
Verdict = Literal["agrees", "differs", "not asked"]


class Number(NamedTuple):
    """A number with the limits of its 95 % interval, NaN where there is none."""

    value: float
    low: float = math.nan
    high: float = math.nan

    def __str__(self) -> str:
        """For example "0.371 [0.25, 0.49]"."""
        limits = f" [{self.low:.4g}, {self.high:.4g}]"
        return f"{self.value:.4g}{'' if math.isnan(self.low) else limits}"

    def columns(self, name: str, separator: str = ", ") -> dict[str, float]:
        """The number and its limits in the columns of a table."""
        ends = (name, f"{name}{separator}low", f"{name}{separator}high")
        return dict(zip(ends, self, strict=True))


@dataclass(frozen=True)
class Quantity:
    """Numbers of one kind: one number, or one a layer, a network or a size.

    Attributes:
      label: what they are, written before them. Without values, all there is to say.
      values: numbers or intervals, see `number`; None and NaN where there is none.
      unit: written behind them.
      digits: after the decimal point; None: three significant digits.
    """

    label: str
    values: Iterable[Any] = ()
    unit: str = ""
    digits: int | None = 3

    def __post_init__(self) -> None:
        """Takes numbers and intervals of any type; keeps a tuple of `Number`."""
        object.__setattr__(self, "values", tuple(map(number, self.values)))

    def __str__(self) -> str:
        """For example "gain 0.068 [0.046, 0.091], 0.044"."""
        numbers = ", ".join(map(self._text, self.values))
        return " ".join(part for part in (self.label, numbers, self.unit) if part)

    def _text(self, number: Number) -> str:
        value, *limits = (self._rounded(each) for each in number)
        return value if math.isnan(number.low) else f"{value} [{', '.join(limits)}]"

    def _rounded(self, value: float) -> str:
        if math.isnan(value):
            return "?"
        if self.digits is None:
            return f"{float(f'{value:.3g}'):,g}"
        return f"{value:.{self.digits}f}"


def number(value: Any) -> Number:
    """A number, an interval, a mapping of JSON, or None as a `Number`.

    Args:
      value: an interval has the attributes `low`, `high` and `value` or `estimate`.
    """
    if isinstance(value, Number):
        return value
    if isinstance(value, Mapping):
        known = {name: end for name, end in value.items() if end is not None}
        return Number(**{"value": math.nan, **known})
    if hasattr(value, "low"):
        middle = value.estimate if hasattr(value, "estimate") else value.value
        return Number(float(middle), float(value.low), float(value.high))
    return Number(math.nan if value is None else float(value))


def mean_number(values: ArrayLike) -> Number:
    """The mean of few independent values, such as one a seed, with its t interval."""
    return number(mean_interval(values))


def count(flags: Iterable[bool], unit: str = "") -> Quantity:
    """How many of the flags are set: "3 of 5 networks"."""
    flags = list(flags)
    return Quantity("", [sum(flags)], f"of {len(flags)} {unit}".strip(), digits=0)


def grouped(entries: Iterable[_E], key: Callable[[_E], _K]) -> dict[_K, list[_E]]:
    """The entries of each key, in their order."""
    groups: dict[_K, list[_E]] = {}
    for entry in entries:
        groups.setdefault(key(entry), []).append(entry)
    return groups


@dataclass(frozen=True)
class Finding:
    """A statement, what the paper reports on it, and what was measured here.

    Attributes:
      statement: what was looked at, in plain words.
      source: the table, figure or section of the paper; empty where it has none.
      paper: what the paper reports.
      ours: our numbers.
      verdict: whether both point the same way; "not asked" where the paper has no such
        number.
      reason: the likely reason where they differ.
    """

    statement: str
    source: str
    paper: tuple[Quantity, ...]
    ours: tuple[Quantity, ...]
    verdict: Verdict = "not asked"
    reason: str = ""

    @classmethod
    def from_json(cls, fields: Mapping[str, Any]) -> "Finding":
        """The finding that a study stored."""
        sides = {
            side: tuple(Quantity(**quantity) for quantity in fields[side])
            for side in ("paper", "ours")
        }
        return cls(**{**fields, **sides})


def verdict(agrees: bool) -> Verdict:
    """The verdict on a statement of the paper."""
    return "agrees" if agrees else "differs"


@dataclass(frozen=True)
class Section:
    """What the results page writes around the findings of a study.

    Attributes:
      title: of the section.
      question: what the study asks, in words that do not need the paper.
      differs: scale -> how the set-up differs from the paper's.
      captions: key of a figure in `Study.figures` -> what it shows; figures without a
        caption are not on the page.
      minutes: scale -> about how long it takes on two cores, for the time remaining.
    """

    title: str
    question: str
    differs: Mapping[str, str] = field(default_factory=dict)
    captions: Mapping[str, str] = field(default_factory=dict)
    minutes: Mapping[str, float] = field(default_factory=dict)


class Measurement(NamedTuple):
    """A row of a benchmark.

    Attributes:
      name: what was measured, with the sizes that it was measured at.
      value: the number.
      unit: of the number; empty for ratios.
      relation: how `value` must stand to `goal`.
      goal: what is aimed at; None: there is no goal.
    """

    name: str
    value: float
    unit: str = ""
    relation: Literal["<=", ">="] = "<="
    goal: float | None = None

    @property
    def met(self) -> bool | None:
        """Whether the number is as good as its goal; None without a goal."""
        if self.goal is None:
            return None
        compare = operator.ge if self.relation == ">=" else operator.le
        return bool(compare(self.value, self.goal))

    def row(self) -> dict[str, Any]:
        """The measurement and whether it meets its goal, for a table."""
        return {**self._asdict(), "met": self.met}

    def __str__(self) -> str:
        """For example "matrix, ours / peer: 0.21; goal at most 0.333: met"."""
        text = f"{self.name}: {self.value:.3g}{self.unit and ' ' + self.unit}"
        if self.goal is None:
            return text
        most = "at least" if self.relation == ">=" else "at most"
        met = "met" if self.met else "MISSED"
        return f"{text}; goal {most} {self.goal:.3g}: {met}"
