"""The networks of the paper in flax.nnx."""

from semrsm_jax.models.batch_norm import calibrate_batch_norm
from semrsm_jax.models.resnet import (
    ResNet,
    ResNetConfig,
    resnet18,
    resnet34,
    resnet50,
    resnet101,
)

__all__ = [
    "ResNet",
    "ResNetConfig",
    "calibrate_batch_norm",
    "resnet18",
    "resnet34",
    "resnet50",
    "resnet101",
]
