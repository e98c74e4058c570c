"""Networks by the names that users give them."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple


class Loaded(NamedTuple):
    """A network with its weights.

    Attributes:
      source: the name, folder or id that was asked for.
      folder: where its checkpoint lies.
      model: the network.
      tap: the layer that the paper compares.
    """

    source: str
    folder: Path
    model: Any
    tap: str

    def layers(self, asked: Sequence[str] | None) -> list[str]:
        """The layers of the options given, ``last`` being the tap.

        Raises:
          ValueError: a name is empty, or none of the network's; the nearest are told.
        """
        from semrsm_jax.features import list_layers
        from semrsm_jax.features._tokens import check_layers

        parts = [part.strip() for text in asked or ["last"] for part in text.split(",")]
        if "" in parts:
            raise ValueError(f"--layers must be names, got {','.join(asked or [])!r}")
        known = list_layers(self.model)
        names = [self.tap if part == "last" else part for part in parts]
        return list(check_layers(names, known))
