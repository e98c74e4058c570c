"""Residual networks (He et al. 2016, arXiv 1512.03385) in flax.nnx, NHWC.

The bottleneck puts its stride on the 3x3 convolution, as torchvision and Hugging Face
do ("v1.5"), and every padding is torch's explicit one, so that weights trained there
give the same activations here. Layers, named as in Hugging Face's checkpoints:
`resnet.embedder`, `resnet.encoder.stages.0` to `.3`, their blocks
`resnet.encoder.stages.0.layers.0`, `classifier`.
"""

import dataclasses
import functools
from typing import Literal

import jax
import jax.numpy as jnp
from flax import nnx
from jax.typing import DTypeLike
from jaxtyping import Array, Float

from semrsm_jax import _checks
from semrsm_jax.models._layers import (
    Activation,
    check_images,
    positive,
    relu,
    statistics_dtype,
    to_one_form,
)
from semrsm_jax.models._stages import Encoder, PooledNetwork, Stage, check_stages

# depth -> (blocks a stage, expansion); 4 is a bottleneck's. He et al. 2016, Table 1.
_LAYOUTS: dict[int, tuple[tuple[int, int, int, int], int]] = {
    18: ((2, 2, 2, 2), 1),
    34: ((3, 4, 6, 3), 1),
    50: ((3, 4, 6, 3), 4),
    101: ((3, 4, 23, 3), 4),
}


@dataclasses.dataclass(frozen=True)
class ResNetConfig:
    """The settings of a residual network; compares by value.

    Attributes:
      depth: 18, 34, 50 or 101.
      stem: `"imagenet"`, a 7x7 convolution and a 3x3 max-pool, each with stride 2, or
        `"cifar"`, a 3x3 convolution with stride 1: a 64x64 image then gives
        S = 4096, 1024, 256 and 64 tokens at the four stages.
      num_classes: outputs of the classifier; None or 0 gives the pooled features.
      width: channels of the stem; stage k has `width * 2**k`, a bottleneck's 4 times.
      in_channels: channels of the images.
      blocks: blocks in each stage, `widths` the channels that leave it, and
        `bottleneck` their kind: None gives what `depth` and `width` say.
      widths: see `blocks`.
      bottleneck: see `blocks`.
      first_stage_stride: 2 where the first stage, too, halves the resolution.
      stride_first: whether a bottleneck's stride is on its first convolution, as it was
        in 2015 ("v1").
      activation: of the stem and after each block; within blocks it is a rectifier.
      dtype: of computation and features; normalizations use float32 at least.
      param_dtype: of the parameters; running statistics are float32.
      precision: precision of convolutions and of the classifier.

    Raises:
      TypeError: a count is not an integer.
      ValueError: a field is out of range.
    """

    depth: int = 18
    stem: Literal["imagenet", "cifar"] = "imagenet"
    num_classes: int | None = 1000
    width: int = 64
    in_channels: int = 3
    dtype: DTypeLike = jnp.float32
    param_dtype: DTypeLike = jnp.float32
    precision: jax.lax.Precision | None = jax.lax.Precision.HIGHEST
    blocks: tuple[int, ...] | None = None
    widths: tuple[int, ...] | None = None
    bottleneck: bool | None = None
    first_stage_stride: int = 1
    stride_first: bool = False
    activation: Activation = relu

    prefix_tokens = 0

    def __post_init__(self) -> None:
        """Checks the fields and brings equal settings to one form."""
        if self.depth not in _LAYOUTS:
            raise ValueError(f"depth must be in {list(_LAYOUTS)}, got {self.depth!r}")
        _checks.one_of("stem", self.stem, ("imagenet", "cifar"))
        positive(self, "width", "in_channels", "first_stage_stride")
        to_one_form(self)
        check_stages(blocks=self.stage_blocks, widths=self.stage_widths)

    @property
    def expansion(self) -> int:
        """Output over inner channels of a block: 1 (basic) or 4 (bottleneck)."""
        if self.bottleneck is None:
            return _LAYOUTS[self.depth][1]
        return 4 if self.bottleneck else 1

    @property
    def stage_blocks(self) -> tuple[int, ...]:
        """Blocks in each stage."""
        return _LAYOUTS[self.depth][0] if self.blocks is None else self.blocks

    @property
    def stage_widths(self) -> tuple[int, ...]:
        """Channels that leave each stage."""
        if self.widths is not None:
            return self.widths
        stages = range(len(self.stage_blocks))
        return tuple(self.width * 2**k * self.expansion for k in stages)

    def token_grid(self, height: int, width: int) -> tuple[int, int]:
        """Rows and columns of the last stage for images of that size in pixels."""
        halvings = len(self.stage_widths) - 1 + (self.first_stage_stride > 1)
        halvings += 2 if self.stem == "imagenet" else 0
        # Each stage rounds up, so the product does too.
        return -(-height // 2**halvings), -(-width // 2**halvings)


class ConvNorm(nnx.Module):
    """Convolution without bias, padded like torch's, and batch normalization."""

    def __init__(
        self,
        config: ResNetConfig,
        features: tuple[int, int],
        size: int,
        stride: int,
        rngs: nnx.Rngs,
    ) -> None:
        """Builds a `size` x `size` kernel from `features[0]` to `features[1]`."""
        # "SAME" would pad (0, 1) where torch pads (1, 1): same shape, other values.
        pad = (size // 2, size // 2)
        self.convolution = nnx.Conv(
            *features,
            kernel_size=(size, size),
            strides=(stride, stride),
            padding=(pad, pad),
            use_bias=False,
            kernel_init=nnx.initializers.variance_scaling(2.0, "fan_out", "normal"),
            dtype=config.dtype,
            param_dtype=config.param_dtype,
            precision=config.precision,
            rngs=rngs,
        )
        self.normalization = nnx.BatchNorm(
            features[1],
            momentum=0.9,  # torch writes it 0.1
            epsilon=1e-5,
            use_fast_variance=False,
            # bfloat16 would round the variances.
            dtype=statistics_dtype(config.dtype),
            param_dtype=config.param_dtype,
            rngs=rngs,
        )

    def __call__(self, x: Float[Array, "N H W C"]) -> Float[Array, "N h w D"]:
        """Convolves and normalizes x, in float32 at least; no activation follows."""
        return self.normalization(self.convolution(x))


class Embedder(nnx.Module):
    """First convolution, with the max-pool of the ImageNet stem."""

    def __init__(self, config: ResNetConfig, rngs: nnx.Rngs) -> None:
        """Builds the stem that `config.stem` names."""
        self.config, self.pool = config, config.stem == "imagenet"
        kernel = (7, 2) if self.pool else (3, 1)
        features = (config.in_channels, config.width)
        self.embedder = ConvNorm(config, features, *kernel, rngs)

    def __call__(self, images: Float[Array, "N H W C"]) -> Float[Array, "N h w D"]:
        """Maps images to the input of the first stage."""
        check_images(images, self.config.in_channels)
        x = self.config.activation(self.embedder(images)).astype(self.config.dtype)
        if self.pool:
            pads = ((0, 0), (1, 1), (1, 1), (0, 0))
            x = jnp.pad(x, pads, constant_values=-jnp.inf)
            x = nnx.max_pool(x, (3, 3), strides=(2, 2))
        return x


class Block(nnx.Module):
    """Residual block: 3x3, 3x3 (basic) or 1x1, 3x3, 1x1 (bottleneck)."""

    def __init__(
        self,
        config: ResNetConfig,
        features: tuple[int, int],
        stride: int,
        rngs: nnx.Rngs,
    ) -> None:
        """Builds a block from `features[0]` to `features[1]` channels."""
        c_in, c_out = features
        inner = c_out // config.expansion
        self.activation, self.dtype = config.activation, config.dtype
        plan = [((c_in, c_out), 3, stride), ((c_out, c_out), 3, 1)]
        if config.expansion > 1:
            strides = (stride, 1) if config.stride_first else (1, stride)
            plan = [((c_in, inner), 1, strides[0]), ((inner, inner), 3, strides[1])]
            plan += [((inner, c_out), 1, 1)]
        self.layer = nnx.List([ConvNorm(config, *step, rngs) for step in plan])
        # The skip connection is projected only where the shape changes.
        changes = stride != 1 or c_in != c_out
        self.shortcut = ConvNorm(config, features, 1, stride, rngs) if changes else None

    def __call__(self, x: Float[Array, "N H W C"]) -> Float[Array, "N h w D"]:
        """Adds the convolved x to x and rectifies."""
        skip = x if self.shortcut is None else self.shortcut(x)
        for index, layer in enumerate(self.layer):
            x = layer(x if index == 0 else nnx.relu(x))
        # The sum is rounded once: small ones would lose their direction.
        return self.activation(x + skip).astype(self.dtype)


def _stage(config: ResNetConfig, index: int, rngs: nnx.Rngs) -> Stage:
    """Residual blocks at one resolution; `index` counts the stages from 0."""
    c_out = config.stage_widths[index]
    c_in = config.stage_widths[index - 1] if index else config.width
    # Every stage but the first halves the resolution, in its first block.
    stride = 2 if index else config.first_stage_stride
    first = Block(config, (c_in, c_out), stride, rngs)
    rest = range(1, config.stage_blocks[index])
    return Stage([first, *(Block(config, (c_out, c_out), 1, rngs) for _ in rest)])


class Backbone(nnx.Module):
    """Stem and stages."""

    def __init__(self, config: ResNetConfig, rngs: nnx.Rngs) -> None:
        """Builds the backbone of `config`."""
        self.embedder = Embedder(config, rngs)
        stages = range(len(config.stage_blocks))
        self.encoder = Encoder(_stage(config, index, rngs) for index in stages)

    def __call__(self, images: Float[Array, "N H W C"]) -> Float[Array, "N h w D"]:
        """Computes the last feature map."""
        return self.encoder(self.embedder(images))


class ResNet(PooledNetwork):
    """Residual network: stem, stages, global average pool, linear classifier.

    Args:
      config: the sizes, see `ResNetConfig`.
      rngs: the keys of the random weights.

    References:
      He et al., "Deep residual learning for image recognition", 2016.
    """

    def __init__(self, config: ResNetConfig, *, rngs: nnx.Rngs) -> None:
        """Builds the network with He (fan-out) initialization, in training mode."""
        self.config = config
        self.resnet = Backbone(config, rngs)
        if config.num_classes is None:
            self.classifier = None
            return
        self.classifier = nnx.Linear(
            config.stage_widths[-1],
            config.num_classes,
            # torch's default for a linear layer: uniform within 1/sqrt(fan_in).
            kernel_init=nnx.initializers.variance_scaling(1 / 3, "fan_in", "uniform"),
            dtype=config.dtype,
            param_dtype=config.param_dtype,
            precision=config.precision,
            rngs=rngs,
        )

    def pooled(self, images: Float[Array, "N H W C"]) -> Float[Array, "N channels"]:
        """Computes the mean of the last feature map."""
        return jnp.mean(self.resnet(images), axis=(1, 2))


def _resnet(
    depth: int,
    stem: Literal["imagenet", "cifar"] = "imagenet",
    num_classes: int | None = 1000,
    *,
    rngs: nnx.Rngs,
) -> ResNet:
    """Builds a ResNet of that depth with the default settings of `ResNetConfig`."""
    return ResNet(ResNetConfig(depth, stem, num_classes), rngs=rngs)


resnet18 = functools.partial(_resnet, 18)
"""Builds a ResNet18, from the stem, the classes and ``rngs``, see `ResNetConfig`."""
resnet34 = functools.partial(_resnet, 34)
"""Builds a ResNet34, from the stem, the classes and ``rngs``, see `ResNetConfig`."""
resnet50 = functools.partial(_resnet, 50)
"""Builds a ResNet50, from the stem, the classes and ``rngs``, see `ResNetConfig`."""
resnet101 = functools.partial(_resnet, 101)
"""Builds a ResNet101, from the stem, the classes and ``rngs``, see `ResNetConfig`."""
