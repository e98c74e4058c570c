"""Configs of torchvision's state dicts, inferred from the shapes.

They have the form of a Hugging Face config, so that one reader serves both; only
`stem` is our own key. A ResNet whose first convolution is 3x3 was changed for
small images, as is usual for CIFAR: that convolution has stride 1, and no max-pool
follows.
"""

import re
from collections.abc import Callable, Mapping
from typing import Any

from semrsm_jax.models.checkpoint._files import Tensors


def _largest(pattern: str, tensors: Tensors) -> int:
    """One more than the largest number that `pattern` finds in the keys."""
    matches = (re.match(pattern, key) for key in tensors)
    return 1 + max((int(match[1]) for match in matches if match), default=-1)


def _resnet(tensors: Tensors) -> Mapping[str, Any]:
    blocks = [_largest(rf"layer{k}\.(\d+)\.", tensors) for k in range(1, 5)]
    bottleneck = "layer1.0.conv3.weight" in tensors
    last = "conv3" if bottleneck else "conv2"
    return {
        "model_type": "resnet",
        "architectures": ["ResNetForImageClassification"],
        "layer_type": "bottleneck" if bottleneck else "basic",
        "stem": "cifar" if tensors["conv1.weight"].shape[2] == 3 else "imagenet",
        "embedding_size": tensors["conv1.weight"].shape[0],
        "hidden_sizes": [
            tensors[f"layer{k}.0.{last}.weight"].shape[0] for k in range(1, 5)
        ],
        "depths": blocks,
        "num_labels": tensors["fc.weight"].shape[0],
    }


# Width to heads of torchvision's ViTs (B, L, H): the weights do not state it.
_HEADS = {768: 12, 1024: 16, 1280: 16}


def _vit(tensors: Tensors) -> Mapping[str, Any]:
    width, channels, *patch = tensors["conv_proj.weight"].shape
    positions = tensors["encoder.pos_embedding"].shape[1] - 1
    side = round(positions**0.5)
    layer = "encoder.layers.encoder_layer_0."
    inner = (
        tensors.get(f"{layer}mlp.0.weight") or tensors[f"{layer}mlp.linear_1.weight"]
    )
    return {
        "model_type": "vit",
        "architectures": ["ViTForImageClassification"],
        "hidden_size": width,
        "num_channels": channels,
        "patch_size": patch,
        "image_size": [side * patch[0], side * patch[1]],
        "num_hidden_layers": _largest(r".*encoder_layer_(\d+)\.", tensors),
        "num_attention_heads": _HEADS[width],
        "intermediate_size": inner.shape[0],
        "layer_norm_eps": 1e-6,
        "num_labels": tensors["heads.head.weight"].shape[0],
    }


# The key that only such a state dict has, and how its config is inferred.
_LAYOUTS: dict[str, Callable[[Tensors], Mapping[str, Any]]] = {
    "layer1.0.conv1.weight": _resnet,
    "conv_proj.weight": _vit,
}


def torchvision_config(tensors: Tensors) -> Mapping[str, Any] | None:
    """The config of a torchvision ResNet or ViT; None for any other network."""
    for key, read in _LAYOUTS.items():
        if key in tensors:
            try:
                return read(tensors)
            except (KeyError, ValueError, IndexError):
                return None  # some other network that shares the key
    return None
