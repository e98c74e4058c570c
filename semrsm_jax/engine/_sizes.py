"""How large tiles are: large enough to be worth it, small enough to be lost."""

import math

import jax
import numpy as np

from semrsm_jax._resources import free_memory
from semrsm_jax.matching.base import Shape

# Entries of the affinities in a tile: some seconds of a core, whatever S is, so that
# the few milliseconds of reading and writing do not count.
_ENTRIES = 2**28
_LEAST, _MOST = 16, 256

# What two blocks of samples may take of the memory that is free, or of the budget.
_MEMORY_SHARE = 1 / 8

# Tiles for each of those that compute them, so that none waits long for the last one.
_TILES_EACH = 4


def tile_side(
    x_shape: Shape,
    y_shape: Shape,
    dtype: np.dtype,
    triangle: bool,
    budget: int | None,
    device: jax.Device,
    workers: int,
) -> int:
    """Rows and columns of a tile, a power of two.

    Args:
      x_shape: (N, S, C).
      y_shape: (M, T, C).
      dtype: that samples are matched in.
      triangle: only one triangle is computed.
      budget: bytes that the two blocks of a tile and its pairs may take; None: a share
        of what is free.
      device: where.
      workers: how many tiles are computed at a time.
    """
    side = _power_of_two(math.sqrt(_ENTRIES / (x_shape[1] * y_shape[1])))
    side = min(max(side, _LEAST), _MOST)
    pairs = x_shape[0] * y_shape[0] / (2 if triangle else 1)
    while side > _LEAST and side**2 * workers * _TILES_EACH > pairs and workers > 1:
        side //= 2
    memory = free_memory(device) * _MEMORY_SHARE if budget is None else budget / 2
    sample = (x_shape[1] + y_shape[1]) * x_shape[2] * dtype.itemsize
    return max(1, min(side, _power_of_two(max(1.0, memory / sample))))


def _power_of_two(value: float) -> int:
    return 2 ** int(math.log2(value))
