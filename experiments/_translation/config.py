"""What the translation experiment runs: a frozen config for each scale."""

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple, Protocol

import numpy as np
from jaxtyping import Float, Int

from experiments._common.networks import Network
from experiments._common.session import Session
from semrsm_jax import _checks
from semrsm_jax._kernels import RBF, Kernel
from semrsm_jax.matching import Exact, Matcher

if TYPE_CHECKING:
    from collections.abc import Callable


class Crops(NamedTuple):
    """Crops by batch, read when they are needed.

    Attributes:
      scenes: (B, n), the number of what each crop shows, all of a batch different.
      read: gives the crops (n, size, size, 3) of a batch, in [0, 1].
    """

    scenes: Int[np.ndarray, "B n"]
    read: "Callable[[int], Float[np.ndarray, 'n size size 3']]"


class Pictures(Protocol):
    """Where crops come from."""

    def __call__(
        self, config: "TranslationConfig", case: "Case", session: Session
    ) -> Crops:
        """Draws the crops of a case."""
        ...


@dataclass(frozen=True)
class Case:
    """Networks that see the same windows: one figure of the paper.

    Attributes:
      name: of its steps and figures.
      networks: trained first, then what it is held against.
      crop: side of a crop in pixels.
      window: side of its two windows, from its upper left and its lower left corner.
    """

    name: str
    networks: tuple[Network, ...]
    crop: int
    window: int

    def __post_init__(self) -> None:
        """Checks that windows differ and overlap."""
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
class TranslationConfig:
    """All that the numbers depend on.

    Attributes:
      pictures: where crops come from.
      resnet: section 4.1 and Fig. 2.
      vit: Appendix B and Fig. 7.
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
    resnet: Case
    vit: Case
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
        _checks.at_least("batches", self.batches, 1)
        _checks.at_least("crops", self.crops, 2)
        _checks.at_least("replicates", self.replicates, 1)

    @property
    def cases(self) -> tuple[Case, ...]:
        """Both figures."""
        return self.resnet, self.vit
