"""The networks of the paper in flax.nnx, and the weights of public checkpoints.

model = load("facebook/dinov2-base")              # or a folder, or a file
model = ViT(ViTConfig(depth=4), rngs=nnx.Rngs(0))  # random weights
variant("vit-b16").tap                            # the paper's "last hidden layer"
"""

from semrsm_jax.models.batch_norm import calibrate_batch_norm
from semrsm_jax.models.bit import BiT, BiTConfig
from semrsm_jax.models.checkpoint import convert_checkpoint, load, locate
from semrsm_jax.models.clip import CLIPVision, clip_vision_config
from semrsm_jax.models.clipseg import CLIPSeg, CLIPSegConfig
from semrsm_jax.models.convnextv2 import ConvNeXtV2, ConvNeXtV2Config
from semrsm_jax.models.resnet import (
    ResNet,
    ResNetConfig,
    resnet18,
    resnet34,
    resnet50,
    resnet101,
)
from semrsm_jax.models.sam import SAMConfig, SAMVision
from semrsm_jax.models.variants import VARIANTS, Variant, variant
from semrsm_jax.models.vit import DINOv2, ViT, ViTConfig
from semrsm_jax.models.weights import load_weights, save_weights

__all__ = [
    "VARIANTS",
    "BiT",
    "BiTConfig",
    "CLIPSeg",
    "CLIPSegConfig",
    "CLIPVision",
    "ConvNeXtV2",
    "ConvNeXtV2Config",
    "DINOv2",
    "ResNet",
    "ResNetConfig",
    "SAMConfig",
    "SAMVision",
    "Variant",
    "ViT",
    "ViTConfig",
    "calibrate_batch_norm",
    "clip_vision_config",
    "convert_checkpoint",
    "load",
    "load_weights",
    "locate",
    "resnet18",
    "resnet34",
    "resnet50",
    "resnet101",
    "save_weights",
    "variant",
]
