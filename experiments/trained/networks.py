"""The small networks that are trained on scenes: architectures, layers and seeds.

They are the package's own ResNet, ConvNeXt V2 and ViT, narrow enough for minutes on a
processor. All end in 8x8 tokens for images of 64x64 pixels, and in one linear layer
whose outputs `split_outputs` names.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from types import MappingProxyType
from typing import NamedTuple

from flax import nnx
from jaxtyping import Array, Float

from experiments.scenes.parts import BACKGROUNDS, CLASSES
from semrsm_jax.models import (
    ConvNeXtV2,
    ConvNeXtV2Config,
    ResNet,
    ResNetConfig,
    ViT,
    ViTConfig,
)

# Instances of a class are counted up to here; the last class means "or more".
MOST_COUNTED = 2
_OUTPUTS = len(BACKGROUNDS) + len(CLASSES) * (MOST_COUNTED + 1)

Config = ResNetConfig | ConvNeXtV2Config | ViTConfig
_MODELS: Mapping[type[Config], Callable[..., nnx.Module]] = {
    ResNetConfig: ResNet,
    ConvNeXtV2Config: ConvNeXtV2,
    ViTConfig: ViT,
}


class Outputs(NamedTuple):
    """What a network says of images.

    Attributes:
      name_logits: (N, P), of the photograph behind, in the order of `BACKGROUNDS`.
      count_logits: (N, K, MOST_COUNTED + 1), of no, one, or more instances of each
        class of `CLASSES`.
    """

    name_logits: Float[Array, "N P"]
    count_logits: Float[Array, "N K M"]


@dataclass(frozen=True)
class TrainedNetwork:
    """A network and how it is trained; compares by value.

    Attributes:
      family: ``"resnet"``, ``"convnext"`` or ``"vit"``.
      config: its architecture.
      layers: what to look into, by depth.
      seed: of weights and batches.
      steps: of the optimizer.
      learning_rate: its peak.
    """

    family: str
    config: Config
    layers: tuple[str, ...]
    seed: int = 0
    steps: int = 2400
    learning_rate: float = 3e-3

    @property
    def last(self) -> str:
        """The last hidden layer."""
        return self.layers[-1]

    def build(self, seed: int) -> nnx.Module:
        """The network with random weights, in training mode."""
        return _MODELS[type(self.config)](self.config, rngs=nnx.Rngs(seed))


def split_outputs(logits: Float[Array, "N O"]) -> Outputs:
    """The outputs of the last linear layer, by what they mean."""
    name, count = logits[:, : len(BACKGROUNDS)], logits[:, len(BACKGROUNDS) :]
    return Outputs(name, count.reshape(len(logits), len(CLASSES), MOST_COUNTED + 1))


def _resnet(blocks: tuple[int, int, int], width: int) -> TrainedNetwork:
    config = ResNetConfig(
        stem="cifar",
        num_classes=_OUTPUTS,
        width=16,
        blocks=blocks,
        widths=(width, 2 * width, 4 * width),
        bottleneck=False,
        first_stage_stride=2,
    )
    return TrainedNetwork("resnet", config, _blocks("resnet", blocks))


def _convnext(blocks: tuple[int, int]) -> TrainedNetwork:
    config = ConvNeXtV2Config(
        widths=(32, 64), depths=blocks, num_classes=_OUTPUTS, epsilon=1e-6
    )
    return TrainedNetwork("convnext", config, _blocks("convnextv2", blocks))


def _vit(depth: int) -> TrainedNetwork:
    config = ViTConfig(
        image_size=(64, 64),
        patch_size=(8, 8),
        width=64,
        depth=depth,
        heads=4,
        hidden=128,
        num_classes=_OUTPUTS,
        epsilon=1e-6,
    )
    # As in the paper the last hidden layer is normalized.
    inner = tuple(f"vit.encoder.layer.{index}" for index in range(depth))
    return TrainedNetwork("vit", config, (*inner, "vit.layernorm"), learning_rate=2e-3)


def _blocks(root: str, blocks: tuple[int, ...]) -> tuple[str, ...]:
    return tuple(
        f"{root}.encoder.stages.{stage}.layers.{block}"
        for stage, count in enumerate(blocks)
        for block in range(count)
    )


_CLASSIFIERS = {
    "resnet-10": _resnet((1, 1, 2), 24),
    "resnet-18": _resnet((2, 3, 3), 16),
    "convnext": _convnext((1, 2)),
    "vit-2": _vit(2),
    "vit-4": _vit(4),
}

# The five classifiers, and two of them from other seeds.
NETWORKS: Mapping[str, TrainedNetwork] = MappingProxyType(
    _CLASSIFIERS
    | {
        f"{name}-seed{seed}": replace(_CLASSIFIERS[name], seed=seed)
        for name in ("resnet-10", "vit-4")
        for seed in (1, 2)
    }
)
