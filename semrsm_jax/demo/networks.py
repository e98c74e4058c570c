"""The network of the demo, trained and untrained.

The trained one learnt to say which photograph a crop of 32x32 pixels comes from, on two
thirds of each of the photographs whose crops the demo shows; no pair of shifted windows
was ever asked of it. ``python -m experiments.train --network demo`` in the repository
trains it again.
"""

import importlib.resources
from typing import Literal

import jax.numpy as jnp
from flax import nnx
from jax.typing import ArrayLike
from jaxtyping import Array, Float

from semrsm_jax.demo.photographs import SCENES
from semrsm_jax.models.batch_norm import calibrate_batch_norm
from semrsm_jax.models.resnet import ResNet, ResNetConfig
from semrsm_jax.models.weights import load_weights

# ImageNet's, per channel in RGB, as every public ResNet takes its images.
_MEAN = (0.485, 0.456, 0.406)
_STD = (0.229, 0.224, 0.225)

Weights = Literal["trained", "random"]

DEMO_NETWORK = ResNetConfig(18, "cifar", len(SCENES), width=16)
"""ResNet18 at a quarter of its width; it names the photograph that a crop is from."""
CHECKPOINT = "resnet18.safetensors"


def trained_network() -> ResNet:
    """The network with the weights that come with the package, in evaluation mode."""
    model = ResNet(DEMO_NETWORK, rngs=nnx.Rngs(0))
    place = importlib.resources.files("semrsm_jax.demo").joinpath(CHECKPOINT)
    with importlib.resources.as_file(place) as path:
        load_weights(model, path)
    model.eval()
    return model


def normalize(images: ArrayLike) -> Float[Array, "N H W 3"]:
    """Images (N, H, W, 3) in [0, 1], normalized as a network for photographs expects.

    The mean and the standard deviation are those of ImageNet, per channel.
    """
    images = jnp.asarray(images)
    mean, std = (jnp.asarray(values, images.dtype) for values in (_MEAN, _STD))
    return (images - mean) / std


def random_network(
    config: ResNetConfig, seed: int, images: Float[Array, "N H W 3"]
) -> ResNet:
    """A network with random weights; its batch norms are calibrated on the images."""
    model = ResNet(config, rngs=nnx.Rngs(seed))
    calibrate_batch_norm(model, images)
    model.eval()
    return model
