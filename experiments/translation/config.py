"""What the translation experiment runs: a frozen config for each scale."""

from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path

from experiments.frame.checks import check_counts
from experiments.frame.networks import Network, Published, Shipped
from experiments.frame.pretrained import WHEELS, Pretrained
from experiments.frame.session import Session
from experiments.translation.pictures import (
    Crops,
    ImageFiles,
    Photographs,
    WholePhotographs,
)
from semrsm_jax import RBF, Exact, Kernel, Matcher

# Draws the crops of a case.
Pictures = Callable[["WindowsConfig", "Case", Session], Crops]


@dataclass(frozen=True)
class Case:
    """Networks that see the same windows: one figure of the paper.

    Attributes:
      name: of its steps and figures.
      networks: the trained one first, then the one that it is compared with.
      crop: side of a crop in pixels.
      window: side of its two windows, from its upper left and its lower left corner.
    """

    name: str
    networks: tuple[Network, ...]
    crop: int
    window: int

    def __post_init__(self) -> None:
        """Raises ValueError where windows are the same, or share no pixel."""
        if not self.window < self.crop < 2 * self.window:
            raise ValueError(
                "window must be below crop and above half of it, so that windows "
                f"overlap, got {self.window} for {self.crop}"
            )

    @property
    def shift(self) -> int:
        """Pixels by which the lower window stands below the upper one."""
        return self.crop - self.window


@dataclass(frozen=True)
class WindowsConfig:
    """All that the numbers depend on.

    Attributes:
      pictures: where crops come from.
      cases: the networks, each case with windows of its own.
      batches: how many RSMs of each kind.
      crops: in one RSM, each giving two windows; 10 in the paper.
      seed: of crops and bootstrap.
      kernel: of all RSMs; bandwidths are taken RSM by RSM.
      matcher: of the semantic RSMs; exact in the paper, for this experiment alone.
      replicates: of the bootstrap, which resamples scenes.
      confidence: of its intervals.
      data: folder of the images, for `pictures` that are the user's.
    """

    pictures: Pictures
    cases: tuple[Case, ...]
    batches: int = 12
    crops: int = 10
    seed: int = 0
    kernel: Kernel = RBF()
    matcher: Matcher = Exact()
    replicates: int = 2000
    confidence: float = 0.95
    data: Path | None = None

    def __post_init__(self) -> None:
        """Checks the counts."""
        check_counts(self, "batches")
        check_counts(self, "crops", "replicates", minimum=2)


_STAGES = tuple(f"resnet.encoder.stages.{k}" for k in range(4))
_VIT_2 = ("vit.encoder.layer.0", "vit.encoder.layer.1", "vit.layernorm")
_VIT_4 = (*(f"vit.encoder.layer.{k}" for k in range(4)), "vit.layernorm")
# Of twelve layers those that a figure has room for.
_BLOCKS = tuple(f"vit.encoder.layer.{k}" for k in (0, 3, 6, 9, 11))
_HALF = (0.5, 0.5, 0.5)  # what Google's checkpoints of ViT expect


def _twins(name: str, network: Shipped | Published, crop: int, window: int) -> Case:
    """A trained network and the same one with random weights."""
    return Case(name, (network, replace(network, seed=0)), crop, window)


def _resnet(network: str) -> Case:
    return _twins("resnet", Shipped(network, _STAGES[:3]), 84, 64)


def _vit(network: str, layers: tuple[str, ...]) -> Case:
    # 28 pixels are 3.5 patches of 8; 100 of 224 are 6.25 of 16.
    return _twins("vit", Shipped(network, layers), 92, 64)


def _efficientnet(network: str) -> Case:
    stages = WHEELS[network].stages
    # Of random weights the coarser maps are enough.
    both = Pretrained(network, stages), Pretrained(network, stages[1:], seed=0)
    return Case("efficientnet", both, 324, 224)


SCALES = {
    "bundled": WindowsConfig(
        pictures=Photographs(),
        cases=(_resnet("resnet-18"), _vit("vit-4", _VIT_4)),
    ),
    "smoke": WindowsConfig(
        pictures=Photographs(),
        cases=(_resnet("resnet-10"), _vit("vit-2", _VIT_2)),
        batches=2,
        crops=3,
        replicates=50,
    ),
    "pretrained": WindowsConfig(
        pictures=WholePhotographs(),
        cases=(_efficientnet("efficientnet-lite0"),),
        batches=5,
    ),
    "paper": WindowsConfig(
        pictures=ImageFiles(),
        cases=(
            _twins("resnet", Published("resnet18", _STAGES), 84, 64),
            _twins("vit", Published("vit-b16", _BLOCKS, _HALF, _HALF), 324, 224),
        ),
        batches=100,
    ),
}
