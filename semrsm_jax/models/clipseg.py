"""CLIPSeg (Lueddecke & Ecker 2022, arXiv 2112.10003) in flax.nnx.

CLIP's vision tower, and a small decoder over three of its layers that a prompt
conditions. Layers, named as in Hugging Face's checkpoints:
`clip.vision_model.encoder.layers.0` and on, `decoder.reduces.0`, `decoder.layers.0`.
"""

import dataclasses

import jax
import jax.numpy as jnp
from flax import nnx
from jax.typing import DTypeLike
from jaxtyping import Array, Float

from semrsm_jax.models._layers import (
    MLP,
    Attention,
    LayerNorm,
    check_heads,
    conv,
    linear,
    positive,
)
from semrsm_jax.models.clip import CLIPVision, clip_vision_config
from semrsm_jax.models.vit import ViTConfig


@dataclasses.dataclass(frozen=True)
class CLIPSegConfig:
    """The settings of a CLIPSeg; compares by value.

    Attributes:
      vision: the tower.
      projection: channels of the space that CLIP shares between images and texts.
      extract_layers: the layers of the tower that the decoder reads.
      width: channels of the decoder, the 64 of "rd64".
      heads: of the decoder's attention.
      hidden: inner channels of the decoder's feed-forward parts.
      conditional_layer: the decoder's layer before which the prompt is applied.
      refined: whether masks are upsampled in two steps after a 3x3 convolution.

    Raises:
      TypeError: a count is not an integer.
      ValueError: a field is out of range.
    """

    vision: ViTConfig = dataclasses.field(
        default_factory=lambda: clip_vision_config(patch_size=(16, 16))
    )
    projection: int = 512
    extract_layers: tuple[int, ...] = (3, 6, 9)
    width: int = 64
    heads: int = 4
    hidden: int = 2048
    conditional_layer: int = 0
    refined: bool = False

    prefix_tokens = 1

    def __post_init__(self) -> None:
        """Checks the fields."""
        positive(self, "projection", "width", "heads", "hidden")
        check_heads(self.width, self.heads)
        layers = self.extract_layers
        if not layers or not all(0 <= k < self.vision.depth for k in layers):
            raise ValueError(
                f"extract_layers must be layers of the tower, below "
                f"{self.vision.depth}, got {layers}"
            )

    @property
    def dtype(self) -> DTypeLike:
        """Of parameters and features, the tower's."""
        return self.vision.dtype

    def token_grid(self, height: int, width: int) -> tuple[int, int]:
        """Rows and columns of patch tokens for images of that size in pixels."""
        return self.vision.token_grid(height, width)


class Upsampling(nnx.Module):
    """A transposed convolution as wide as its stride: each token becomes a patch."""

    def __init__(
        self, features: tuple[int, int], size: int, dtype: DTypeLike, rngs: nnx.Rngs
    ) -> None:
        """Maps tokens of `features[0]` to patches of `features[1]` channels."""
        init = nnx.initializers.lecun_normal(in_axis=0)
        shape = (features[0], size, size, features[1])
        self.kernel = nnx.Param(init(rngs.params(), shape, dtype))
        self.bias = nnx.Param(jnp.zeros(features[1], dtype))

    def __call__(self, x: Float[Array, "N h w C"]) -> Float[Array, "N H W D"]:
        """Lays the patches side by side."""
        n, h, w, _ = x.shape
        _, size, _, channels = self.kernel.shape
        patches = jnp.einsum("nhwc,cpqd->nhpwqd", x, self.kernel[...]) + self.bias[...]
        return patches.reshape(n, h * size, w * size, channels)


class RefinedUpsampling(nnx.Module):
    """A 3x3 convolution and two transposed ones, rectified between."""

    def __init__(self, config: CLIPSegConfig, rngs: nnx.Rngs) -> None:
        """Builds the upsampling of a refined CLIPSeg."""
        width, dtype = config.width, config.dtype
        size = config.vision.patch_size[0] // 4
        self.conv = conv((width, width), 3, dtype, rngs)
        self.up1 = Upsampling((width, width // 2), size, dtype, rngs)
        self.up2 = Upsampling((width // 2, 1), size, dtype, rngs)

    def __call__(self, x: Float[Array, "N h w C"]) -> Float[Array, "N H W 1"]:
        """Upsamples to the resolution of the images, where patches have 16 pixels."""
        return self.up2(jax.nn.relu(self.up1(jax.nn.relu(self.conv(x)))))


class DecoderLayer(nnx.Module):
    """Transformer layer, normalized after each half."""

    def __init__(self, config: CLIPSegConfig, rngs: nnx.Rngs) -> None:
        """Builds one layer of the decoder."""
        width, dtype, epsilon = config.width, config.dtype, config.vision.epsilon
        self.self_attn = Attention(width, config.heads, dtype, rngs)
        self.layer_norm1 = LayerNorm(width, epsilon, dtype, rngs)
        # Always a rectifier: transformers ignores decoder_hidden_act.
        self.mlp = MLP(width, config.hidden, jax.nn.relu, dtype, rngs)
        self.layer_norm2 = LayerNorm(width, epsilon, dtype, rngs)

    def __call__(self, x: Float[Array, "N S C"]) -> Float[Array, "N S C"]:
        """Adds the output of attention and of the feed-forward part to the tokens."""
        x = self.layer_norm1(x + self.self_attn(x))
        return self.layer_norm2(x + self.mlp(x))


class Decoder(nnx.Module):
    """Computes mask logits from layers of the tower, deepest first, and a prompt."""

    def __init__(self, config: CLIPSegConfig, rngs: nnx.Rngs) -> None:
        """Builds one layer for each that is read."""
        self.config, dtype = config, config.dtype
        count = range(len(config.extract_layers))
        film = (config.projection, config.width)
        self.film_mul = linear(film, dtype, rngs)
        self.film_add = linear(film, dtype, rngs)
        reduce = (config.vision.width, config.width)
        self.reduces = nnx.List([linear(reduce, dtype, rngs) for _ in count])
        self.layers = nnx.List([DecoderLayer(config, rngs) for _ in count])
        self.transposed_convolution = (
            RefinedUpsampling(config, rngs)
            if config.refined
            else Upsampling((config.width, 1), config.vision.patch_size[0], dtype, rngs)
        )

    def __call__(
        self,
        states: list[Float[Array, "N S D"]],
        prompt: Float[Array, "N P"],
        grid: tuple[int, int],
    ) -> Float[Array, "N H W"]:
        """Computes the logits of the mask from the states, the deepest first."""
        x = None
        for index, state in enumerate(states):
            reduced = self.reduces[index](state)
            x = reduced if x is None else reduced + x
            if index == self.config.conditional_layer:
                # FiLM (Perez et al. 2018): the prompt scales and shifts the channels.
                x = self.film_mul(prompt)[:, None] * x + self.film_add(prompt)[:, None]
            x = self.layers[index](x)
        assert x is not None  # a config has at least one layer to read
        patches = x[:, 1:].reshape(x.shape[0], *grid, -1)
        return self.transposed_convolution(patches)[..., 0]


class CLIPSeg(nnx.Module):
    """CLIPSeg without its text tower: the prompt is an embedding, or the image.

    Args:
      config: the sizes, see `CLIPSegConfig`.
      rngs: the keys of the random weights.

    References:
      Lüddecke and Ecker, "Image segmentation using text and image prompts", 2022.
    """

    def __init__(self, config: CLIPSegConfig, *, rngs: nnx.Rngs) -> None:
        """Builds the network with random weights."""
        self.config = config
        vision = dataclasses.replace(config.vision, projection=config.projection)
        self.clip = CLIPVision(vision, rngs=rngs)
        self.decoder = Decoder(config, rngs)

    def __call__(
        self,
        images: Float[Array, "N H W C"],
        prompt: Float[Array, "N P"] | None = None,
    ) -> Float[Array, "N H W"]:
        """Computes the mask logits for a prompt.

        Args:
          images: normalized images, (N, H, W, in_channels), floating.
          prompt: (N, projection), CLIP's embedding of a text or an image. By default
            each image is its own prompt, so that the decoder's layers, too, are
            features of the image alone.

        Returns:
          (N, H, W), the rows and columns that patches fill, in `config.dtype`.

        Raises:
          ValueError: `images` has another rank or number of channels, or holds no
            patch; `prompt` has another shape.
        """
        tower = self.clip.vision_model
        states = tower.hidden_states(images)
        project = self.clip.visual_projection
        assert project is not None  # its config has one
        embedded = project(tower.post_layernorm(states[-1][:, 0]))
        if prompt is not None and prompt.shape != embedded.shape:
            raise ValueError(
                f"prompt must have shape {embedded.shape}, got {prompt.shape}"
            )
        read = [states[k] for k in reversed(self.config.extract_layers)]
        grid = self.config.token_grid(*images.shape[1:3])
        return self.decoder(read, embedded if prompt is None else prompt, grid)
