"""Checks of the configs of experiments."""

from numbers import Integral
from typing import Any


def check_counts(config: Any, *names: str, minimum: int = 1) -> None:
    """Checks that fields of a config are integers of at least `minimum`.

    Raises:
      TypeError: a field is not an integer.
      ValueError: a field is below `minimum`.
    """
    for name in names:
        value = getattr(config, name)
        if isinstance(value, bool) or not isinstance(value, Integral):
            raise TypeError(f"{name} must be an integer, got {value!r}")
        if int(value) < minimum:
            raise ValueError(f"{name} must be at least {minimum}, got {value}")
