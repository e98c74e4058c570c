"""From the output of a layer to tokens (N, S, C)."""

import dataclasses
import difflib
from collections.abc import Callable, Iterable, Sequence
from typing import Any

from semrsm_jax import _checks


@dataclasses.dataclass(frozen=True)
class TokenRule:
    """Which tokens of a layer's output are kept; compares by value.

    Attributes:
      tokens: ``"all"``; ``"patches"``, without the prefix tokens; or ``"cls"``, the
        first prefix token.
      prefix: the number of tokens before the patches in outputs (N, S, C); None if
        unknown.
      layout: of outputs with four axes, ``"NHWC"`` or ``"NCHW"``.

    Raises:
      TypeError: `prefix` is not an integer.
      ValueError: a field is out of its range.
    """

    tokens: str
    prefix: int | None
    layout: str

    def __post_init__(self) -> None:
        """Checks the fields."""
        _checks.one_of("tokens", self.tokens, ("all", "patches", "cls"))
        _checks.one_of("layout", self.layout, ("NHWC", "NCHW"))
        if self.prefix is not None:
            _checks.at_least("prefix_tokens", self.prefix, 0)

    def __call__(
        self,
        name: str,
        output: Any,
        samples: int,
        permute: Callable[[Any, tuple[int, ...]], Any],
    ) -> Any:
        """Brings a layer's output into the form (N, S, C).

        Args:
          name: of the layer, for errors.
          output: an array or tensor (N, H, W, C), (N, C, H, W), (N, S, C) or (N, C).
          samples: N.
          permute: orders the axes of `output`, as `jax.numpy.transpose` does.

        Raises:
          ValueError: `output` has another shape, or no such tokens.
        """
        shape = tuple(output.shape)
        # Layers stacked by nnx.scan or nnx.vmap give their own axis first.
        if len(shape) not in (2, 3, 4) or shape[0] != samples:
            four = ", ".join(self.layout)
            raise ValueError(
                f"layers: {name!r} gives shape {shape}, expected ({four}), (N, S, C) "
                f"or (N, C) with N = {samples}"
            )
        if len(shape) == 4:
            if self.layout == "NCHW":
                output = permute(output, (0, 2, 3, 1))
            output = output.reshape(samples, -1, output.shape[-1])
        elif len(shape) == 2:
            output = output[:, None, :]
        if self.tokens == "all":
            return output
        return output[:, self._rows(name, shape)]

    def _rows(self, name: str, shape: tuple[int, ...]) -> slice:
        """The tokens asked for, of an output of that shape."""
        if len(shape) == 4 and self.tokens == "patches":
            return slice(None)  # a map holds patches only
        if len(shape) != 3:
            raise ValueError(
                f"layers: {name!r} gives shape {shape}, which holds no "
                f"{'CLS token' if self.tokens == 'cls' else 'patches'}; "
                f"tokens={self.tokens!r} fits (N, S, C)"
            )
        if self.prefix is None:
            raise ValueError(
                f"prefix_tokens must be the number of tokens of {name!r} before the "
                "patches (1 for a CLS token only, 0 for none): the model does not "
                "state it"
            )
        if self.tokens == "cls" and self.prefix == 0:
            raise ValueError(f"tokens: {name!r} has no CLS token (prefix_tokens is 0)")
        if self.tokens == "patches" and self.prefix >= shape[1]:
            raise ValueError(
                f"tokens: {name!r} has {shape[1]} tokens, of which {self.prefix} "
                "come before the patches: none is left"
            )
        return slice(1) if self.tokens == "cls" else slice(self.prefix, None)


def check_layers(layers: Any, known: Sequence[str]) -> tuple[str, ...]:
    """Returns the names as a tuple, each once, if all of them are layers.

    Args:
      layers: names of layers.
      known: those that the network has.

    Returns:
      The names.

    Raises:
      TypeError: `layers` is not a sequence of strings.
      ValueError: it is empty, or a name is unknown; the error lists the nearest names.
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
    for name in layers:
        if name not in known:
            raise ValueError(
                f"layers: unknown layer {name!r}; nearest are {nearest(name, known)}"
            )
    return tuple(dict.fromkeys(layers))


def nearest(name: str, known: Iterable[str]) -> list[str]:
    """The names most similar to `name`; the first few if none is similar."""
    known = list(known)
    return difflib.get_close_matches(name, known, n=3, cutoff=0.4) or known[:5]
