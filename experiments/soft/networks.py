"""The two small networks of the distillation: a teacher and its student."""

import jax
import jax.numpy as jnp
from flax import nnx
from jaxtyping import Array, Float

from semrsm_jax import to_tokens


class ConvolutionalTokens(nnx.Module):
    """Three convolutions, the later two of stride 2, then means: tokens of 8 pixels.

    The means overlap, 3x3 with stride 2, or a shift of less than a token would change
    the tokens almost at random.
    """

    def __init__(self, channels: int, *, rngs: nnx.Rngs) -> None:
        """Builds a network whose tokens have that many channels."""
        widths = (1, channels // 4, channels // 2, channels)
        self.convolutions = nnx.List(
            [
                nnx.Conv(a, b, (3, 3), strides=1 if k == 0 else 2, rngs=rngs)
                for k, (a, b) in enumerate(zip(widths, widths[1:], strict=False))
            ]
        )

    def __call__(self, images: Float[Array, "N H W 1"]) -> Float[Array, "N S C"]:
        """The tokens, row by row."""
        x = images
        for convolution in self.convolutions:
            x = nnx.relu(convolution(x))
        return to_tokens(nnx.avg_pool(x, (3, 3), strides=(2, 2), padding="SAME"))


class Teacher(nnx.Module):
    """Says which digit an image shows, from the mean token: what, not where."""

    def __init__(self, channels: int, classes: int, *, rngs: nnx.Rngs) -> None:
        """Builds a network of `channels` channels at its last layer."""
        self.tokens = ConvolutionalTokens(channels, rngs=rngs)
        self.head = nnx.Linear(channels, classes, rngs=rngs)

    def __call__(self, images: Float[Array, "N H W 1"]) -> Float[Array, "N classes"]:
        """The logits."""
        return self.head(self.tokens(images).mean(1))


class MixerBlock(nnx.Module):
    """Mixes the tokens of each channel, then the channels of each token."""

    def __init__(self, tokens: int, channels: int, *, rngs: nnx.Rngs) -> None:
        """Builds a block for that many tokens and channels."""
        self.norms = nnx.List([nnx.LayerNorm(channels, rngs=rngs) for _ in range(2)])
        self.mix_tokens, self.mix_channels = (
            nnx.Sequential(
                nnx.Linear(n, 2 * n, rngs=rngs),
                jax.nn.gelu,
                nnx.Linear(2 * n, n, rngs=rngs),
            )
            for n in (tokens, channels)
        )

    def __call__(self, x: Float[Array, "N S C"]) -> Float[Array, "N S C"]:
        """Adds both to x."""
        mixed = self.mix_tokens(jnp.swapaxes(self.norms[0](x), 1, 2))
        x = x + jnp.swapaxes(mixed, 1, 2)
        return x + self.mix_channels(self.norms[1](x))


class Student(nnx.Module):
    """Convolutions, then mixer blocks (Tolstikhin et al. 2021), which know the place.

    The convolutions alone would bring their own robustness to shifts; a mixer has
    weights of its own for every two places, so how much of it is left, is taught.
    """

    def __init__(
        self, channels: int, grid: tuple[int, int], blocks: int, *, rngs: nnx.Rngs
    ) -> None:
        """Builds a student for images of `grid` tokens of 8 pixels."""
        self.stem = ConvolutionalTokens(channels, rngs=rngs)
        tokens = grid[0] * grid[1]
        self.blocks = nnx.List(
            [MixerBlock(tokens, channels, rngs=rngs) for _ in range(blocks)]
        )

    def tokens(self, images: Float[Array, "N H W 1"]) -> Float[Array, "N S C"]:
        """The representations of the last layer."""
        x = self.stem(images)
        for block in self.blocks:
            x = block(x)
        return x
