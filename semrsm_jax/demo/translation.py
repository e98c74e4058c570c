"""Translation sensitivity, section 4.1 and Fig. 2, on photographs at hand.

Each crop gives two windows, one from its upper left and one from its lower left corner,
which share most of their pixels, shifted down. A spatio-semantic RSM compares them
position by position and misses what they share; a semantic RSM finds it.

That needs tokens which come back elsewhere. A shift of 20 pixels is a whole number of
tokens at strides 1, 2 and 4 (the first three stages), but two and a half at stride 8:
filters that were never trained are not smooth, and answer to a picture half a stride
off as to another picture. So a trained network stands beside the untrained one.
"""

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import NamedTuple

import jax.numpy as jnp
import numpy as np
from flax import nnx
from jaxtyping import Array, Float

from semrsm_jax import _checks
from semrsm_jax._kernels import RBF, Kernel
from semrsm_jax._representations import center
from semrsm_jax._rsm import rsm
from semrsm_jax.demo import separation
from semrsm_jax.demo.networks import (
    DEMO_NETWORK,
    Weights,
    random_network,
    trained_network,
)
from semrsm_jax.demo.photographs import SCENES, Crops, draw_crops
from semrsm_jax.demo.separation import Estimate, Scores
from semrsm_jax.features import extract
from semrsm_jax.matching import BatchOptimal, Exact, Identity, Matcher
from semrsm_jax.models.resnet import ResNetConfig

# ImageNet's, per channel in RGB, as every public ResNet takes its images.
_MEAN = np.array([0.485, 0.456, 0.406], np.float32)
_STD = np.array([0.229, 0.224, 0.225], np.float32)
_LUMINANCE = np.array([0.299, 0.587, 0.114], np.float32)

Progress = Callable[[str, int, int], object]


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
        return self.layer.removeprefix("resnet.encoder.")


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
      network: the architecture. Randomly initialised, its batch-norm statistics are
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
        Stage("resnet.encoder.stages.0", BatchOptimal(512)),
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
        _checks.at_least("replicates", self.replicates, 1)
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


def run(
    config: TranslationConfig = TranslationConfig(), progress: Progress | None = None
) -> TranslationResult:
    """Compares both RSMs at every stage; the config fixes every number.

    Args:
      config: the settings.
      progress: called as ``progress(description, done, total)``, one description after
        the other, `done` rising to `total` within each.

    Returns:
      The `TranslationResult`.

    Raises:
      ImportError: scikit-image is not installed.
      ValueError: a layer does not exist, or no crop has the contrast asked for.
    """
    tell = progress or (lambda description, done, total: None)
    crops = draw_crops(
        config.crops // config.crops_per_batch,
        config.crops_per_batch,
        config.crop_size,
        np.random.default_rng((config.seed, 0)),
        lambda crop: _contrast(crop, config) >= config.least_contrast,
        lambda done, total: tell("Cropping photographs", done, total),
    )
    names, scenes = np.unique(crops.scenes, return_inverse=True)
    scenes = scenes.reshape(-1, config.crops_per_batch)
    rng = np.random.default_rng((config.seed, 1))
    # Both networks on the same replicates.
    replicates = separation.scene_weights(len(names), config.replicates, rng)
    found = []
    for weights in config.weights:
        rsms, shapes = _all_rsms(
            _network(weights, crops, config),
            crops,
            config,
            lambda done, total, name=weights: tell(
                f"Comparing windows, {name} network", done, total
            ),
        )
        for stage, shape, (spatio, semantic) in zip(
            config.stages, shapes, rsms, strict=True
        ):
            scored = separation.score(
                spatio, semantic, scenes, replicates, config.confidence
            )
            result = StageResult(stage.name, *shape, stage.matcher, *scored, weights)
            found.append(result)
    return TranslationResult(config, crops, tuple(found))


class Views(NamedTuple):
    """Windows of many crops, to be looked at in one RSM.

    Attributes:
      images: (n, size, size, 3) in [0, 1]: the upper windows, then the lower ones.
      names: n, of crop, scene and window.
      scenes: n, of the photograph behind each.
      features: by stage, the centred tokens (n, S, C).
    """

    images: Float[np.ndarray, "n size size 3"]
    names: tuple[str, ...]
    scenes: tuple[str, ...]
    features: dict[str, Array]


def views(result: TranslationResult, crops: int, most_tokens: int) -> Views:
    """The windows of the first crops, and their features again.

    Args:
      result: of `run`; the network is the first of its config's.
      crops: how many, or all where there are fewer.
      most_tokens: stages of more tokens S are left out.

    Returns:
      The windows, with centred tokens of each stage.
    """
    config, count = result.config, min(crops, result.config.crops)
    images = windows(result.crops.images[:count], config.window_size)
    scenes = result.crops.scenes[:count]
    layers = [
        stage.layer
        # Those of the first network come first.
        for stage, found in zip(config.stages, result.stages, strict=False)
        if found.tokens <= most_tokens
    ]
    features = extract(
        _network(config.weights[0], result.crops, config),
        _normalise(images),
        layers,
        batch_size=2 * config.crops_per_batch,
    )
    return Views(
        images,
        tuple(
            f"{n} {scene}, {which}"
            for which in ("upper", "lower")
            for n, scene in enumerate(scenes)
        ),
        scenes * 2,
        {
            stage.name: center(features[stage.layer])
            for stage in config.stages
            if stage.layer in layers
        },
    )


def windows(
    crops: Float[np.ndarray, "n H W 3"], size: int
) -> Float[np.ndarray, "2n size size 3"]:
    """The upper-left windows of all crops, then the lower-left ones, section 4.1."""
    return np.concatenate([crops[:, :size, :size], crops[:, -size:, :size]])


def _normalise(images: Float[np.ndarray, "N H W 3"]) -> Float[Array, "N H W 3"]:
    return jnp.asarray((images - _MEAN) / _STD)


def _contrast(crop: Float[np.ndarray, "H W 3"], config: TranslationConfig) -> float:
    shared = crop[config.shift : config.window_size, : config.window_size]
    return float((shared @ _LUMINANCE).std())


def _network(weights: Weights, crops: Crops, config: TranslationConfig) -> nnx.Module:
    if weights == "trained":
        return trained_network()
    return random_network(config.network, config.seed, _normalise(crops.images))


def _all_rsms(
    model: nnx.Module,
    crops: Crops,
    config: TranslationConfig,
    tell: Callable[[int, int], object],
) -> tuple[list[Float[np.ndarray, "2 B 2n 2n"]], list[tuple[int, int]]]:
    """Both kinds of RSM of every stage and batch, and the shape (S, C) of each stage.

    Batch by batch, so that the features of one batch alone are in memory.
    """
    layers = [stage.layer for stage in config.stages]
    size = config.crops_per_batch
    shapes: list[tuple[int, int]] = []
    starts = range(0, config.crops, size)
    rsms = [np.zeros((2, len(starts), 2 * size, 2 * size)) for _ in layers]
    done, total = 0, 2 * len(layers) * len(starts)
    for batch, start in enumerate(starts):
        images = windows(crops.images[start : start + size], config.window_size)
        features = extract(model, _normalise(images), layers, batch_size=len(images))
        shapes = [(x.shape[1], x.shape[2]) for x in map(features.__getitem__, layers)]
        for stage, result in zip(config.stages, rsms, strict=True):
            x = center(features[stage.layer])
            for kind, matcher in enumerate((Identity(), stage.matcher)):
                result[kind, batch] = rsm(x, matcher=matcher, kernel=config.kernel)
                done += 1
                tell(done, total)
    return rsms, shapes
