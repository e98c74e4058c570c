"""Tokens of a stereo pair, where they stand, and where they truly went."""

from typing import NamedTuple

import jax
import numpy as np
from jaxtyping import Bool, Float

from experiments.frame.networks import token_grid
from semrsm_jax.demo.networks import normalize, random_network
from semrsm_jax.features import extract
from semrsm_jax.models import ResNetConfig
from semrsm_jax.plotting import token_centers


class StereoPair(NamedTuple):
    """Two photographs of one scene and the tokens of both.

    Attributes:
      left: (H, W, 3) in [0, 1].
      right: (H, W, 3) in [0, 1].
      tokens: (2, S, C) of the left and the right photograph.
      places: (S, 2), row and column of the middle of each token's cell, in pixels.
      truth: (S, 2), where what stands at a token of the left stands in the right; NaN
        where the disparity of more than half of its cell is unknown.
      grid: rows and columns of tokens.
      cell: pixels of a token's cell, both ways.
    """

    left: Float[np.ndarray, "H W 3"]
    right: Float[np.ndarray, "H W 3"]
    tokens: Float[np.ndarray, "2 S C"]
    places: Float[np.ndarray, "S 2"]
    truth: Float[np.ndarray, "S 2"]
    grid: tuple[int, int]
    cell: int

    @property
    def known(self) -> Bool[np.ndarray, " S"]:
        """Where the truth is known."""
        return np.isfinite(self.truth[:, 1])


def stereo_pair(
    network: ResNetConfig, seed: int, scale: int, stages: tuple[int, ...]
) -> StereoPair:
    """The motorcycle of Middlebury Stereo 2014, which comes with scikit-image.

    Tokens are those of an untrained network on both photographs made `scale` times
    smaller: the stages named, in ascending order, each brought to the last one's grid
    by means, centered, and every token of it to norm one; then side by side.

    Args:
      network: with the CIFAR stem.
      seed: of its weights.
      scale: pixels of the photographs to a pixel that the network sees.
      stages: 0 to 3.

    Raises:
      ImportError: scikit-image is not installed.
    """
    from skimage.data import stereo_motorcycle

    *photographs, disparity = stereo_motorcycle()
    cell = scale * 2 ** max(stages)
    # Whole cells only: what is left over at the edges is cut off.
    height, width = (n // cell * cell for n in disparity.shape)
    pair = np.stack([p[:height, :width] for p in photographs]).astype(np.float32) / 255
    small = (2, height // scale, width // scale, 3)
    pixels = normalize(jax.image.resize(pair, small, "linear"))
    model = random_network(network, seed, pixels)
    names = [f"resnet.encoder.stages.{stage}" for stage in stages]
    layers = extract(model, pixels, names)
    grid = token_grid(small[1:3], max(stages))
    tokens = [
        _unit(_pooled(np.asarray(layers[name]), grid, 2 ** (max(stages) - stage)))
        for name, stage in zip(names, stages, strict=True)
    ]
    places = token_centers(grid, (height, width))
    shift = _median(disparity[:height, :width], grid, cell)
    truth = places - np.stack([np.zeros_like(shift), shift], -1)
    truth[np.isnan(shift)] = np.nan
    left, right = pair
    both = np.concatenate(tokens, -1)
    return StereoPair(left, right, both, places, truth, grid, cell)


def _pooled(tokens: np.ndarray, grid: tuple[int, int], factor: int) -> np.ndarray:
    """Means over `factor` x `factor` tokens."""
    cells = tokens.reshape(2, grid[0], factor, grid[1], factor, -1)
    return cells.mean((2, 4)).reshape(2, grid[0] * grid[1], -1)


def _unit(tokens: np.ndarray) -> np.ndarray:
    tokens = tokens - tokens.mean((0, 1))
    norms = np.linalg.norm(tokens, axis=-1, keepdims=True)
    return tokens / np.maximum(norms, np.finfo(tokens.dtype).tiny)


def _median(disparity: np.ndarray, grid: tuple[int, int], cell: int) -> np.ndarray:
    """The median of each cell, NaN where most of it is unknown."""
    rows, columns = grid
    cells = disparity.reshape(rows, cell, columns, cell).swapaxes(1, 2)
    cells = cells.reshape(rows * columns, -1).astype(np.float64)
    known = np.isfinite(cells)
    enough = known.mean(1) > 0.5
    result = np.full(len(cells), np.nan)
    result[enough] = np.nanmedian(np.where(known, cells, np.nan)[enough], axis=1)
    return result
