"""What convolutional networks share: stages of blocks, and a pooled classifier."""

from collections.abc import Iterable
from typing import Any

import jax
from flax import nnx
from jaxtyping import Array, Float

from semrsm_jax.models._layers import in_turn


def check_stages(**fields: tuple[int, ...]) -> None:
    """Raises an error for fields of a config that differ in their number of stages."""
    lengths = {len(values) for values in fields.values()}
    if len(lengths) != 1 or 0 in lengths:
        raise ValueError(
            f"{' and '.join(fields)} must name the same stages, got "
            f"{' and '.join(str(values) for values in fields.values())}"
        )


class Stage(nnx.Module):
    """Consecutive blocks at one resolution."""

    def __init__(self, blocks: Iterable[nnx.Module]) -> None:
        """Takes the blocks, in the order of computation."""
        self.layers = nnx.List(blocks)

    def __call__(self, x: Float[Array, "N H W C"]) -> Float[Array, "N h w D"]:
        """Applies the blocks in turn."""
        return in_turn(self.layers, x)


class Encoder(nnx.Module):
    """The stages in turn."""

    def __init__(self, stages: Iterable[nnx.Module]) -> None:
        """Takes the stages, in the order of computation."""
        self.stages = nnx.List(stages)

    def __call__(self, x: Float[Array, "N H W C"]) -> Float[Array, "N h w D"]:
        """Computes the output of the last stage."""
        return in_turn(self.stages, x)


class PooledNetwork(nnx.Module):
    """A network whose linear classifier reads the features pooled over positions.

    Attributes:
      config: the settings of the network.
      classifier: maps pooled features to logits; None where there are no classes.
    """

    config: Any
    classifier: nnx.Linear | None

    def pooled(self, images: Float[Array, "N H W C"]) -> Float[Array, "N channels"]:
        """Computes the features, pooled over the positions of the last stage."""
        raise NotImplementedError

    def __call__(self, images: Float[Array, "N H W C"]) -> jax.Array:
        """Computes the logits, or the pooled features where there is no classifier.

        Args:
          images: normalized images, (N, H, W, in_channels), floating.

        Returns:
          (N, num_classes), or the pooled (N, channels), in `config.dtype`.

        Raises:
          ValueError: `images` has another rank or number of channels, or is smaller
            than a patch.
        """
        pooled = self.pooled(images)
        return pooled if self.classifier is None else self.classifier(pooled)
