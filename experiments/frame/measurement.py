"""A measured number, and the goal that it is held to."""

import operator
from typing import Any, Literal, NamedTuple


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
