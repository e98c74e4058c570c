"""Photographs as an untrained network sees them."""

from collections.abc import Sequence

import jax.numpy as jnp
from flax import nnx
from jax.typing import ArrayLike
from jaxtyping import Array, Float

from semrsm_jax.models import ResNet, ResNetConfig, calibrate_batch_norm

# ImageNet's, per channel in RGB, as every public ResNet takes its images.
_MEAN = (0.485, 0.456, 0.406)
_STD = (0.229, 0.224, 0.225)
LEAST_CONTRAST = 0.03  # standard deviation of a crop; blank sky shows nothing


def normalise(images: ArrayLike) -> Float[Array, "N H W 3"]:
    """Images in [0, 1] as a network for photographs takes them."""
    images = jnp.asarray(images)
    mean, std = (jnp.asarray(values, images.dtype) for values in (_MEAN, _STD))
    return (images - mean) / std


def untrained_network(
    config: ResNetConfig, seed: int, images: Float[Array, "N H W 3"]
) -> ResNet:
    """A network with random weights whose batch norms are calibrated on `images`."""
    model = ResNet(config, rngs=nnx.Rngs(seed))
    calibrate_batch_norm(model, images)
    model.eval()
    return model


def token_grid(image_size: Sequence[int], stage: int) -> tuple[int, int]:
    """Rows and columns of the tokens of a stage of a network with the CIFAR stem."""
    rows, columns = (-(-length // 2**stage) for length in image_size)
    return rows, columns
