"""The networks of the paper in flax.nnx."""

from semrsm_jax.models.batch_norm import calibrate_batch_norm
from semrsm_jax.models.checkpoint import convert_checkpoint, load, locate
from semrsm_jax.models.resnet import (
    ResNet,
    ResNetConfig,
    resnet18,
    resnet34,
    resnet50,
    resnet101,
)
from semrsm_jax.models.vit import DINOv2, ViT, ViTConfig

__all__ = [
    "DINOv2",
    "ResNet",
    "ResNetConfig",
    "ViT",
    "ViTConfig",
    "calibrate_batch_norm",
    "convert_checkpoint",
    "load",
    "locate",
    "resnet18",
    "resnet34",
    "resnet50",
    "resnet101",
]
