"""Where the CKA experiment has its images and networks from.

Shipped networks see composed scenes. For the paper's data sets the user brings images
and checkpoints; only networks for ImageNet are public.
"""

import re
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from jaxtyping import Float, Int

from experiments.cka.datasets import DATA, Images
from experiments.data.draw import Draw
from experiments.data.shown import Shown, on_photographs, on_scenes
from experiments.frame.pretrained import WHEELS
from experiments.frame.session import Session
from experiments.scenes.compose import SceneConfig
from experiments.trained.networks import NETWORKS
from semrsm_jax.features import layer_names
from semrsm_jax.models import load


@dataclass(frozen=True)
class OnScenes:
    """The shipped networks on composed scenes, one view of each.

    Attributes:
      scenes: how they are composed.
    """

    scenes: SceneConfig = SceneConfig()

    def look(self, name: str, network: str, draw: Draw, session: Session) -> Shown:
        """As in `Source`; so few tokens are kept in memory."""
        return on_scenes(self.scenes, network, NETWORKS[network].layers, draw)


@dataclass(frozen=True)
class OnPhotographs:
    """Networks that ImageNet trained, from wheels, on crops of photographs."""

    def look(self, name: str, network: str, draw: Draw, session: Session) -> Shown:
        """As in `Source`; crops of one photograph are one group."""
        return on_photographs(network, WHEELS[network].stages, draw)


# The stem, and each residual block.
_BLOCKS = re.compile(r"resnet\.(embedder|encoder\.stages\.\d+\.layers\.\d+)")
_HEAD = "classifier"
_SUFFIXES = ("", ".safetensors", ".pth", ".pt")


@dataclass(frozen=True)
class OnDataSet:
    """ResNets on a data set of the paper, both from the user's folder.

    Attributes:
      images: the data set.
      public: names of networks are ids on the Hugging Face hub; else they are files or
        folders below ``checkpoints/`` in the user's folder.
      batch_size: images a pass.
    """

    images: Images
    public: bool = False
    batch_size: int = 50

    def look(self, name: str, network: str, draw: Draw, session: Session) -> Shown:
        """As in `Source`; tokens stay on the disk."""
        folder = DATA.folder(draw.data)
        images, labels = self.images.open(
            folder, draw.samples, draw.seed, session.report
        )
        model = load(network if self.public else _checkpoint(folder, network))
        blocks = [each for each in layer_names(model) if _BLOCKS.fullmatch(each)]
        if not blocks:
            raise DATA.error(f"{network} is no ResNet, but {type(model).__name__}")
        layers = (*blocks, _HEAD)
        store = session.features(name, model, images, layers, self.batch_size)
        logits = np.asarray(store.layers[_HEAD])[:, 0]
        tokens = {layer: store.layers[layer] for layer in blocks}
        return Shown(tokens, logits, _accuracy(logits, labels))


def _checkpoint(folder: Path, network: str) -> Path:
    """The file or folder of a network below the user's folder."""
    place = folder / "checkpoints" / network
    for suffix in _SUFFIXES:
        path = place.with_name(place.name + suffix)
        if path.exists():
            return path
    raise DATA.error(f"{place} does not exist, nor with {', '.join(_SUFFIXES[1:])}")


def _accuracy(
    logits: Float[np.ndarray, "N classes"], labels: Int[np.ndarray, " N"] | None
) -> float:
    if labels is None:
        return float("nan")
    return float(np.mean(logits.argmax(1) == labels))
