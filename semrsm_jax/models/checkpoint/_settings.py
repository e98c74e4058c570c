"""Reading a checkpoint's config.json, with errors that name the file and the key."""

from collections.abc import Mapping
from typing import Any

import jax

from semrsm_jax.models._layers import Activation, gelu, quick_gelu, relu

# The names of activations in a config, as transformers writes them.
ACTIVATIONS: dict[str, Activation] = {
    "gelu": gelu,
    "gelu_fast": jax.nn.gelu,
    "gelu_new": jax.nn.gelu,
    "gelu_python": gelu,
    "gelu_pytorch_tanh": jax.nn.gelu,
    "quick_gelu": quick_gelu,
    "relu": relu,
    "relu6": jax.nn.relu6,
    "silu": jax.nn.silu,
    "swish": jax.nn.silu,
    "tanh": jax.nn.tanh,
}


class Settings:
    """The values of a config, each read with its expected type.

    A missing or null key has the default of transformers: configs on the hub omit
    values that equal the default.
    """

    def __init__(self, where: str, values: Mapping[str, Any]) -> None:
        """Reads from `values`; `where` names the file in errors."""
        self._where, self._values = where, values

    def _get(self, key: str, default: Any) -> Any:
        value = self._values.get(key)
        return default if value is None else value

    def _error(self, key: str, value: Any, expected: str) -> ValueError:
        return ValueError(f"{self._where}: {key} must be {expected}, got {value!r}")

    def inner(self, *keys: str) -> "Settings":
        """The settings of one part, under the first of the keys that exists."""
        key = next((k for k in keys if self._values.get(k) is not None), keys[-1])
        value = self._get(key, {})
        if not isinstance(value, dict):
            raise self._error(key, value, "an object")
        return Settings(f"{self._where}, {key}", value)

    def is_of(self, name: str) -> bool:
        """Whether the checkpoint is of this class of transformers."""
        return name in self._get("architectures", [])

    def count(self, key: str, default: int, least: int = 1) -> int:
        """An integer of at least `least`."""
        value = self._get(key, default)
        if not isinstance(value, int) or isinstance(value, bool) or value < least:
            raise self._error(key, value, f"an integer of at least {least}")
        return value

    def number(self, key: str, default: float) -> float:
        """A positive number."""
        value = self._get(key, default)
        if isinstance(value, bool) or not isinstance(value, int | float) or value <= 0:
            raise self._error(key, value, "a positive number")
        return float(value)

    def flag(self, key: str, default: bool) -> bool:
        """True or false."""
        value = self._get(key, default)
        if not isinstance(value, bool):
            raise self._error(key, value, "true or false")
        return value

    def choice(self, key: str, default: str, choices: tuple[str, ...]) -> str:
        """One of some words, in lower case."""
        value = str(self._get(key, default)).lower()
        if value not in choices:
            raise self._error(key, value, f"one of {', '.join(choices)}")
        return value

    def counts(self, key: str, default: tuple[int, ...]) -> tuple[int, ...]:
        """A list of integers, none negative."""
        value = self._get(key, default)
        if not isinstance(value, list | tuple) or not all(
            isinstance(v, int) and not isinstance(v, bool) and v >= 0 for v in value
        ):
            raise self._error(key, value, "a list of integers")
        return tuple(value)

    def pair(self, key: str, default: int) -> tuple[int, int]:
        """Rows and columns; one number stands for both."""
        value = self._get(key, default)
        if isinstance(value, int):
            value = (value, value)
        if not isinstance(value, list | tuple) or len(value) != 2:
            raise self._error(key, value, "an integer or two")
        rows, columns = Settings(self._where, {key: list(value)}).counts(key, ())
        return rows, columns

    def side(self, key: str, default: int) -> int:
        """The side of a square, given by one number or two."""
        rows, columns = self.pair(key, default)
        if rows != columns:
            raise self._error(key, (rows, columns), "a square")
        return rows

    def activation(self, key: str, default: str) -> Activation:
        """The function of a transformers name."""
        value = self._get(key, default)
        if value not in ACTIVATIONS:
            raise self._error(key, value, f"one of {', '.join(ACTIVATIONS)}")
        return ACTIVATIONS[value]

    def labels(self) -> int:
        """The number of classes; 2, transformers' default, if no labels are named."""
        labels = self._get("id2label", None)
        return len(labels) if labels else self.count("num_labels", 2, least=0)
