"""The vision tower of CLIP (Radford et al. 2021, arXiv 2103.00020) in flax.nnx.

A vision transformer whose tokens are normalized before the first layer, and whose last
normalization reads only the CLS token. Layers, named as in Hugging Face's checkpoints:
`vision_model.pre_layrnorm`, `vision_model.encoder.layers.0` and on,
`vision_model.post_layernorm`; and `visual_projection`, whose output is the
`image_embeds` of CLIPVisionModelWithProjection.
"""

import dataclasses

from flax import nnx
from jaxtyping import Array, Float

from semrsm_jax.models._layers import LayerNorm, linear, quick_gelu
from semrsm_jax.models.vit import Embeddings, Layer, ViTConfig


def clip_vision_config(**settings: object) -> ViTConfig:
    """`ViTConfig` with CLIP's defaults: B/32, quick GELU, epsilon 1e-5.

    Args:
      **settings: fields of `ViTConfig` that differ from these defaults.

    Returns:
      The settings of a vision tower of CLIP.
    """
    base = ViTConfig(patch_size=(32, 32), activation=quick_gelu, epsilon=1e-5)
    return dataclasses.replace(base, **settings)


class CLIPEncoder(nnx.Module):
    """The layers in turn."""

    def __init__(self, config: ViTConfig, rngs: nnx.Rngs) -> None:
        """Builds `config.depth` layers."""
        self.layers = nnx.List([Layer(config, rngs) for _ in range(config.depth)])

    def __call__(self, x: Float[Array, "N S C"]) -> list[Float[Array, "N S C"]]:
        """Computes the output of every layer; no normalization follows."""
        states = []
        for layer in self.layers:
            x = layer(x)
            states.append(x)
        return states


class VisionTower(nnx.Module):
    """Embeddings, a normalization, the encoder, and the norm of the CLS token."""

    def __init__(self, config: ViTConfig, rngs: nnx.Rngs) -> None:
        """Builds the tower; its patch projection has no bias."""
        self.embeddings = Embeddings(config, rngs, patch_bias=False)
        # The name, misspelled, is that of the checkpoints.
        self.pre_layrnorm = LayerNorm(config.width, config.epsilon, config.dtype, rngs)
        self.encoder = CLIPEncoder(config, rngs)
        self.post_layernorm = LayerNorm(
            config.width, config.epsilon, config.dtype, rngs
        )

    def hidden_states(
        self, images: Float[Array, "N H W C"]
    ) -> list[Float[Array, "N S D"]]:
        """Computes the output of every layer, the CLS token first."""
        return self.encoder(self.pre_layrnorm(self.embeddings(images)))

    def __call__(self, images: Float[Array, "N H W C"]) -> Float[Array, "N D"]:
        """Computes the normalized CLS token of the last layer."""
        return self.post_layernorm(self.hidden_states(images)[-1][:, 0])


class CLIPVision(nnx.Module):
    """CLIP's vision tower.

    Args:
      config: the sizes, see `ViTConfig`.
      rngs: the keys of the random weights.

    References:
      Radford et al., "Learning transferable visual models from natural language
      supervision", 2021.
    """

    def __init__(self, config: ViTConfig, *, rngs: nnx.Rngs) -> None:
        """Builds the network with random weights."""
        self.config = config
        self.vision_model = VisionTower(config, rngs)
        shape = (config.width, config.projection or 0)
        self.visual_projection = (
            None
            if config.projection is None
            else linear(shape, config.dtype, rngs, use_bias=False)
        )

    def __call__(self, images: Float[Array, "N H W C"]) -> Float[Array, "N D"]:
        """Computes the normalized CLS token, or the image embedding made of it.

        Args:
          images: normalized images, (N, H, W, in_channels), floating.

        Returns:
          (N, width), or (N, projection) where the config has one, in `config.dtype`.

        Raises:
          ValueError: `images` has another rank or number of channels, or holds no
            patch.
        """
        token = self.vision_model(images)
        project = self.visual_projection
        return token if project is None else project(token)
