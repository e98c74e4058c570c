"""Checkpoints of ResNet (torchvision's too), BiT and ConvNeXt V2."""

from typing import Any

from semrsm_jax.models.bit import BiT, BiTConfig, Padding
from semrsm_jax.models.checkpoint._architecture import Architecture
from semrsm_jax.models.checkpoint._rules import (
    Rule,
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


_BIT_BLOCK = ("bit.encoder.stages.#.layers.#", "@encoder.stages.#.layers.#")


def _bit_block(ours: str, theirs: str) -> tuple[Rule, ...]:
    return (
        *norm(f"{ours}.norm1", f"{theirs}.norm1"),
        *conv(f"{ours}.conv1", f"{theirs}.conv1"),
        *norm(f"{ours}.norm2", f"{theirs}.norm2"),
        *conv(f"{ours}.conv2", f"{theirs}.conv2"),
        *norm(f"{ours}.norm3", f"{theirs}.norm3"),
        *conv(f"{ours}.conv3", f"{theirs}.conv3"),
        *conv(f"{ours}.downsample", f"{theirs}.downsample.conv"),
    )


BIT = Architecture(
    classes={"BitForImageClassification": True, "BitModel": False},
    config=_bit_config,
    build=BiT,
    rules=(
        *conv("bit.embedder.convolution", "@embedder.convolution"),
        *_bit_block(*_BIT_BLOCK),
        *norm("bit.norm", "@norm"),
        *dense("classifier", "classifier.1"),
    ),
    prefixes=("bit.", ""),
)


def _convnextv2_stage(ours: str, theirs: str) -> tuple[Rule, ...]:
    block, name = f"{ours}.layers.#", f"{theirs}.layers.#"
    return (
        *norm(f"{ours}.downsampling_layer.norm", f"{theirs}.downsampling_layer.0"),
        *conv(f"{ours}.downsampling_layer.conv", f"{theirs}.downsampling_layer.1"),
        *conv(f"{block}.dwconv", f"{name}.dwconv"),
        *norm(f"{block}.layernorm", f"{name}.layernorm"),
        *dense(f"{block}.pwconv1", f"{name}.pwconv1"),
        *tensor(f"{block}.grn.scale", f"{name}.grn.weight", f"{name}.grn.gamma"),
        *tensor(f"{block}.grn.bias", f"{name}.grn.bias", f"{name}.grn.beta"),
        *dense(f"{block}.pwconv2", f"{name}.pwconv2"),
    )


CONVNEXTV2 = Architecture(
    classes={"ConvNextV2ForImageClassification": True, "ConvNextV2Model": False},
    config=_convnextv2_config,
    build=ConvNeXtV2,
    rules=(
        *conv("convnextv2.embeddings.patch_embeddings", "@embeddings.patch_embeddings"),
        *norm("convnextv2.embeddings.layernorm", "@embeddings.layernorm"),
        *_convnextv2_stage("convnextv2.encoder.stages.#", "@encoder.stages.#"),
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
    return ResNetConfig(
        stem="cifar" if small else "imagenet",
        blocks=settings.counts("depths", (3, 4, 6, 3)),
        widths=settings.counts("hidden_sizes", (256, 512, 1024, 2048)),
        bottleneck=kind == "bottleneck",
        width=settings.count("embedding_size", 64),
        num_classes=num_classes,
        in_channels=settings.count("num_channels", 3),
        activation=settings.activation("hidden_act", "relu"),
        first_stage_stride=2
        if settings.flag("downsample_in_first_stage", False)
        else 1,
        stride_first=settings.flag("downsample_in_bottleneck", False),
        dtype=dtype,
        param_dtype=dtype,
        precision=None,
    )


_STAGE, _VISION = "@encoder.stages.#.layers.#", "layer&.#"  # torchvision's
_BLOCK = "resnet.encoder.stages.#.layers.#"

RESNET = Architecture(
    classes={"ResNetForImageClassification": True, "ResNetModel": False},
    config=_resnet_config,
    build=ResNet,
    rules=(
        *conv(
            "resnet.embedder.embedder.convolution",
            "@embedder.embedder.convolution",
            "conv1",
        ),
        *batch_norm(
            "resnet.embedder.embedder.normalization",
            "@embedder.embedder.normalization",
            "bn1",
        ),
        *conv(
            f"{_BLOCK}.layer.#.convolution",
            f"{_STAGE}.layer.#.convolution",
            f"{_VISION}.conv&",
        ),
        *batch_norm(
            f"{_BLOCK}.layer.#.normalization",
            f"{_STAGE}.layer.#.normalization",
            f"{_VISION}.bn&",
        ),
        *conv(
            f"{_BLOCK}.shortcut.convolution",
            f"{_STAGE}.shortcut.convolution",
            f"{_VISION}.downsample.0",
        ),
        *batch_norm(
            f"{_BLOCK}.shortcut.normalization",
            f"{_STAGE}.shortcut.normalization",
            f"{_VISION}.downsample.1",
        ),
        *dense("classifier", "classifier.1", "fc"),
    ),
    prefixes=("resnet.", ""),
    ignored=(r".*\.num_batches_tracked",),
)
