"""Checkpoints of ResNet (torchvision's too), BiT and ConvNeXt V2."""

from typing import Any

from semrsm_jax.models.bit import BiT, BiTConfig, Padding
from semrsm_jax.models.checkpoint._rules import (
    Architecture,
    at,
    batch_norm,
    conv,
    dense,
    norm,
    tensor,
)
from semrsm_jax.models.checkpoint._settings import Settings
from semrsm_jax.models.convnextv2 import ConvNeXtV2, ConvNeXtV2Config
from semrsm_jax.models.resnet import ResNet, ResNetConfig

_PADDINGS: dict[str, Padding] = {"none": "symmetric", "same": "same"}


def _bit_config(settings: Settings, num_classes: int | None, dtype: Any) -> BiTConfig:
    settings.choice("layer_type", "preactivation", ("preactivation",))
    settings.choice("width_factor", "1", ("1",))
    padding = settings.choice("global_padding", "none", tuple(_PADDINGS))
    return BiTConfig(
        stem_width=settings.count("embedding_size", 64),
        widths=settings.counts("hidden_sizes", (256, 512, 1024, 2048)),
        depths=settings.counts("depths", (3, 4, 6, 3)),
        groups=settings.count("num_groups", 32),
        padding=_PADDINGS[padding],
        pool_same=settings.flag("embedding_dynamic_padding", False),
        output_stride=settings.count("output_stride", 32),
        in_channels=settings.count("num_channels", 3),
        num_classes=num_classes,
        activation=settings.activation("hidden_act", "relu"),
        dtype=dtype,
    )


def _convnextv2_config(
    settings: Settings, num_classes: int | None, dtype: Any
) -> ConvNeXtV2Config:
    return ConvNeXtV2Config(
        patch_size=settings.pair("patch_size", 4),
        widths=settings.counts("hidden_sizes", (96, 192, 384, 768)),
        depths=settings.counts("depths", (3, 3, 9, 3)),
        in_channels=settings.count("num_channels", 3),
        num_classes=num_classes,
        activation=settings.activation("hidden_act", "gelu"),
        epsilon=settings.number("layer_norm_eps", 1e-12),
        dtype=dtype,
    )


_BIT_BLOCK = ("bit.encoder.stages.#.layers.#.", "@encoder.stages.#.layers.#.")

BIT = Architecture(
    classes={"BitForImageClassification": True, "BitModel": False},
    config=_bit_config,
    build=BiT,
    rules=(
        *conv("bit.embedder.convolution", "@embedder.convolution"),
        *at(_BIT_BLOCK, norm, "norm1"),
        *at(_BIT_BLOCK, conv, "conv1"),
        *at(_BIT_BLOCK, norm, "norm2"),
        *at(_BIT_BLOCK, conv, "conv2"),
        *at(_BIT_BLOCK, norm, "norm3"),
        *at(_BIT_BLOCK, conv, "conv3"),
        *at(_BIT_BLOCK, conv, "downsample", "downsample.conv"),
        *norm("bit.norm", "@norm"),
        *dense("classifier", "classifier.1"),
    ),
    prefixes=("bit.", ""),
)


_STAGE = ("convnextv2.encoder.stages.#.", "@encoder.stages.#.")
_GRN_NAME = "@encoder.stages.#.layers.#.grn."  # its tensors have two names each
_GRN = ("convnextv2.encoder.stages.#.layers.#.grn.", _GRN_NAME, _GRN_NAME)

CONVNEXTV2 = Architecture(
    classes={"ConvNextV2ForImageClassification": True, "ConvNextV2Model": False},
    config=_convnextv2_config,
    build=ConvNeXtV2,
    rules=(
        *conv("convnextv2.embeddings.patch_embeddings", "@embeddings.patch_embeddings"),
        *norm("convnextv2.embeddings.layernorm", "@embeddings.layernorm"),
        *at(_STAGE, norm, "downsampling_layer.norm", "downsampling_layer.0"),
        *at(_STAGE, conv, "downsampling_layer.conv", "downsampling_layer.1"),
        *at(_STAGE, conv, "layers.#.dwconv"),
        *at(_STAGE, norm, "layers.#.layernorm"),
        *at(_STAGE, dense, "layers.#.pwconv1"),
        *at(_GRN, tensor, "scale", "weight", "gamma"),
        *at(_GRN, tensor, "bias", "bias", "beta"),
        *at(_STAGE, dense, "layers.#.pwconv2"),
        *norm("convnextv2.layernorm", "@layernorm"),
        *dense("classifier", "classifier"),
    ),
    prefixes=("convnextv2.", ""),
)


def _resnet_config(
    settings: Settings, num_classes: int | None, dtype: Any
) -> ResNetConfig:
    kind = settings.choice("layer_type", "bottleneck", ("basic", "bottleneck"))
    small = settings.choice("stem", "imagenet", ("imagenet", "cifar")) == "cifar"
    early = settings.flag("downsample_in_first_stage", False)
    return ResNetConfig(
        stem="cifar" if small else "imagenet",
        blocks=settings.counts("depths", (3, 4, 6, 3)),
        widths=settings.counts("hidden_sizes", (256, 512, 1024, 2048)),
        bottleneck=kind == "bottleneck",
        width=settings.count("embedding_size", 64),
        num_classes=num_classes,
        in_channels=settings.count("num_channels", 3),
        activation=settings.activation("hidden_act", "relu"),
        first_stage_stride=2 if early else 1,
        stride_first=settings.flag("downsample_in_bottleneck", False),
        dtype=dtype,
        param_dtype=dtype,
        precision=None,
    )


# Ours, Hugging Face's, torchvision's.
_STEM = ("resnet.embedder.embedder.", "@embedder.embedder.", "")
_BLOCK = (
    "resnet.encoder.stages.#.layers.#.",
    "@encoder.stages.#.layers.#.",
    "layer&.#.",
)

RESNET = Architecture(
    classes={"ResNetForImageClassification": True, "ResNetModel": False},
    config=_resnet_config,
    build=ResNet,
    rules=(
        *at(_STEM, conv, "convolution", "convolution", "conv1"),
        *at(_STEM, batch_norm, "normalization", "normalization", "bn1"),
        *at(_BLOCK, conv, "layer.#.convolution", "layer.#.convolution", "conv&"),
        *at(
            _BLOCK, batch_norm, "layer.#.normalization", "layer.#.normalization", "bn&"
        ),
        *at(
            _BLOCK, conv, "shortcut.convolution", "shortcut.convolution", "downsample.0"
        ),
        *at(
            _BLOCK,
            batch_norm,
            "shortcut.normalization",
            "shortcut.normalization",
            "downsample.1",
        ),
        *dense("classifier", "classifier.1", "fc"),
    ),
    prefixes=("resnet.", ""),
    ignored=(r".*\.num_batches_tracked",),
)
