"""Features of photographs, from a network that was never trained."""

from collections.abc import Sequence

import jax
import numpy as np
from jaxtyping import Float

from experiments._common.photographs import (
    LEAST_CONTRAST,
    normalise,
    untrained_network,
)
from experiments._common.worker import Report
from experiments._runtime.config import Layer, RuntimeConfig
from semrsm_jax.demo.photographs import PHOTOGRAPHS, draw_crops, load_photograph
from semrsm_jax.features import extract

Features = dict[Layer, Float[np.ndarray, "N S C"]]

# Photographs whose short side bears the largest images, in colour, unlike each other.
_LARGE = ("astronaut.png", "coffee.png", "chelsea.png")
_LARGE_FROM = 160  # pixels; smaller images are crops at many scales


def compute(config: RuntimeConfig, layers: Sequence[Layer], report: Report) -> Features:
    """The features of every layer, from one network.

    The images of a side are crops of photographs at many scales, each of another scene
    and brought to that size by making it smaller; large ones are the central square of
    a photograph. Batch-norm statistics are those of the images of `config.quality`.

    Returns:
      (N, S, C) float32 each; N is ``batches * crops``, or 3 for large images.
    """
    if not layers:
        return {}
    layers = sorted(set(layers), key=lambda layer: (layer.side, layer.stage))
    calibration = normalise(images(config, config.quality.side))
    model = untrained_network(config.network, config.seed, calibration)
    features: Features = {}
    for done, side in enumerate(sides := sorted({layer.side for layer in layers})):
        report("Computing features", done, len(sides))
        here = [layer for layer in layers if layer.side == side]
        names = [f"resnet.encoder.stages.{layer.stage}" for layer in here]
        # Large images one at a time: the activations between would take gigabytes.
        batch = 1 if side >= _LARGE_FROM else 6
        pixels = normalise(images(config, side))
        tokens = extract(model, pixels, names, batch_size=batch)
        features.update(
            {
                layer: np.asarray(tokens[name])
                for layer, name in zip(here, names, strict=True)
            }
        )
    report("Computing features", len(sides), len(sides))
    return features


def images(config: RuntimeConfig, side: int) -> Float[np.ndarray, "N side side 3"]:
    """The images of one side, in [0, 1]; they depend on the seed and the side alone."""
    if side >= _LARGE_FROM:
        return np.stack([_central_square(name, side) for name in _LARGE])
    rng = np.random.default_rng((config.seed, side))
    return draw_crops(
        config.batches,
        config.crops,
        side,
        rng,
        lambda crop: crop.std() >= LEAST_CONTRAST,
    ).images


def _central_square(file: str, side: int) -> Float[np.ndarray, "side side 3"]:
    (photograph,) = [p for p in PHOTOGRAPHS if p.file == file]
    pixels = load_photograph(photograph)
    short = min(pixels.shape[:2])
    top, left = ((length - short) // 2 for length in pixels.shape[:2])
    square = pixels[top : top + short, left : left + short].astype(np.float32) / 255
    return np.asarray(jax.image.resize(square, (side, side, 3), "linear"))


def pairs(
    features: Float[np.ndarray, "N S C"], count: int, seed: int
) -> tuple[Float[np.ndarray, "P S C"], Float[np.ndarray, "P S C"]]:
    """Both sides of `count` different pairs, in random order.

    Raises:
      ValueError: there are not so many pairs of different samples.
    """
    left, right = np.triu_indices(len(features), 1)
    if count > len(left):
        raise ValueError(f"count must be at most {len(left)} pairs, got {count}")
    chosen = np.random.default_rng(seed).permutation(len(left))[:count]
    return features[left[chosen]], features[right[chosen]]
