"""Networks by value: shipped here, published with the paper, or never trained."""

from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import jax.numpy as jnp
import numpy as np
from flax import nnx
from jaxtyping import Array, Float

from semrsm_jax.demo.networks import normalize, random_network
from semrsm_jax.demo.photographs import draw_crops
from semrsm_jax.features import extract
from semrsm_jax.models import ResNetConfig, calibrate_batch_norm, load, variant

Images = Float[np.ndarray, "N H W 3"]
# Images in [0, 1] -> the tokens (N, S, C) of each layer, patches alone.
Tokens = Callable[[Images], Mapping[str, Float[Array, "N S C"]]]


LEAST_CONTRAST = 0.03  # standard deviation of a crop; blank sky shows nothing


def token_grid(image_size: Sequence[int], stage: int) -> tuple[int, int]:
    """Rows and columns of the tokens of a stage of a network with the CIFAR stem."""
    rows, columns = (-(-length // 2**stage) for length in image_size)
    return rows, columns


def photograph_crops(
    batches: int,
    crops: int,
    side: int,
    seed: int | tuple[int, ...],
    progress: Callable[[int, int], object] | None = None,
) -> Images:
    """Crops of the photographs that come with scikit-image; blank ones are left out.

    Args:
      batches: in each of which all crops are of different scenes.
      crops: of a batch.
      side: of a crop, in pixels.
      seed: of the draw.
      progress: called as ``progress(done, total)``.
    """
    rng = np.random.default_rng(seed)
    return draw_crops(
        batches, crops, side, rng, lambda c: c.std() >= LEAST_CONTRAST, progress
    ).images


class Network(ABC):
    """A network, not yet loaded; compares by value.

    Attributes:
      layers: the layers that are looked at, by depth.
      seed: of its random weights; None: they were learned.
      learned: what titles call learned weights.
    """

    layers: tuple[str, ...]
    seed: int | None
    learned = "trained"

    @abstractmethod
    def architecture(self) -> tuple[str, str]:
        """Its name, and what figures call it."""

    @abstractmethod
    def open(self, images: Images) -> Tokens:
        """Loads it; `images` calibrate batch norms that were never trained."""

    @property
    def name(self) -> str:
        """Of its steps: letters, digits and dashes."""
        return self.architecture()[0] + ("" if self.trained else "-random")

    @property
    def title(self) -> str:
        """What figures call it."""
        weights = self.learned if self.trained else "random weights"
        return f"{self.architecture()[1]}, {weights}"

    @property
    def trained(self) -> bool:
        """Whether its weights were learned."""
        return self.seed is None


@dataclass(frozen=True)
class Shipped(Network):
    """A network of `experiments.trained`.

    Attributes:
      network: its name there.
      layers: the layers that are looked at, by depth.
      seed: of random weights in place of the trained ones; None: the trained ones.
    """

    network: str
    layers: tuple[str, ...]
    seed: int | None = None

    def architecture(self) -> tuple[str, str]:
        """As in `Network`."""
        return self.network, self.network

    def open(self, images: Images) -> Tokens:
        """As in `Network`."""
        from experiments.trained import zoo

        if self.seed is None:
            model = zoo.load(self.network)
        else:
            model = zoo.random(self.network, self.seed)
        return lambda pictures: zoo.tokens(model, pictures, self.layers)


@dataclass(frozen=True)
class Published(Network):
    """One of the paper's networks, with its checkpoint or with random weights.

    Attributes:
      variant: its name in `semrsm_jax.models`.
      layers: the layers that are looked at, by depth.
      mean: of each channel, as its checkpoint expects it, in [0, 1].
      std: standard deviation of each channel, as its checkpoint expects it.
      seed: of random weights in place of the checkpoint's; None: the checkpoint's.
    """

    variant: str
    layers: tuple[str, ...]
    mean: tuple[float, float, float] = (0.485, 0.456, 0.406)
    std: tuple[float, float, float] = (0.229, 0.224, 0.225)
    seed: int | None = None

    def architecture(self) -> tuple[str, str]:
        """As in `Network`."""
        return self.variant, variant(self.variant).title

    def open(self, images: Images) -> Tokens:
        """As in `Network`."""
        if self.seed is None:
            model = load(variant(self.variant).checkpoint)
        else:
            model = self._untrained(images)
        return lambda pictures: extract(
            model, self._normalized(pictures), self.layers, tokens="patches"
        )

    def _untrained(self, images: Images) -> nnx.Module:
        known = variant(self.variant)
        model = known.build(known.config, rngs=nnx.Rngs(self.seed))
        if any(isinstance(m, nnx.BatchNorm) for _, m in nnx.iter_modules(model)):
            calibrate_batch_norm(model, self._normalized(images))
        model.eval()
        return model

    def _normalized(self, images: Images) -> Float[Array, "N H W 3"]:
        mean, std = (np.asarray(values, np.float32) for values in (self.mean, self.std))
        return jnp.asarray((images - mean) / std)


@dataclass(frozen=True)
class Untrained(Network):
    """A ResNet with the CIFAR stem that was never trained.

    Attributes:
      depth: as in `ResNetConfig`.
      width: channels of the first stage.
      seed: of its weights.
      layers: the stages, which are all looked at.
    """

    depth: int = 18
    width: int = 64
    seed: int = 0
    layers = tuple(f"resnet.encoder.stages.{stage}" for stage in range(4))

    def architecture(self) -> tuple[str, str]:
        """As in `Network`."""
        return f"resnet{self.depth}", f"ResNet{self.depth}"

    def open(self, images: Images) -> Tokens:
        """As in `Network`."""
        config = ResNetConfig(self.depth, "cifar", None, width=self.width)
        model = random_network(config, self.seed, normalize(images))
        return lambda pictures: extract(model, normalize(pictures), self.layers)
