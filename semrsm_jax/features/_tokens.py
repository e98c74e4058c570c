"""Which tokens of which layers are kept."""

import dataclasses
import difflib
import re
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from semrsm_jax import _checks
from semrsm_jax._layouts import AXES
from semrsm_jax.features._readings import (
    Evidence,
    Reading,
    Stated,
    prefix_readings,
    read_output,
)

# One value for all layers, or one for each of some layers.
ByLayer = tuple[tuple[str, Any], ...]


@dataclasses.dataclass(frozen=True)
class TokenRule:
    """Which tokens of a layer's output are kept; compares by value.

    Attributes:
      tokens: ``"all"``; ``"patches"``, without the prefix tokens; or ``"cls"``, the
        first prefix token.
      prefix: the number of tokens before the patches in outputs (N, S, C), as the
        caller states it: of all layers, or of some by name. None: decided by layer.
      layout: of outputs with as many axes, ``"NHWC"``, ``"NCHW"``, ``"NSC"`` or
        ``"NCS"``: of all layers, or of some by name. None: decided by layer.
      stated: what the model states about its tokens.

    Raises:
      TypeError: a count is not an integer.
      ValueError: a field is out of its range.
    """

    tokens: str = "all"
    prefix: int | ByLayer | None = None
    layout: str | ByLayer | None = None
    stated: Stated = Stated()

    def __post_init__(self) -> None:
        """Checks the fields."""
        _checks.one_of("tokens", self.tokens, ("all", "patches", "cls"))
        for layout in _values(self.layout):
            _checks.one_of("layout", layout, tuple(AXES))
        for count in _values(self.prefix):
            _checks.at_least("prefix_tokens", count, 0)

    def read(
        self,
        name: str,
        shape: tuple[int, ...],
        samples: int,
        evidence: Evidence,
        **known: Any,
    ) -> tuple[Reading, slice]:
        """Decides how a layer's outputs are read, and which of its tokens are kept.

        `known` is passed to `read_output`.

        Raises:
          ValueError: the shape is not one of tokens, two readings are possible, or
            there are no such tokens.
        """
        # Layers stacked by nnx.scan or nnx.vmap give their own axis first.
        if len(shape) not in (2, 3, 4) or shape[0] != samples or 0 in shape:
            raise ValueError(
                f"layers: {name!r} gives shape {shape}, expected four axes, (N, S, C) "
                f"or (N, C) with N = {samples}"
            )
        layout = _of(self.layout, name)
        if isinstance(self.layout, str) and len(self.layout) != len(shape):
            layout = None  # it is about other layers
        prefix = _of(self.prefix, name) if len(shape) == 3 else None
        reading = read_output(
            name, shape, evidence, layout=layout, prefix=prefix, **known
        )
        return reading, self._kept(name, shape, reading, evidence)

    def _kept(
        self, name: str, shape: tuple[int, ...], reading: Reading, evidence: Evidence
    ) -> slice:
        """The tokens asked for."""
        if self.tokens == "all" or (len(shape) == 4 and self.tokens == "patches"):
            return slice(None)
        if len(shape) != 3:
            raise ValueError(
                f"layers: {name!r} gives shape {shape}, which holds no "
                f"{'CLS token' if self.tokens == 'cls' else 'patches'}; "
                f"tokens={self.tokens!r} fits (N, S, C)"
            )
        count = shape[1] if reading.layout == "NSC" else shape[2]
        if reading.prefix is None:
            raise ValueError(
                f"prefix_tokens must be the number of tokens of {name!r} before the "
                "patches (1 for a CLS token only, 0 for none): the layer has "
                f"{count} tokens, {_possible(count, evidence)}; state it: "
                f"prefix_tokens={{{name!r}: ...}}"
            )
        if self.tokens == "cls" and not reading.cls:
            why = "only registers" if reading.prefix else "prefix_tokens is 0"
            raise ValueError(f"tokens: {name!r} has no CLS token ({why})")
        if self.tokens == "patches" and reading.prefix >= count:
            raise ValueError(
                f"tokens: {name!r} has {count} tokens, of which {reading.prefix} "
                "come before the patches: none is left"
            )
        return slice(1) if self.tokens == "cls" else slice(reading.prefix, None)


def by_layer(name: str, value: Any, layers: Sequence[str]) -> Any:
    """A setting for all layers as it is, one by layer as pairs in the order of layers.

    Raises:
      ValueError: a key of the mapping, a layer or pattern, matches none of `layers`.
    """
    if not isinstance(value, Mapping):
        return value
    chosen = {}
    for key, each in value.items():
        matching = matching_layers(str(key), layers)
        if not matching:
            raise ValueError(
                f"{name}: {key!r} is none of the layers {', '.join(layers)}"
            )
        chosen |= dict.fromkeys(matching, each)
    return tuple((layer, chosen[layer]) for layer in layers if layer in chosen)


def _values(value: Any) -> Iterable[Any]:
    if isinstance(value, tuple):
        return [each for _, each in value]
    return [] if value is None else [value]


def _of(value: Any, name: str) -> Any:
    return dict(value).get(name) if isinstance(value, tuple) else value


def _possible(count: int, evidence: Evidence) -> str:
    """The ways to split tokens into prefix and grid, in words."""
    texts = [
        f"{number} + {grid[0]} x {grid[1]}" if grid else f"{number} without patches"
        for number, grid in prefix_readings(count, evidence)
    ]
    if texts:
        return f"which may be {' or '.join(texts)}"
    stated = evidence.stated.prefix
    grids = sorted(evidence.maps, reverse=True)[:4]
    said = "does not state it" if stated is None else f"states {stated}"
    sizes = f" and has grids of {', '.join(f'{h} x {w}' for h, w in grids)}"
    return f"the model {said}{sizes if grids else ''}"


def matching_layers(pattern: str, known: Sequence[str]) -> list[str]:
    """The layers that a name or pattern stands for.

    ``*`` stands for one part of a dotted name or a piece of it, ``**`` for any number
    of parts: ``blocks.*`` are the blocks, ``blocks.**`` also all inside of them.
    """
    if "*" not in pattern:
        return [pattern] if pattern in known else []
    pieces = re.split(r"(\*+)", pattern)
    expression = "".join(
        {"*": r"[^.]*", "**": ".*"}.get(piece, re.escape(piece)) for piece in pieces
    )
    return [name for name in known if re.fullmatch(expression, name)]


def check_layers(layers: Any, known: Sequence[str]) -> tuple[str, ...]:
    """Returns the names as a tuple, each once, if all of them are layers.

    Args:
      layers: names of layers, or patterns such as ``"blocks.*"``, where ``*`` stands
        for one part of a dotted name and ``**`` for any number of them.
      known: those that the network has.

    Returns:
      The names; those of a pattern in the order of `known`.

    Raises:
      TypeError: `layers` is not a sequence of strings.
      ValueError: it is empty, or a name or pattern is unknown; the error lists the
        nearest names.
    """
    if isinstance(layers, str):
        raise TypeError(
            f"layers must be a sequence of names, got the string {layers!r}; "
            f"write [{layers!r}]"
        )
    is_sequence = isinstance(layers, Sequence)
    if not is_sequence or not all(isinstance(name, str) for name in layers):
        raise TypeError(f"layers must be a sequence of strings, got {layers!r}")
    if not layers:
        raise ValueError("layers must name at least one layer, got none")
    chosen: list[str] = []
    for name in layers:
        matching = matching_layers(name, known)
        if not matching:
            raise ValueError(
                f"layers: unknown layer {name!r}; nearest are {nearest(name, known)}"
            )
        chosen += matching
    return tuple(dict.fromkeys(chosen))


def nearest(name: str, known: Iterable[str]) -> list[str]:
    """The names most similar to `name`; the first few if none is similar."""
    known = list(known)
    return difflib.get_close_matches(name, known, n=3, cutoff=0.4) or known[:5]
