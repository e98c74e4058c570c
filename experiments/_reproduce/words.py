"""Numbers as the results page writes them."""

from collections.abc import Iterable, Mapping
from typing import Any


def number(value: float | None, digits: int = 3) -> str:
    """A number, rounded; "?" where there is none."""
    return "?" if value is None else f"{value:.{digits}f}"


def significant(value: float, digits: int = 3) -> str:
    """A number of any size, to so many digits that count: "42,000", "0.534"."""
    return f"{float(f'{value:.{digits}g}'):,g}"


def interval(found: Mapping[str, float | None], digits: int = 3) -> str:
    """What the JSON has of an estimate: its value, and in brackets its interval."""
    value, low, high = (number(found[key], digits) for key in ("value", "low", "high"))
    return f"{value} [{low}, {high}]"


def listed(values: Iterable[float], digits: int = 2) -> str:
    """Numbers in a row."""
    return ", ".join(number(value, digits) for value in values)


def how_many(flags: Iterable[bool]) -> str:
    """Of how many something holds: "3 of 4"."""
    flags = list(flags)
    return f"{sum(flags)} of {len(flags)}"


def value(found: Any) -> str:
    """An entry of a summary: an estimate, a number, or text."""
    if isinstance(found, Mapping):
        return interval(found)
    return number(found) if found is None or isinstance(found, float) else str(found)
