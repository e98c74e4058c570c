"""The image encoder of SAM (Kirillov et al. 2023, arXiv 2304.02643) in flax.nnx.

A vision transformer on a grid of tokens without CLS: most layers attend within windows,
some over the whole image, all with relative position embeddings; a neck of two
convolutions gives the image embedding. Layers, named as in Hugging Face's checkpoints:
`vision_encoder.embeddings` (the sum of patches and positions, unnamed there),
`vision_encoder.layers.0` and on, `vision_encoder.neck`.
"""

import dataclasses

import jax
import jax.numpy as jnp
import numpy as np
from flax import nnx
from jax.typing import DTypeLike
from jaxtyping import Array, Float

from semrsm_jax import _checks
from semrsm_jax.models._layers import (
    MLP,
    Activation,
    LayerNorm,
    PatchProjection,
    attend,
    check_heads,
    check_images,
    conv,
    gelu,
    in_turn,
    linear,
    positive,
    to_one_form,
)

# Scores of attention that are held at once, for each head of each sample.
_MOST_SCORES = 2**19


@dataclasses.dataclass(frozen=True)
class SAMConfig:
    """The settings of SAM's image encoder; compares by value.

    Attributes:
      image_size: side of the images, in pixels; they are square and of this size.
      patch_size: side of a patch.
      width: channels of the tokens.
      depth: number of layers.
      heads: of the attention; they divide `width`.
      hidden: inner channels of the feed-forward part.
      in_channels: of the images.
      out_channels: of the neck, and so of the image embedding.
      window: side of the attention's windows, in tokens.
      global_layers: the layers that attend over the whole image.
      activation: of the feed-forward part.
      epsilon: of the layers' normalizations; the neck's is 1e-6.
      qkv_bias: whether queries, keys and values have a bias.
      absolute_positions: whether position embeddings are added to the patches.
      relative_positions: whether relative ones are added to the attention's scores.
      dtype: of parameters and features; normalizations and softmax use float32 at
        least.

    Raises:
      TypeError: a count is not an integer.
      ValueError: a field is out of range.
    """

    image_size: int = 1024
    patch_size: int = 16
    width: int = 768
    depth: int = 12
    heads: int = 12
    hidden: int = 3072
    in_channels: int = 3
    out_channels: int = 256
    window: int = 14
    global_layers: tuple[int, ...] = (2, 5, 8, 11)
    activation: Activation = gelu
    epsilon: float = 1e-6
    qkv_bias: bool = True
    absolute_positions: bool = True
    relative_positions: bool = True
    dtype: DTypeLike = jnp.float32

    prefix_tokens = 0

    def __post_init__(self) -> None:
        """Checks the fields and brings equal settings to one form."""
        positive(self, "image_size", "patch_size", "width", "depth", "heads", "hidden")
        positive(self, "in_channels", "out_channels")
        _checks.at_least("window", self.window, 0)
        check_heads(self.width, self.heads)
        if self.image_size < self.patch_size:
            raise ValueError(
                f"image_size must be at least patch_size={self.patch_size}, got "
                f"{self.image_size}"
            )
        to_one_form(self)

    def token_grid(self, height: int, width: int) -> tuple[int, int]:
        """Rows and columns of tokens for images of that size in pixels."""
        return height // self.patch_size, width // self.patch_size


class Embeddings(nnx.Module):
    """Patches projected, position embeddings added."""

    def __init__(self, config: SAMConfig, rngs: nnx.Rngs) -> None:
        """Builds the embeddings of `config`."""
        self.config = config
        size = (config.patch_size, config.patch_size)
        shape = (config.in_channels, config.width)
        self.patch_embed = PatchProjection(shape, size, config.dtype, rngs)
        grid = config.token_grid(config.image_size, config.image_size)
        init = nnx.initializers.truncated_normal(0.02)
        table = init(rngs.params(), (1, *grid, config.width), config.dtype)
        self.pos_embed = nnx.Param(table) if config.absolute_positions else None

    def __call__(self, images: Float[Array, "N H W C"]) -> Float[Array, "N h w D"]:
        """Turns images into a grid of tokens.

        Raises:
          ValueError: the images have another size or number of channels.
        """
        check_images(images, self.config.in_channels)
        side = self.config.image_size
        if images.shape[1:3] != (side, side):
            raise ValueError(
                f"images must be {side} x {side}, resized and padded, since SAM's "
                f"positions are not interpolated; got {images.shape[1:3]}"
            )
        x = self.patch_embed(images)
        return x if self.pos_embed is None else x + self.pos_embed[...]


class RelativeAttention(nnx.Module):
    """Self-attention on a grid, with relative positions decomposed into two axes.

    A score is q k / sqrt(D) + q r_row + q r_column, where r depends on the difference
    of the rows, or columns, of query and key (Li et al. 2022, arXiv 2112.01526).
    """

    def __init__(self, config: SAMConfig, side: int, rngs: nnx.Rngs) -> None:
        """Builds attention on a grid of `side` x `side` tokens."""
        self.heads, width, dtype = config.heads, config.width, config.dtype
        self.qkv = linear((width, 3 * width), dtype, rngs, config.qkv_bias)
        self.proj = linear((width, width), dtype, rngs)
        shape = (2 * side - 1, width // self.heads)
        tables = (
            nnx.Param(jnp.zeros(shape, dtype)) if config.relative_positions else None
            for _ in range(2)
        )
        self.rel_pos_h, self.rel_pos_w = tables

    def __call__(self, x: Float[Array, "N H W C"]) -> Float[Array, "N H W C"]:
        """Mixes the tokens of each grid, some rows of queries at a time."""
        n, rows, columns, width = x.shape
        qkv = self.qkv(x).reshape(n, rows, columns, 3, self.heads, -1)
        # Rows first, which are mapped over: (3, rows, N, heads, columns, D).
        query, key, value = qkv.transpose(3, 1, 0, 4, 2, 5)
        key, value = (
            jnp.moveaxis(a, 0, 2).reshape(n, self.heads, rows * columns, -1)
            for a in (key, value)
        )
        at_once = max(1, min(rows, _MOST_SCORES // (rows * columns**2)))

        def mix(row: tuple[Array, Array]) -> Float[Array, "N heads W D"]:
            return attend(row[1], key, value, self._bias(*row, rows))

        mixed = jax.lax.map(mix, (jnp.arange(rows), query), batch_size=at_once)
        return self.proj(mixed.transpose(1, 0, 3, 2, 4).reshape(x.shape))

    def _bias(
        self, row: Array, query: Float[Array, "N heads W D"], rows: int
    ) -> Float[Array, "N heads W S"] | None:
        """What the positions add to the scores of one row of queries."""
        if self.rel_pos_h is None or self.rel_pos_w is None:
            return None
        columns = query.shape[2]
        # The last entry of a table is the largest difference, query minus key.
        by_row = self.rel_pos_h[...][row - jnp.arange(rows) + rows - 1]
        steps = np.arange(columns)[:, None] - np.arange(columns) + columns - 1
        by_column = self.rel_pos_w[...][steps]
        down = jnp.einsum("nawd,kd->nawk", query, by_row)
        across = jnp.einsum("nawd,wkd->nawk", query, by_column)
        bias = down[..., :, None] + across[..., None, :]
        return bias.reshape(*bias.shape[:3], -1)


class Layer(nnx.Module):
    """Transformer layer on a grid; `window` 0 attends over all of it."""

    def __init__(self, config: SAMConfig, window: int, rngs: nnx.Rngs) -> None:
        """Builds one layer of `config`."""
        width, dtype = config.width, config.dtype
        self.window = window
        side = window or config.image_size // config.patch_size
        self.layer_norm1 = LayerNorm(width, config.epsilon, dtype, rngs)
        self.attn = RelativeAttention(config, side, rngs)
        self.layer_norm2 = LayerNorm(width, config.epsilon, dtype, rngs)
        self.mlp = MLP(width, config.hidden, config.activation, dtype, rngs)

    def __call__(self, x: Float[Array, "N H W C"]) -> Float[Array, "N H W C"]:
        """Adds the output of attention and of the feed-forward part to the tokens."""
        normed = self.layer_norm1(x)
        x = x + (self._windowed(normed) if self.window else self.attn(normed))
        return x + self.mlp(self.layer_norm2(x))

    def _windowed(self, x: Float[Array, "N H W C"]) -> Float[Array, "N H W C"]:
        """Attends within windows; those at the lower right are filled with zeros.

        The zeros are attended to, as in SAM's training.
        """
        (n, height, width, channels), side = x.shape, self.window
        x = jnp.pad(x, ((0, 0), (0, -height % side), (0, -width % side), (0, 0)))
        rows, columns = x.shape[1] // side, x.shape[2] // side
        x = x.reshape(n, rows, side, columns, side, channels).swapaxes(2, 3)
        x = self.attn(x.reshape(-1, side, side, channels))
        x = x.reshape(n, rows, columns, side, side, channels).swapaxes(2, 3)
        return x.reshape(n, rows * side, columns * side, channels)[:, :height, :width]


class Neck(nnx.Module):
    """Two convolutions, each normalized, to the channels of the image embedding."""

    def __init__(self, config: SAMConfig, rngs: nnx.Rngs) -> None:
        """Builds the neck of `config`."""
        out, dtype = config.out_channels, config.dtype
        self.conv1 = conv((config.width, out), 1, dtype, rngs, use_bias=False)
        self.layer_norm1 = LayerNorm(out, 1e-6, dtype, rngs)
        self.conv2 = conv((out, out), 3, dtype, rngs, use_bias=False)
        self.layer_norm2 = LayerNorm(out, 1e-6, dtype, rngs)

    def __call__(self, x: Float[Array, "N H W C"]) -> Float[Array, "N H W D"]:
        """Computes the image embedding."""
        return self.layer_norm2(self.conv2(self.layer_norm1(self.conv1(x))))


class VisionEncoder(nnx.Module):
    """Embeddings, layers and neck."""

    def __init__(self, config: SAMConfig, rngs: nnx.Rngs) -> None:
        """Builds the encoder of `config`."""
        self.embeddings = Embeddings(config, rngs)
        windows = (
            0 if k in config.global_layers else config.window
            for k in range(config.depth)
        )
        self.layers = nnx.List([Layer(config, window, rngs) for window in windows])
        self.neck = Neck(config, rngs)

    def __call__(self, images: Float[Array, "N H W C"]) -> Float[Array, "N h w D"]:
        """Computes the image embedding."""
        return self.neck(in_turn(self.layers, self.embeddings(images)))


class SAMVision(nnx.Module):
    """SAM's image encoder.

    Args:
      config: the sizes, see `SAMConfig`.
      rngs: the keys of the random weights.

    References:
      Kirillov et al., "Segment anything", 2023.
    """

    def __init__(self, config: SAMConfig, *, rngs: nnx.Rngs) -> None:
        """Builds the network with random weights."""
        self.config = config
        self.vision_encoder = VisionEncoder(config, rngs)

    def __call__(self, images: Float[Array, "N H W C"]) -> Float[Array, "N h w D"]:
        """Computes the image embedding.

        Args:
          images: normalized images, (N, image_size, image_size, in_channels), the
            longest side resized, the rest padded with zeros; floating.

        Returns:
          (N, h, w, out_channels) in `config.dtype`.

        Raises:
          ValueError: `images` has another shape.
        """
        return self.vision_encoder(images)
