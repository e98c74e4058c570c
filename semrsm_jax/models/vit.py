"""Vision transformers (Dosovitskiy et al. 2021, arXiv 2010.11929) in flax.nnx.

One configurable encoder makes ViT, DINOv2 (Oquab et al. 2023, arXiv 2304.07193; layer
scale, SwiGLU) and, in `semrsm_jax.models.clip`, CLIP's vision tower. Layers are named
as in Hugging Face's checkpoints: `vit.embeddings`, `vit.encoder.layer.0` and on,
`vit.layernorm`, `classifier`; with `dinov2` in place of `vit` for DINOv2.
"""

import dataclasses

import jax
import jax.numpy as jnp
from flax import nnx
from jax.typing import DTypeLike
from jaxtyping import Array, Float

from semrsm_jax.models._interpolation import resize_grid
from semrsm_jax.models._layers import (
    MLP,
    Activation,
    Attention,
    LayerNorm,
    PatchProjection,
    check_heads,
    check_images,
    gelu,
    in_turn,
    linear,
    linear_classifier,
    positive,
    statistics_dtype,
    to_one_form,
)


@dataclasses.dataclass(frozen=True)
class ViTConfig:
    """The settings of a vision transformer; compares by value.

    Attributes:
      image_size: rows and columns that the position embeddings were trained for; for
        images of another size they are interpolated.
      patch_size: rows and columns of a patch.
      width: channels of the tokens.
      depth: number of layers.
      heads: of the attention; they divide `width`.
      hidden: inner channels of the feed-forward part, of each branch with `swiglu`.
      in_channels: of the images.
      num_classes: outputs of the classifier; None or 0 builds none.
      activation: of the feed-forward part.
      epsilon: of the layer normalizations.
      qkv_bias: whether queries, keys and values have a bias.
      layer_scale: whether learned factors scale what each half of a layer adds.
      swiglu: whether the feed-forward part is gated: silu(gate) * up.
      projection: channels of the image embeddings of a whole CLIP; None: the network
        ends with its tokens.
      mask_token: whether the embeddings hold the token that hides patches in
        pre-training; nothing is computed from it.
      dtype: of parameters and features; normalizations and softmax use float32 at
        least.

    Raises:
      TypeError: a count is not an integer.
      ValueError: a field is out of range.
    """

    image_size: tuple[int, int] = (224, 224)
    patch_size: tuple[int, int] = (16, 16)
    width: int = 768
    depth: int = 12
    heads: int = 12
    hidden: int = 3072
    in_channels: int = 3
    num_classes: int | None = None
    activation: Activation = gelu
    epsilon: float = 1e-12
    qkv_bias: bool = True
    layer_scale: bool = False
    swiglu: bool = False
    mask_token: bool = False
    projection: int | None = None
    dtype: DTypeLike = jnp.float32

    prefix_tokens = 1  # the CLS token comes before the patches

    def __post_init__(self) -> None:
        """Checks the fields and brings equal settings to one form."""
        positive(self, "width", "depth", "heads", "hidden", "in_channels")
        if self.projection is not None:
            positive(self, "projection")
        check_heads(self.width, self.heads)
        to_one_form(self)
        if 0 in self.token_grid(*self.image_size):
            raise ValueError(
                f"image_size must hold one patch of {self.patch_size} at least, got "
                f"{self.image_size}"
            )

    def token_grid(self, height: int, width: int) -> tuple[int, int]:
        """Rows and columns of patch tokens for images of that size in pixels."""
        return height // self.patch_size[0], width // self.patch_size[1]


class Embeddings(nnx.Module):
    """Patches projected, the CLS token before them, position embeddings added."""

    def __init__(
        self, config: ViTConfig, rngs: nnx.Rngs, patch_bias: bool = True
    ) -> None:
        """Builds the embeddings of `config`."""
        self.config, shape = config, (config.in_channels, config.width)
        self.projection = PatchProjection(
            shape, config.patch_size, config.dtype, rngs, patch_bias
        )
        rows, columns = config.token_grid(*config.image_size)
        init = nnx.initializers.truncated_normal(0.02)

        def table(tokens: int) -> nnx.Param:
            shape = (1, tokens, config.width)
            return nnx.Param(init(rngs.params(), shape, config.dtype))

        self.cls_token = table(1)
        self.position_embeddings = table(rows * columns + 1)
        self.mask_token = table(1) if config.mask_token else None

    def __call__(self, images: Float[Array, "N H W C"]) -> Float[Array, "N S D"]:
        """Turns images into tokens, the CLS token first, then patches row by row."""
        check_images(images, self.config.in_channels)
        patches = self.projection(images)
        n, rows, columns, width = patches.shape
        cls = jnp.broadcast_to(self.cls_token[...], (n, 1, width))
        tokens = jnp.concatenate([cls, patches.reshape(n, -1, width)], axis=1)
        return tokens + self._positions(rows, columns)

    def _positions(self, rows: int, columns: int) -> Float[Array, "1 S D"]:
        """The position embeddings, those of the patches on a grid of that size."""
        table = self.position_embeddings[...]
        grid = self.config.token_grid(*self.config.image_size)
        if (rows, columns) == grid:
            return table
        patches = table[:, 1:].reshape(1, *grid, -1)
        patches = patches.astype(statistics_dtype(table.dtype))
        resized = resize_grid(patches, rows, columns).astype(table.dtype)
        flat = resized.reshape(1, rows * columns, -1)
        return jnp.concatenate([table[:, :1], flat], axis=1)


class SwiGLU(nnx.Module):
    """Gated feed-forward part (Shazeer 2020, arXiv 2002.05202) of DINOv2 Giant."""

    def __init__(self, config: ViTConfig, rngs: nnx.Rngs) -> None:
        """Builds both branches as one product, the gate first."""
        width, hidden = config.width, config.hidden
        self.weights_in = linear((width, 2 * hidden), config.dtype, rngs)
        self.weights_out = linear((hidden, width), config.dtype, rngs)

    def __call__(self, x: Float[Array, "... C"]) -> Float[Array, "... C"]:
        """Maps each token independently."""
        gate, up = jnp.split(self.weights_in(x), 2, axis=-1)
        return self.weights_out(jax.nn.silu(gate) * up)


class LayerScale(nnx.Module):
    """A learned factor a channel (Touvron et al. 2021, arXiv 2103.17239)."""

    def __init__(self, config: ViTConfig) -> None:
        """Starts from factors of one."""
        self.factor = nnx.Param(jnp.ones(config.width, config.dtype))

    def __call__(self, x: Float[Array, "... C"]) -> Float[Array, "... C"]:
        """Scales the channels of x."""
        return x * self.factor[...]


class Layer(nnx.Module):
    """Transformer layer: attention, then feed-forward, normalized before each."""

    def __init__(self, config: ViTConfig, rngs: nnx.Rngs) -> None:
        """Builds one layer of `config`."""
        width, dtype = config.width, config.dtype
        self.norm1 = LayerNorm(width, config.epsilon, dtype, rngs)
        self.attention = Attention(width, config.heads, dtype, rngs, config.qkv_bias)
        self.layer_scale1 = LayerScale(config) if config.layer_scale else None
        self.norm2 = LayerNorm(width, config.epsilon, dtype, rngs)
        self.mlp = (
            SwiGLU(config, rngs)
            if config.swiglu
            else MLP(width, config.hidden, config.activation, dtype, rngs)
        )
        self.layer_scale2 = LayerScale(config) if config.layer_scale else None

    def __call__(self, x: Float[Array, "N S C"]) -> Float[Array, "N S C"]:
        """Adds the output of attention and of the feed-forward part to the tokens."""
        mixed = self.attention(self.norm1(x))
        x = x + (mixed if self.layer_scale1 is None else self.layer_scale1(mixed))
        mapped = self.mlp(self.norm2(x))
        return x + (mapped if self.layer_scale2 is None else self.layer_scale2(mapped))


class Encoder(nnx.Module):
    """The layers in turn."""

    def __init__(self, config: ViTConfig, rngs: nnx.Rngs) -> None:
        """Builds `config.depth` layers."""
        self.layer = nnx.List([Layer(config, rngs) for _ in range(config.depth)])

    def __call__(self, x: Float[Array, "N S C"]) -> Float[Array, "N S C"]:
        """Applies the layers; no normalization follows."""
        return in_turn(self.layer, x)


class Backbone(nnx.Module):
    """Embeddings, encoder and the last normalization, of all tokens."""

    def __init__(self, config: ViTConfig, rngs: nnx.Rngs) -> None:
        """Builds the backbone of ViT and DINOv2."""
        self.embeddings = Embeddings(config, rngs)
        self.encoder = Encoder(config, rngs)
        self.layernorm = LayerNorm(config.width, config.epsilon, config.dtype, rngs)

    def __call__(self, images: Float[Array, "N H W C"]) -> Float[Array, "N S D"]:
        """Computes the normalized tokens of the last layer."""
        return self.layernorm(self.encoder(self.embeddings(images)))


class ViT(nnx.Module):
    """Vision transformer; its classifier reads the CLS token.

    Args:
      config: the sizes, see `ViTConfig`.
      rngs: the keys of the random weights.

    References:
      Dosovitskiy et al., "An image is worth 16x16 words: Transformers for image
      recognition at scale", 2020.
    """

    def __init__(self, config: ViTConfig, *, rngs: nnx.Rngs) -> None:
        """Builds the network with random weights."""
        self.config = config
        self.vit = Backbone(config, rngs)
        self.classifier = linear_classifier(config, config.width, rngs)

    def __call__(self, images: Float[Array, "N H W C"]) -> Float[Array, "N ..."]:
        """Computes the logits, or all tokens where there is no classifier.

        Args:
          images: normalized images, (N, H, W, in_channels), floating.

        Returns:
          Logits (N, num_classes), or the normalized tokens (N, 1 + h w, width), the CLS
          token first, in `config.dtype`.

        Raises:
          ValueError: `images` has another rank or number of channels, or holds no
            patch.
        """
        tokens = self.vit(images)
        return tokens if self.classifier is None else self.classifier(tokens[:, 0])


class DINOv2(nnx.Module):
    """DINOv2; its linear classifier reads the CLS token and the mean of the patches.

    Args:
      config: the sizes, see `ViTConfig`.
      rngs: the keys of the random weights.

    References:
      Oquab et al., "DINOv2: Learning robust visual features without supervision",
      2023.
    """

    def __init__(self, config: ViTConfig, *, rngs: nnx.Rngs) -> None:
        """Builds the network with random weights."""
        self.config = config
        self.dinov2 = Backbone(config, rngs)
        self.classifier = linear_classifier(config, 2 * config.width, rngs)

    def __call__(self, images: Float[Array, "N H W C"]) -> Float[Array, "N ..."]:
        """Computes the logits, or all tokens, as `ViT` does."""
        tokens = self.dinov2(images)
        if self.classifier is None:
            return tokens
        mean = tokens[:, 1:].mean(axis=1, dtype=statistics_dtype(tokens.dtype))
        features = jnp.concatenate([tokens[:, 0], mean.astype(tokens.dtype)], axis=-1)
        return self.classifier(features)
