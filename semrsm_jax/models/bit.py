"""Big Transfer (Kolesnikov et al. 2020, arXiv 1912.11370) in flax.nnx, NHWC.

ResNetV2, pre-activation, with group normalization and weight-standardized convolutions
(Qiao et al. 2019, arXiv 1903.10520). Layers, named as in Hugging Face's checkpoints:
`bit.embedder`, `bit.encoder.stages.0` to `.3`, their blocks
`bit.encoder.stages.0.layers.0`, `bit.norm`, `classifier`.
"""

import dataclasses
from collections.abc import Iterator
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
    linear_classifier,
    positive,
    relu,
    statistics_dtype,
    to_one_form,
)
from semrsm_jax.models._stages import Encoder, PooledNetwork, Stage, check_stages

Padding = Literal["symmetric", "same"]


@dataclasses.dataclass(frozen=True)
class BiTConfig:
    """The settings of a BiT; compares by value.

    Attributes:
      stem_width: channels of the stem.
      widths: channels that leave each stage; a block's inner ones are a quarter.
      depths: blocks in each stage.
      groups: of the group normalizations.
      padding: of the convolutions: `"symmetric"`, as torch pads, or `"same"`, as
        TensorFlow does, with the odd row below and the odd column on the right.
      pool_same: whether the stem's max-pool is padded as `"same"` too.
      output_stride: pixels that a token of the last stage may stand for; stages beyond
        it keep the resolution.
      in_channels: of the images.
      num_classes: outputs of the classifier; None or 0 gives the pooled features.
      activation: after the normalizations.
      dtype: of parameters and features; normalizations use float32 at least.

    Raises:
      TypeError: a count is not an integer.
      ValueError: a field is out of range.
    """

    stem_width: int = 64
    widths: tuple[int, ...] = (256, 512, 1024, 2048)
    depths: tuple[int, ...] = (3, 4, 6, 3)
    groups: int = 32
    padding: Padding = "symmetric"
    pool_same: bool = False
    output_stride: int = 32
    in_channels: int = 3
    num_classes: int | None = None
    activation: Activation = relu
    dtype: DTypeLike = jnp.float32

    prefix_tokens = 0

    def __post_init__(self) -> None:
        """Checks the fields and brings equal settings to one form."""
        positive(self, "stem_width", "groups", "output_stride", "in_channels")
        _checks.one_of("padding", self.padding, ("symmetric", "same"))
        check_stages(widths=self.widths, depths=self.depths)
        to_one_form(self)

    @property
    def strides(self) -> tuple[int, ...]:
        """Of the first block of each stage."""
        strides: list[int] = []
        reached = 4
        for index in range(len(self.widths)):
            strides.append(2 if index and reached < self.output_stride else 1)
            reached *= strides[-1]
        return tuple(strides)

    def token_grid(self, height: int, width: int) -> tuple[int, int]:
        """Rows and columns of the last stage for images of that size in pixels."""

        def length(pixels: int) -> int:
            steps = [(7, 2, None), (3, 2, self._pool_padding)]
            steps += [(3, stride, None) for stride in self.strides]
            for size, stride, pads in steps:
                low, high = pads(pixels) if pads else self.pads(size, stride, pixels)
                pixels = (pixels + low + high - size) // stride + 1
            return pixels

        return length(height), length(width)

    def pads(self, size: int, stride: int, length: int) -> tuple[int, int]:
        """Zeros before and after an axis of that length, for a kernel of that size."""
        if self.padding == "symmetric":
            each = (stride + size) // 2 - 1
            return each, each
        return same_pads(size, stride, length)

    def _pool_padding(self, length: int) -> tuple[int, int]:
        """Zeros around the input of the stem's max-pool."""
        around = 0 if self.padding == "same" else 1
        same = same_pads(3, 2, length + 2 * around) if self.pool_same else (0, 0)
        return around + same[0], around + same[1]

    def pool_pads(self, height: int, width: int) -> tuple[tuple[int, int], ...]:
        """Zeros around each axis of the max-pool's input (N, H, W, C)."""
        return (0, 0), self._pool_padding(height), self._pool_padding(width), (0, 0)


def same_pads(size: int, stride: int, length: int) -> tuple[int, int]:
    """Zeros for an output as long as the input divided by the stride, rounded up."""
    total = max((-(-length // stride) - 1) * stride + size - length, 0)
    return total // 2, total - total // 2


def _inner(width: int) -> int:
    """A quarter of the channels, as a multiple of 8 that is not much less."""
    rounded = max(8, int(width / 4 + 4) // 8 * 8)
    return rounded + 8 if rounded < 0.9 * width / 4 else rounded


class StandardizedConv(nnx.Module):
    """Convolution without bias, each of its filters of mean 0 and variance 1."""

    def __init__(
        self,
        config: BiTConfig,
        features: tuple[int, int],
        size: int,
        stride: int,
        rngs: nnx.Rngs,
    ) -> None:
        """Builds a `size` x `size` kernel from `features[0]` to `features[1]`."""
        self.config, self.stride = config, stride
        init = nnx.initializers.variance_scaling(2.0, "fan_out", "normal")
        self.kernel = nnx.Param(
            init(rngs.params(), (size, size, *features), config.dtype)
        )

    def __call__(self, x: Float[Array, "N H W C"]) -> Float[Array, "N h w D"]:
        """Convolves x with the standardized filters."""
        kernel = self.kernel[...].astype(statistics_dtype(x.dtype))
        mean = kernel.mean(axis=(0, 1, 2))
        variance = jnp.mean((kernel - mean) ** 2, axis=(0, 1, 2))
        kernel = (kernel - mean) * jax.lax.rsqrt(variance + 1e-8)
        size = kernel.shape[0]
        return jax.lax.conv_general_dilated(
            x,
            kernel.astype(x.dtype),
            window_strides=(self.stride, self.stride),
            padding=[
                self.config.pads(size, self.stride, length) for length in x.shape[1:3]
            ],
            dimension_numbers=("NHWC", "HWIO", "NHWC"),
        )


class GroupNormActivation(nnx.GroupNorm):
    """Group normalization in float32 at least, then the activation."""

    def __init__(self, config: BiTConfig, features: int, rngs: nnx.Rngs) -> None:
        """Normalizes `features` channels in `config.groups` groups."""
        super().__init__(
            features,
            num_groups=config.groups,
            epsilon=1e-5,
            dtype=statistics_dtype(config.dtype),
            param_dtype=statistics_dtype(config.dtype),
            use_fast_variance=False,
            rngs=rngs,
        )
        self.config = config

    def __call__(self, x: Float[Array, "N H W C"]) -> Float[Array, "N H W C"]:
        """Normalizes and rectifies x."""
        return self.config.activation(super().__call__(x)).astype(self.config.dtype)


class Embedder(nnx.Module):
    """First convolution and max-pool; neither norm nor activation, as in ResNetV2."""

    def __init__(self, config: BiTConfig, rngs: nnx.Rngs) -> None:
        """Builds the stem of `config`."""
        self.config = config
        features = (config.in_channels, config.stem_width)
        self.convolution = StandardizedConv(config, features, 7, 2, rngs)

    def __call__(self, images: Float[Array, "N H W C"]) -> Float[Array, "N h w D"]:
        """Maps images to the input of the first stage."""
        check_images(images, self.config.in_channels)
        x = self.convolution(images.astype(self.config.dtype))
        # Zeros, which exceed negative values: the features are not rectified.
        x = jnp.pad(x, self.config.pool_pads(*x.shape[1:3]))
        return nnx.max_pool(x, (3, 3), strides=(2, 2))


class Block(nnx.Module):
    """Pre-activation bottleneck: 1x1, 3x3 with the stride, 1x1."""

    def __init__(
        self,
        config: BiTConfig,
        features: tuple[int, int],
        stride: int,
        first: bool,
        rngs: nnx.Rngs,
    ) -> None:
        """Builds a block; the first of a stage projects its shortcut."""
        (c_in, c_out), inner = features, _inner(features[1])
        self.norm1 = GroupNormActivation(config, c_in, rngs)
        self.conv1 = StandardizedConv(config, (c_in, inner), 1, 1, rngs)
        self.norm2 = GroupNormActivation(config, inner, rngs)
        self.conv2 = StandardizedConv(config, (inner, inner), 3, stride, rngs)
        self.norm3 = GroupNormActivation(config, inner, rngs)
        self.conv3 = StandardizedConv(config, (inner, c_out), 1, 1, rngs)
        self.downsample = (
            StandardizedConv(config, features, 1, stride, rngs) if first else None
        )

    def __call__(self, x: Float[Array, "N H W C"]) -> Float[Array, "N h w D"]:
        """Adds the convolved x to x."""
        active = self.norm1(x)
        skip = x if self.downsample is None else self.downsample(active)
        inner = self.conv2(self.norm2(self.conv1(active)))
        return skip + self.conv3(self.norm3(inner))


def _stages(config: BiTConfig, rngs: nnx.Rngs) -> Iterator[Stage]:
    """The stages of a network; the first block of each has its stride."""
    c_in = config.stem_width
    for c_out, stride, depth in zip(
        config.widths, config.strides, config.depths, strict=True
    ):
        first = Block(config, (c_in, c_out), stride, True, rngs)
        rest = range(1, depth)
        inside = (c_out, c_out)
        yield Stage([first, *(Block(config, inside, 1, False, rngs) for _ in rest)])
        c_in = c_out


class Backbone(nnx.Module):
    """Stem, stages and the last normalization."""

    def __init__(self, config: BiTConfig, rngs: nnx.Rngs) -> None:
        """Builds the backbone of `config`."""
        self.embedder = Embedder(config, rngs)
        self.encoder = Encoder(_stages(config, rngs))
        self.norm = GroupNormActivation(config, config.widths[-1], rngs)

    def __call__(self, images: Float[Array, "N H W C"]) -> Float[Array, "N h w D"]:
        """Computes the last feature map, normalized and rectified."""
        return self.norm(self.encoder(self.embedder(images)))


class BiT(PooledNetwork):
    """BiT with a linear classifier over the pooled features.

    Args:
      config: the sizes, see `BiTConfig`.
      rngs: the keys of the random weights.

    References:
      Kolesnikov et al., "Big Transfer (BiT): General visual representation
      learning", 2020.
    """

    def __init__(self, config: BiTConfig, *, rngs: nnx.Rngs) -> None:
        """Builds the network with random weights."""
        self.config = config
        self.bit = Backbone(config, rngs)
        self.classifier = linear_classifier(config, config.widths[-1], rngs)

    def pooled(self, images: Float[Array, "N H W C"]) -> Float[Array, "N channels"]:
        """Computes the mean of the last feature map."""
        return jnp.mean(self.bit(images), axis=(1, 2))
