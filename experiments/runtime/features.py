"""Features of photographs, from trained networks and from random weights."""

from collections.abc import Sequence

import jax
import numpy as np
from jaxtyping import Float

from experiments.data.images import draw_files, read_squares
from experiments.data.photographs import PhotographCrops
from experiments.frame.networks import Network, Tokens, Untrained, photograph_crops
from experiments.frame.worker import Report
from experiments.runtime.config import Layer, RuntimeConfig
from semrsm_jax import affinity
from semrsm_jax.demo.photographs import PHOTOGRAPHS, load_photograph

Features = dict[Layer, Float[np.ndarray, "N S C"]]
# The affinities of many pairs, compiled; nothing is checked.
products = jax.jit(affinity)

# Photographs whose short side allows the largest images, in color, unlike each other.
_LARGE = ("astronaut.png", "coffee.png", "chelsea.png")
_LARGE_FROM = 160  # pixels; smaller images are crops at many scales


def compute(config: RuntimeConfig, layers: Sequence[Layer], report: Report) -> Features:
    """The features of every layer.

    The images of a side are crops of photographs at many scales, each of another scene,
    downsampled to that side; large ones are the central square of a photograph, or, for
    the paper's networks with random weights, crops of all photographs. Trained networks
    see the images of `config.data`, which only small images do without. The batch norms
    of networks that were never trained are calibrated on the images of
    `config.quality`.

    Returns:
      (N, S, C) float32 each; N is ``batches * crops``, or 3 for large images.

    Raises:
      ValueError: the folder of images is missing or not given, or holds too few.
    """
    wanted = list(dict.fromkeys((layer.network, layer.side) for layer in layers))
    opened: dict[Network, Tokens] = {}
    features: Features = {}
    for done, (network, side) in enumerate(wanted):
        report("Computing features", done, len(wanted))
        pixels = _pixels(config, network, side)
        if network not in opened:
            opened[network] = network.open(images(config, config.quality.side))
        here = [x for x in layers if (x.network, x.side) == (network, side)]
        # Large images one at a time: the activations between would take gigabytes.
        batch = 1 if side >= _LARGE_FROM else 6
        parts = [
            opened[network](pixels[start : start + batch])
            for start in range(0, len(pixels), batch)
        ]
        for layer in here:
            name = network.layers[layer.stage]
            features[layer] = np.concatenate([part[name] for part in parts])
    report("Computing features", len(wanted), len(wanted))
    return features


def _pixels(
    config: RuntimeConfig, network: Network, side: int
) -> Float[np.ndarray, "N side side 3"]:
    whole = side >= _LARGE_FROM and not isinstance(network, Untrained)
    if config.photographs if network.trained else whole:
        count = config.batches * config.crops
        return PhotographCrops(side).draw(config.data, count, config.seed).pixels
    if not network.trained or (config.data is None and side < _LARGE_FROM):
        return images(config, side)
    rng = np.random.default_rng(config.seed)
    files = draw_files(config.data, config.batches * config.crops, rng)
    return read_squares(config.data, files, side)


def images(config: RuntimeConfig, side: int) -> Float[np.ndarray, "N side side 3"]:
    """The images of one side, in [0, 1]: three large ones, or many small crops.

    Crops depend on the seed, the side and their number; large images on the side.
    """
    if side >= _LARGE_FROM:
        return np.stack([_central_square(name, side) for name in _LARGE])
    return photograph_crops(config.batches, config.crops, side, (config.seed, side))


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
      ValueError: there are fewer pairs of different samples.
    """
    left, right = np.triu_indices(len(features), 1)
    if count > len(left):
        raise ValueError(
            f"count must be at most {len(left)}, the pairs of {len(features)} samples, "
            f"got {count}"
        )
    chosen = np.random.default_rng(seed).permutation(len(left))[:count]
    return features[left[chosen]], features[right[chosen]]
