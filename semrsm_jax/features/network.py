"""Networks with their weights, by name, and the layer of each that is compared."""

import re
from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

from semrsm_jax.features import _libraries
from semrsm_jax.features._tokens import check_layers
from semrsm_jax.features.image_folder import Preprocess
from semrsm_jax.features.layers import block_layers, layer_names
from semrsm_jax.features.preprocessor_config import load_preprocessing

_LIBRARIES = {
    "timm": _libraries.build_timm,
    "torchvision": _libraries.build_torchvision,
}


class LoadedNetwork(NamedTuple):
    """A network with its weights.

    Attributes:
      name: what it was loaded by; of a path its last part, so that it is the same from
        any folder.
      folder: where its checkpoint is; None where a library or a function built it.
      model: the network, which `extract` takes.
      layers: the names of its layers.
      last: the layer that the paper compares; of other networks the last block.
      blocks: the names of its blocks.
      preprocess: prepares an image; None: as the files of `folder` state.
    """

    name: str
    folder: Path | None
    model: Any
    layers: list[str]
    last: str
    blocks: list[str] = []
    preprocess: Preprocess | None = None

    def preprocessing(self) -> Preprocess:
        """What prepares images for this network.

        Raises:
          ValueError: it is unknown.
        """
        if self.preprocess is not None:
            return self.preprocess
        if self.folder is None:
            raise ValueError(
                f"the preprocessing of {self.name} is unknown; let the function return "
                "the network and a Preprocessing, or give a file: --preprocessor"
            )
        return load_preprocessing(self.folder)

    def select_layers(self, names: Sequence[str] | None) -> list[str]:
        """Layers of the network by name; "last", the default, is the one compared.

        Args:
          names: layers, patterns such as "blocks.*", or "blocks" for all blocks; also
            several in one text, with commas between them.

        Raises:
          ValueError: a name is empty, or not one of the layers; the error has the
            nearest.
        """
        parts = [part.strip() for text in names or ["last"] for part in text.split(",")]
        if "" in parts:
            raise ValueError(
                f"layers must be names, got {','.join(names or [])!r} with an empty one"
            )
        chosen: list[str] = []
        for part in parts:
            if part == "blocks" and self.blocks:
                chosen += self.blocks
            else:
                chosen.append(self.last if part == "last" else part)
        return list(check_layers(chosen, self.layers))


def load_network(
    source: str,
    dtype: str = "float32",
    revision: str | None = None,
    *,
    pretrained: bool = True,
) -> LoadedNetwork:
    """Loads a network by name, with its weights and its preprocessing.

    Args:
      source: a name in `semrsm_jax.models.VARIANTS`, the path of a checkpoint, or the
        id of a repository on the Hugging Face hub, for the networks of this package;
        ``"timm:NAME"``; ``"torchvision:NAME"``; ``"hf:FOLDER_OR_ID"`` for any vision
        network of transformers; or ``"module:function"``, where the function returns a
        torch or flax.nnx module, or that and what prepares an image.
      dtype: what the network computes in; of a function's flax network ``"float32"``,
        which leaves it as it is.
      revision: branch, tag or commit of a repository on the hub.
      pretrained: with the weights that the library trained; False: with random weights,
        for networks of timm, torchvision and transformers.

    Returns:
      The `LoadedNetwork`.

    Raises:
      OSError: the hub cannot be reached.
      ImportError: a package is needed that is not installed, or does not fit.
      TypeError: the weights are not floating-point numbers.
      ValueError: there is no such network, or it is damaged or not supported, has no
        layers, or a setting does not fit it.
    """
    library, _, name = source.partition(":")
    ours = not name or Path(source).exists()
    if not pretrained and (ours or library not in ("hf", *_LIBRARIES)):
        raise ValueError(
            f"random weights (pretrained=False, --untrained) do not fit {source}: they "
            "are for timm:NAME, torchvision:NAME and hf:FOLDER"
        )
    if ours:
        return _of_this_package(source, dtype, revision)
    if library != "hf" and revision is not None:
        raise ValueError(
            f"revision (--revision) does not fit {source}: it is for repositories on "
            f"the Hugging Face hub, got {revision!r}"
        )
    if library == "hf":
        return _of_transformers(source, name, dtype, revision, pretrained)
    if library in _LIBRARIES:
        return _of_library(source, _LIBRARIES[library](name, pretrained), dtype)
    return _of_library(source, _libraries.build_by_function(source), dtype)


def _of_this_package(source: str, dtype: str, revision: str | None) -> LoadedNetwork:
    """A network of the package, from a checkpoint."""
    from semrsm_jax.models import load, locate

    path = locate(source, revision=revision)
    model = load(path, dtype=dtype)
    layers = layer_names(model)
    folder = path if path.is_dir() else path.parent
    name = path.resolve().name if Path(source).exists() else source
    last = _last_layer(model, layers)
    return LoadedNetwork(name, folder, model, layers, last, block_layers(model))


def _of_transformers(
    source: str, name: str, dtype: str, revision: str | None, pretrained: bool
) -> LoadedNetwork:
    """A network of transformers; through this package where it is one of ours."""
    from semrsm_jax.models import locate

    path = locate(name, revision=revision, weights=pretrained)
    shown = f"hf:{path.resolve().name}" if Path(name).exists() else source
    if pretrained:
        try:
            loaded = _of_this_package(str(path), dtype, None)
        except ValueError as error:
            if "not supported" not in str(error):
                raise
        else:
            return loaded._replace(name=shown)
    built = _libraries.build_transformers(str(path), pretrained)
    try:
        built = built._replace(preprocess=load_preprocessing(path))
    except ValueError:  # of a processor that is not one of ours
        pass
    return _of_library(shown, built, dtype)


def _of_library(source: str, built: _libraries.Built, dtype: str) -> LoadedNetwork:
    """A network that is built, in evaluation mode."""
    model = built.model
    layers, blocks = layer_names(model), block_layers(model)
    if not layers:
        raise ValueError(f"{source} must have layers, modules inside of it, got none")
    if dtype != "float32":
        if not hasattr(model, "to"):
            raise ValueError(
                f"dtype must be float32 for {source}, a flax network, which states its "
                f"own, got {dtype!r}"
            )
        import torch

        model = model.to(getattr(torch, dtype))
    last = blocks[-1] if blocks else layers[-1]
    return LoadedNetwork(source, None, model, layers, last, blocks, built.preprocess)


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
