"""ConvNeXt V2 (Woo et al. 2023, arXiv 2301.00808) in flax.nnx, NHWC.

Layers, named as in Hugging Face's checkpoints: `convnextv2.embeddings`,
`convnextv2.encoder.stages.0` to `.3`, their blocks
`convnextv2.encoder.stages.0.layers.0`, `convnextv2.layernorm` (of the pooled features),
`classifier`.
"""

import dataclasses

import jax.numpy as jnp
from flax import nnx
from jax.typing import DTypeLike
from jaxtyping import Array, Float

from semrsm_jax.models._layers import (
    Activation,
    LayerNorm,
    PatchProjection,
    check_images,
    conv,
    gelu,
    linear,
    linear_classifier,
    positive,
    statistics_dtype,
    to_one_form,
)
from semrsm_jax.models._stages import Encoder, PooledNetwork, Stage, check_stages

_EPSILON = 1e-6  # of every normalization but the last


@dataclasses.dataclass(frozen=True)
class ConvNeXtV2Config:
    """The settings of a ConvNeXt V2; compares by value.

    Attributes:
      patch_size: rows and columns of the patches that the stem cuts.
      widths: channels of each stage.
      depths: blocks in each stage.
      in_channels: of the images.
      num_classes: outputs of the classifier; None or 0 gives the pooled features.
      activation: of the blocks.
      epsilon: of the normalization of the pooled features; elsewhere it is 1e-6.
      dtype: of parameters and features; normalizations use float32 at least.

    Raises:
      TypeError: a count is not an integer.
      ValueError: a field is out of range.
    """

    patch_size: tuple[int, int] = (4, 4)
    widths: tuple[int, ...] = (128, 256, 512, 1024)
    depths: tuple[int, ...] = (3, 3, 27, 3)
    in_channels: int = 3
    num_classes: int | None = None
    activation: Activation = gelu
    epsilon: float = 1e-12
    dtype: DTypeLike = jnp.float32

    prefix_tokens = 0

    def __post_init__(self) -> None:
        """Checks the fields and brings equal settings to one form."""
        check_stages(widths=self.widths, depths=self.depths)
        positive(self, "in_channels")
        to_one_form(self)

    def token_grid(self, height: int, width: int) -> tuple[int, int]:
        """Rows and columns of the last stage for images of that size in pixels."""
        halvings = 2 ** (len(self.widths) - 1)
        rows, columns = height // self.patch_size[0], width // self.patch_size[1]
        return rows // halvings, columns // halvings


class Embeddings(nnx.Module):
    """Patches projected and normalized."""

    def __init__(self, config: ConvNeXtV2Config, rngs: nnx.Rngs) -> None:
        """Builds the stem of `config`."""
        self.in_channels, width = config.in_channels, config.widths[0]
        shape = (config.in_channels, width)
        self.patch_embeddings = PatchProjection(
            shape, config.patch_size, config.dtype, rngs
        )
        self.layernorm = LayerNorm(width, _EPSILON, config.dtype, rngs)

    def __call__(self, images: Float[Array, "N H W C"]) -> Float[Array, "N h w D"]:
        """Maps images to the input of the first stage."""
        check_images(images, self.in_channels)
        return self.layernorm(self.patch_embeddings(images))


class GlobalResponseNorm(nnx.Module):
    """Scales each channel by its norm over the image, relative to the other channels.

    Section 3.2 of the paper; it starts as the identity.
    """

    def __init__(self, width: int, dtype: DTypeLike) -> None:
        """Normalizes `width` channels."""
        self.scale = nnx.Param(jnp.zeros((1, 1, 1, width), dtype))
        self.bias = nnx.Param(jnp.zeros((1, 1, 1, width), dtype))

    def __call__(self, x: Float[Array, "N H W C"]) -> Float[Array, "N H W C"]:
        """Adds x scaled by its relative norms to x."""
        wide = x.astype(statistics_dtype(x.dtype))
        norms = jnp.sqrt(jnp.sum(wide**2, axis=(1, 2), keepdims=True))
        relative = norms / (jnp.mean(norms, axis=-1, keepdims=True) + 1e-6)
        return self.scale[...] * (x * relative.astype(x.dtype)) + self.bias[...] + x


class Block(nnx.Module):
    """Depthwise 7x7 convolution, then an inverted bottleneck."""

    def __init__(self, config: ConvNeXtV2Config, width: int, rngs: nnx.Rngs) -> None:
        """Builds a block of `width` channels."""
        dtype = config.dtype
        self.activation = config.activation
        self.dwconv = conv((width, width), 7, dtype, rngs, groups=width)
        self.layernorm = LayerNorm(width, _EPSILON, dtype, rngs)
        self.pwconv1 = linear((width, 4 * width), dtype, rngs)
        self.grn = GlobalResponseNorm(4 * width, dtype)
        self.pwconv2 = linear((4 * width, width), dtype, rngs)

    def __call__(self, x: Float[Array, "N H W C"]) -> Float[Array, "N H W C"]:
        """Adds the output of the block to x."""
        inner = self.activation(self.pwconv1(self.layernorm(self.dwconv(x))))
        return x + self.pwconv2(self.grn(inner))


class Downsampling(nnx.Module):
    """Normalizes, then halves the resolution."""

    def __init__(
        self, config: ConvNeXtV2Config, features: tuple[int, int], rngs: nnx.Rngs
    ) -> None:
        """Builds it from `features[0]` to `features[1]` channels."""
        self.norm = LayerNorm(features[0], _EPSILON, config.dtype, rngs)
        self.conv = PatchProjection(features, (2, 2), config.dtype, rngs)

    def __call__(self, x: Float[Array, "N H W C"]) -> Float[Array, "N h w D"]:
        """Halves the resolution of x."""
        return self.conv(self.norm(x))


class DownsampledStage(Stage):
    """Consecutive blocks at half the resolution of the stage before."""

    def __init__(self, config: ConvNeXtV2Config, index: int, rngs: nnx.Rngs) -> None:
        """Builds stage `index`; all but the first halve the resolution."""
        width = config.widths[index]
        self.downsampling_layer = (
            Downsampling(config, (config.widths[index - 1], width), rngs)
            if index
            else None
        )
        super().__init__(
            Block(config, width, rngs) for _ in range(config.depths[index])
        )

    def __call__(self, x: Float[Array, "N H W C"]) -> Float[Array, "N h w D"]:
        """Applies the blocks in turn."""
        downsample = self.downsampling_layer
        return super().__call__(x if downsample is None else downsample(x))


class Backbone(nnx.Module):
    """Stem, stages, global average pool and its normalization."""

    def __init__(self, config: ConvNeXtV2Config, rngs: nnx.Rngs) -> None:
        """Builds the backbone of `config`."""
        self.embeddings = Embeddings(config, rngs)
        stages = range(len(config.widths))
        self.encoder = Encoder(DownsampledStage(config, k, rngs) for k in stages)
        self.layernorm = LayerNorm(
            config.widths[-1], config.epsilon, config.dtype, rngs
        )

    def __call__(self, images: Float[Array, "N H W C"]) -> Float[Array, "N D"]:
        """Computes the normalized pooled features."""
        x = self.encoder(self.embeddings(images))
        return self.layernorm(x.mean(axis=(1, 2), dtype=statistics_dtype(x.dtype)))


class ConvNeXtV2(PooledNetwork):
    """ConvNeXt V2 with a linear classifier over the pooled features.

    Args:
      config: the sizes, see `ConvNeXtV2Config`.
      rngs: the keys of the random weights.

    References:
      Woo et al., "ConvNeXt V2: Co-designing and scaling ConvNets with masked
      autoencoders", 2023.
    """

    def __init__(self, config: ConvNeXtV2Config, *, rngs: nnx.Rngs) -> None:
        """Builds the network with random weights."""
        self.config = config
        self.convnextv2 = Backbone(config, rngs)
        self.classifier = linear_classifier(config, config.widths[-1], rngs)

    def pooled(self, images: Float[Array, "N H W C"]) -> Float[Array, "N channels"]:
        """Computes the mean of the last feature map, normalized."""
        return self.convnextv2(images)
