"""Networks with their weights, and the layer of each that the paper compares."""

import re
from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

from semrsm_jax.features._extract import list_layers
from semrsm_jax.features._tokens import check_layers


class LoadedNetwork(NamedTuple):
    """A network with its weights.

    Attributes:
      name: what it was loaded by; of a path its last part, so that it is the same from
        any folder.
      folder: where its checkpoint is.
      model: the network, which `extract` takes.
      layers: the names of its layers.
      last: the layer that the paper compares.
    """

    name: str
    folder: Path
    model: Any
    layers: list[str]
    last: str

    def select_layers(self, names: Sequence[str] | None) -> list[str]:
        """Layers of the network by name; "last", the default, is the one compared.

        Args:
          names: layers, also several in one text, with commas between them.

        Raises:
          ValueError: a name is empty, or not one of the layers; the error has the
            nearest.
        """
        parts = [part.strip() for text in names or ["last"] for part in text.split(",")]
        if "" in parts:
            raise ValueError(
                f"layers must be names, got {','.join(names or [])!r} with an empty one"
            )
        return list(
            check_layers([self.last if p == "last" else p for p in parts], self.layers)
        )


def load_network(
    source: str, dtype: str = "float32", revision: str | None = None
) -> LoadedNetwork:
    """Loads a network by a name of the paper's, from a folder, or by an id on the hub.

    Args:
      source: a name in `semrsm_jax.models.VARIANTS`, the path of a checkpoint, or the
        id of a repository on the Hugging Face hub.
      dtype: what the network computes in.
      revision: branch, tag or commit of a repository.

    Returns:
      The `LoadedNetwork`.

    Raises:
      OSError: the hub cannot be reached.
      ImportError: the hub is needed, and its client is not installed.
      TypeError: the weights are not floating-point numbers.
      ValueError: there is no such checkpoint, or it is damaged or not supported.
    """
    from semrsm_jax.models import load, locate

    path = locate(source, revision=revision)
    model = load(path, dtype=dtype)
    layers = list_layers(model)
    folder = path if path.is_dir() else path.parent
    name = path.resolve().name if Path(source).exists() else source
    return LoadedNetwork(name, folder, model, layers, _last_layer(model, layers))


def _last_layer(model: Any, layers: Sequence[str]) -> str:
    """The paper's last hidden layer, of a network of any depth of one of its kinds."""
    from semrsm_jax.models import VARIANTS

    tap = next(v.tap for v in VARIANTS.values() if v.build is type(model))
    numbered = re.fullmatch(r"(.*\.)\d+", tap)
    if numbered is None:
        return tap
    # Variants have their own number of layers; here it is this network's.
    siblings = [name for name in layers if re.fullmatch(rf"{numbered[1]}\d+", name)]
    return siblings[-1]
