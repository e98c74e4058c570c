"""Networks by the names that users give them."""

import re
from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple


class Loaded(NamedTuple):
    """A network with its weights.

    Attributes:
      source: the name or id that was asked for; of a path its last part, so that it
        says the same from wherever it is given.
      folder: where its checkpoint lies.
      model: the network.
      known: its layers.
      tap: the layer that the paper compares.
    """

    source: str
    folder: Path
    model: Any
    known: list[str]
    tap: str

    def layers(self, asked: Sequence[str] | None) -> list[str]:
        """The layers of the options given, ``last`` being the tap.

        Raises:
          ValueError: a name is empty, or none of the network's; the nearest are told.
        """
        from semrsm_jax.features import check_layers

        parts = [part.strip() for text in asked or ["last"] for part in text.split(",")]
        if "" in parts:
            raise ValueError(f"--layers must be names, got {','.join(asked or [])!r}")
        names = [self.tap if part == "last" else part for part in parts]
        return list(check_layers(names, self.known))


def load_model(source: str, dtype: str, revision: str | None = None) -> Loaded:
    """Loads a network by a name of the paper's, from a folder, or by an id on the hub.

    Raises:
      OSError: the hub cannot be reached.
      ImportError: the hub is needed, and its client not installed.
      TypeError: the weights are no floating-point numbers.
      ValueError: there is no such checkpoint, or it is damaged or not supported.
    """
    from semrsm_jax.features import list_layers
    from semrsm_jax.models import load, locate

    path = locate(source, revision=revision)
    model = load(path, dtype=dtype)
    known = list_layers(model)
    folder = path if path.is_dir() else path.parent
    name = path.resolve().name if Path(source).exists() else source
    return Loaded(name, folder, model, known, _tap(model, known))


def _tap(model: Any, known: Sequence[str]) -> str:
    """The paper's last hidden layer, of a network of any depth of one of its kinds."""
    from semrsm_jax.models import VARIANTS

    tap = next(v.tap for v in VARIANTS.values() if v.build is type(model))
    numbered = re.fullmatch(r"(.*\.)\d+", tap)
    if numbered is None:
        return tap
    # Variants have their own number of layers; here it is this network's.
    siblings = [name for name in known if re.fullmatch(rf"{numbered[1]}\d+", name)]
    return siblings[-1]
