"""Both kinds of RSM of shifted windows, batch by batch: the demo and section 4.1."""

from collections.abc import Callable, Mapping, Sequence
from functools import partial
from typing import NamedTuple

import numpy as np
from flax import nnx
from jax.typing import ArrayLike
from jaxtyping import Array, Float, Int

from semrsm_jax._representations import center
from semrsm_jax._rsm import rsm
from semrsm_jax.demo import separation
from semrsm_jax.demo.networks import (
    Weights,
    normalize,
    random_network,
    trained_network,
)
from semrsm_jax.demo.photographs import Crops, draw_crops
from semrsm_jax.demo.translation import (
    StageResult,
    TranslationConfig,
    TranslationResult,
)
from semrsm_jax.features import extract
from semrsm_jax.matching import Identity, Matcher

_LUMINANCE = np.array([0.299, 0.587, 0.114], np.float32)

Images = Float[np.ndarray, "n H W 3"]
# Images in [0, 1] -> the tokens (n, S, C) of each layer.
Tokens = Callable[[Images], Mapping[str, Float[Array, "n S C"]]]
Arrays = Mapping[str, np.ndarray]
Progress = Callable[[str, int, int], object]


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
    report = progress or (lambda description, done, total: None)
    crops = draw_crops(
        config.crops // config.crops_per_batch,
        config.crops_per_batch,
        config.crop_size,
        np.random.default_rng((config.seed, 0)),
        lambda crop: _contrast(crop, config) >= config.least_contrast,
        lambda done, total: report("Cropping photographs", done, total),
    )
    _, scenes = np.unique(crops.scenes, return_inverse=True)
    shape = -1, config.crops_per_batch
    batches = crops.images.reshape(*shape, *crops.images.shape[1:])
    stages: list[StageResult] = []
    for weights in config.weights:
        tokens = _tokens(config, _network(weights, crops, config))
        stages += compare(
            config,
            scenes.reshape(shape),
            lambda batch, tokens=tokens: tokens(
                windows(batches[batch], config.window_size)
            ),
            weights,
            progress=lambda done, total, weights=weights: report(
                f"Comparing windows, {weights} network", done, total
            ),
        )
    return TranslationResult(config, crops, tuple(stages))


def compare(
    config: TranslationConfig,
    scenes: Int[np.ndarray, "B n"],
    tokens: Callable[[int], Mapping[str, Float[Array, "2n S C"]]],
    weights: Weights,
    compute_rsm: Callable[[str, Array, Matcher], ArrayLike] | None = None,
    keep: Callable[[int, Callable[[], Arrays]], Arrays] | None = None,
    progress: Callable[[int, int], object] | None = None,
) -> tuple[StageResult, ...]:
    """Both kinds of RSM of every stage of a network, batch by batch, and their scores.

    Args:
      config: the settings; its crops, network and weights are not used.
      scenes: (B, n), the number of the scene of each crop, all of a batch different.
      tokens: number of a batch -> the tokens of its `windows` at the layer of each
        stage. Only the features of one batch are in memory.
      weights: those of the network.
      compute_rsm: makes the RSM, (N, N) with N = 2n, from a name, centered tokens
        (N, S, C) and a matcher; None: `semrsm_jax.rsm`.
      keep: number of a batch and what computes its arrays -> the arrays, computed or
        read from where they were kept; None: computes them.
      progress: called as ``progress(done, total)``, in RSMs.

    Returns:
      One result a stage.
    """
    total = 2 * len(config.stages) * len(scenes)

    def by_default(_: str, x: Array, matcher: Matcher) -> Array:
        return rsm(x, matcher=matcher, kernel=config.kernel)

    def compute(batch: int) -> Arrays:
        features = tokens(batch)
        rsms, shapes = [], []
        for stage in config.stages:
            x = center(features[stage.layer])
            shapes.append(x.shape[1:])
            for kind, matcher in (("spatio", Identity()), ("semantic", stage.matcher)):
                name = f"batch-{batch}/{stage.layer}-{kind}"
                rsms.append(np.asarray((compute_rsm or by_default)(name, x, matcher)))
                if progress is not None:
                    progress(batch * total // len(scenes) + len(rsms), total)
        rsms = np.reshape(rsms, (len(config.stages), 2, *rsms[0].shape))
        return {"rsms": rsms, "shapes": np.array(shapes)}

    batches = []
    for batch in range(len(scenes)):
        again = partial(compute, batch)
        batches.append(again() if keep is None else keep(batch, again))
    rsms = np.stack([batch["rsms"] for batch in batches], axis=2)
    results = []
    for stage, shape, pair in zip(
        config.stages, batches[0]["shapes"].tolist(), rsms, strict=True
    ):
        # All networks and stages on the same replicates.
        scores = separation.score(
            pair[0],
            pair[1],
            scenes,
            config.replicates,
            config.confidence,
            config.seed,
        )
        size = shape[0], shape[1]
        results.append(StageResult(stage.name, *size, stage.matcher, *scores, weights))
    return tuple(results)


class Views(NamedTuple):
    """Windows of many crops, to be looked at in one RSM.

    Attributes:
      images: (n, size, size, 3) in [0, 1]: the upper windows, then the lower ones.
      names: n, of crop, scene and window.
      scenes: n, of the photograph behind each.
      features: by stage, the centered tokens (n, S, C).
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
      The windows, with centered tokens of each stage.
    """
    config, count = result.config, min(crops, result.config.crops)
    images = windows(result.crops.images[:count], config.window_size)
    scenes = result.crops.scenes[:count]
    layers = [
        stage.layer
        # Those of the first network come first.
        for stage, measured in zip(config.stages, result.stages, strict=False)
        if measured.tokens <= most_tokens
    ]
    network = _network(config.weights[0], result.crops, config)
    features = _tokens(config, network, layers)(images)
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
    """The upper-left windows of all crops, then the lower-left ones, section 4.1.

    Args:
      crops: (n, H, W, 3).
      size: rows and columns of a window, in pixels.

    Returns:
      (2n, size, size, 3).
    """
    return np.concatenate([crops[:, :size, :size], crops[:, -size:, :size]])


def _contrast(crop: Float[np.ndarray, "H W 3"], config: TranslationConfig) -> float:
    shared = crop[config.shift : config.window_size, : config.window_size]
    return float((shared @ _LUMINANCE).std())


def _network(weights: Weights, crops: Crops, config: TranslationConfig) -> nnx.Module:
    if weights == "trained":
        return trained_network()
    return random_network(config.network, config.seed, normalize(crops.images))


def _tokens(
    config: TranslationConfig, network: nnx.Module, layers: Sequence[str] | None = None
) -> Tokens:
    """What gives the tokens of images at layers, by default those of all stages."""
    names = [stage.layer for stage in config.stages] if layers is None else layers
    size = 2 * config.crops_per_batch
    return lambda images: extract(network, normalize(images), names, batch_size=size)
