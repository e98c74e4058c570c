"""Translation sensitivity, section 4.1 and Fig. 2, on photographs at hand.

Each crop gives two windows, one from its upper left and one from its lower left corner,
which share most of their pixels, shifted down. A spatio-semantic RSM compares them
position by position and misses what they share; a semantic RSM finds it.

That needs tokens which come back elsewhere. A shift of 20 pixels is a whole number of
tokens at strides 1, 2 and 4 (the first three stages), but two and a half at stride 8:
filters that were never trained are not smooth, and answer to a picture half a stride
off as to another picture. So a trained network stands beside the untrained one.
"""

from dataclasses import dataclass, field
from typing import NamedTuple

from semrsm_jax import _checks
from semrsm_jax._kernels import RBF, Kernel
from semrsm_jax.demo.networks import (
    DEMO_NETWORK,
    Weights,
)
from semrsm_jax.demo.photographs import SCENES, Crops
from semrsm_jax.demo.separation import Estimate, Scores
from semrsm_jax.matching import Exact, Matcher
from semrsm_jax.models.resnet import ResNetConfig


@dataclass(frozen=True)
class Stage:
    """A layer to look at, and the matcher of its semantic RSM.

    Attributes:
      layer: its name in the network.
      matcher: how the tokens are paired there.
    """

    layer: str
    matcher: Matcher

    @property
    def name(self) -> str:
        """What tables and figures call it: `"stages.0"`."""
        return self.layer.rpartition("encoder.")[2].removeprefix("vit.")


@dataclass(frozen=True)
class TranslationConfig:
    """All that the numbers depend on.

    Attributes:
      crops: photograph crops in all, each giving two windows.
      crops_per_batch: crops in one RSM, each from another scene, so that pairs that do
        not overlap show different photographs; 10 in the paper.
      seed: of the crops, the network's weights and the bootstrap.
      crop_size: side of a crop in pixels; 84 in the paper.
      window_size: side of a window in pixels; 64 in the paper.
      least_contrast: a crop is drawn again where the luminance, in [0, 1], of the
        pixels that its windows share has a standard deviation below this: two windows
        of blank sky have nothing in common to be found.
      network: the architecture. Randomly initialized, its batch-norm statistics are
        those of the crops; weights trained for it come with the package for
        `DEMO_NETWORK` alone, and there are no others.
      stages: the layers, with the matcher of each.
      kernel: of both RSMs; bandwidths are taken RSM by RSM.
      replicates: of the bootstrap, which resamples scenes.
      confidence: of its intervals.

    Raises:
      TypeError: a count is no integer.
      ValueError: a field is out of its range.
    """

    crops: int = 120
    crops_per_batch: int = 10
    seed: int = 0
    crop_size: int = 84
    window_size: int = 64
    least_contrast: float = 0.03
    network: ResNetConfig = field(default=DEMO_NETWORK)
    # S = 4096, 1024, 256 and 64 at 64x64 pixels.
    stages: tuple[Stage, ...] = (
        Stage("resnet.encoder.stages.0", Exact()),
        Stage("resnet.encoder.stages.1", Exact()),
        Stage("resnet.encoder.stages.2", Exact()),
        Stage("resnet.encoder.stages.3", Exact()),
    )
    kernel: Kernel = RBF()
    replicates: int = 2000
    confidence: float = 0.95

    def __post_init__(self) -> None:
        """Checks the fields."""
        batch = _checks.at_least("crops_per_batch", self.crops_per_batch, 2)
        if batch > len(SCENES):
            raise ValueError(
                f"crops_per_batch must be at most {len(SCENES)}, the number of scenes, "
                f"got {batch}"
            )
        if _checks.at_least("crops", self.crops, batch) % batch:
            raise ValueError(
                f"crops must be a multiple of crops_per_batch={batch}, got {self.crops}"
            )
        _checks.at_least("seed", self.seed, 0)
        _checks.at_least("replicates", self.replicates, 2)
        if not self.window_size < self.crop_size < 2 * self.window_size:
            raise ValueError(
                "window_size must be below crop_size and above half of it, so that "
                f"windows overlap, got {self.window_size} for {self.crop_size}"
            )
        if not 0 <= self.least_contrast < 0.5:
            raise ValueError(
                "least_contrast must be at least 0 and below 0.5, the largest standard "
                f"deviation of values in [0, 1], got {self.least_contrast!r}"
            )
        if not self.stages:
            raise ValueError("stages must name at least one layer, got none")
        if not 0 < self.confidence < 1:
            raise ValueError(
                f"confidence must be between 0 and 1, got {self.confidence!r}"
            )

    @property
    def weights(self) -> tuple[Weights, ...]:
        """Those that are compared, in the order of the results."""
        trained: tuple[Weights, ...] = ("trained",)
        return (trained if self.network == DEMO_NETWORK else ()) + ("random",)

    @property
    def shift(self) -> int:
        """Pixels by which the lower window stands below the upper one."""
        return self.crop_size - self.window_size


class StageResult(NamedTuple):
    """Both RSMs at one stage; `gain` is the semantic AUROC minus the other.

    Attributes:
      layer: its name in the network.
      tokens: S, of a window.
      channels: C.
      matcher: how the tokens of the semantic RSM are paired.
      spatio_semantic: how well position by position tells overlapping windows.
      semantic: how well matched tokens do.
      gain: the difference of both AUROCs.
      weights: those of the network: "trained" or "random".
    """

    layer: str
    tokens: int
    channels: int
    matcher: Matcher
    spatio_semantic: Scores
    semantic: Scores
    gain: Estimate
    weights: Weights = "random"


class TranslationResult(NamedTuple):
    """The settings, the crops that they gave, and what each stage says.

    Attributes:
      config: the settings.
      crops: the windows, and which overlap.
      stages: one result a stage, in the order of the settings; those of one network
        follow each other, as in `TranslationConfig.weights`.
    """

    config: TranslationConfig
    crops: Crops
    stages: tuple[StageResult, ...]
