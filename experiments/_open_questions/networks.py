"""Networks as configs name them: those trained here, untrained ones, checkpoints."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

from experiments._trained import zoo
from experiments._trained.networks import NETWORKS
from semrsm_jax.features import extract, load_preprocessing
from semrsm_jax.models import load, locate

Tokens = Mapping[str, Float[np.ndarray, "N S C"]]


class Network(Protocol):
    """A network and how images reach it; configs compare it by value."""

    @property
    def name(self) -> str:
        """What tables call it."""
        ...

    @property
    def layers(self) -> tuple[str, ...]:
        """Of which representations are taken, by depth; the last hidden one last."""
        ...

    def open(self) -> Any:
        """The network, in evaluation mode."""
        ...

    def tokens(
        self,
        model: Any,
        images: Float[np.ndarray, "N H W 3"],
        layers: Sequence[str],
    ) -> Tokens:
        """The tokens of images in [0, 1], by layer."""
        ...

    @property
    def names_photographs(self) -> bool:
        """Whether it was trained to name the photograph behind a scene."""
        ...

    def logits(
        self, model: Any, images: Float[Array, "N H W 3"]
    ) -> Float[Array, "N P"]:
        """What it answers to images in [0, 1]; traceable."""
        ...


@dataclass(frozen=True)
class Trained:
    """One of the networks trained on scenes, or (`seed` given) its untrained twin."""

    key: str
    seed: int | None = None

    @property
    def name(self) -> str:
        """Its key, marked where it is untrained."""
        return self.key if self.seed is None else f"{self.key}, untrained"

    @property
    def layers(self) -> tuple[str, ...]:
        """Its stages or blocks."""
        return tuple(NETWORKS[self.key].layers)

    def open(self) -> Any:
        """The shipped weights, or random ones."""
        if self.seed is None:
            return zoo.load(self.key)
        return zoo.random(self.key, self.seed)

    def tokens(
        self,
        model: Any,
        images: Float[np.ndarray, "N H W 3"],
        layers: Sequence[str],
    ) -> Tokens:
        """The tokens, prepared as in training."""
        return zoo.tokens(model, images, layers)

    @property
    def names_photographs(self) -> bool:
        """True but for random weights."""
        return self.seed is None

    def logits(
        self, model: Any, images: Float[Array, "N H W 3"]
    ) -> Float[Array, "N P"]:
        """Of the photographs' names."""
        return zoo.outputs(model, images).name_logits


@dataclass(frozen=True)
class Checkpoint:
    """A network of the hub, or of a folder that holds a checkpoint.

    Attributes:
      source: what `semrsm_jax.models.load` takes.
      layers: of it, by depth.
    """

    source: str
    layers: tuple[str, ...]

    @property
    def name(self) -> str:
        """Its source, without the owner."""
        return self.source.rsplit("/", 1)[-1]

    def open(self) -> Any:
        """The network with its weights, downloaded where they are not at hand."""
        return load(self.source)

    def tokens(
        self,
        model: Any,
        images: Float[np.ndarray, "N H W 3"],
        layers: Sequence[str],
    ) -> Tokens:
        """The tokens; images keep their size, colours are the checkpoint's own."""
        found = extract(model, self._prepared(images), layers)
        return {name: np.asarray(values) for name, values in found.items()}

    @property
    def names_photographs(self) -> bool:
        """False: its classes are those of the checkpoint."""
        return False

    def logits(
        self, model: Any, images: Float[Array, "N H W 3"]
    ) -> Float[Array, "N P"]:
        """Of the checkpoint's own classes."""
        return model(self._prepared(images))

    def _prepared(self, images: Float[Array, "N H W 3"]) -> Float[Array, "N H W 3"]:
        """Images in [0, 1] with mean and spread as the checkpoint wants them."""
        preprocessing = load_preprocessing(locate(self.source))
        mean, std = preprocessing.mean or (0.0,), preprocessing.std or (1.0,)
        return (jnp.asarray(images) - jnp.asarray(mean)) / jnp.asarray(std)
