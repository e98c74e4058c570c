"""How a run matches, and how large its tiles are."""

import math
from typing import NamedTuple

import numpy as np

from semrsm_jax import _checks
from semrsm_jax._resources import Device, free_memory
from semrsm_jax.engine._samples import CENTERS
from semrsm_jax.matching.base import Bound, Matcher, Shape, check_bound, check_matcher
from semrsm_jax.matching.exact import Exact
from semrsm_jax.pairs.executor import Rule, pairs_in_flight
from semrsm_jax.store.tiles import TileGrid

# Entries of the affinities in a tile: a few seconds of a core, whatever S is; where
# there are few pairs, still enough that reading and writing take no time beside it.
_ENTRIES, _FEWEST_ENTRIES = 2**28, 2**26
_LEAST, _MOST = 16, 256

# Tiles that there should be, so that little is lost when a run is stopped; and for each
# of those that compute them, so that none waits long for the last one.
_TILES, _TILES_EACH = 64, 8

# What two blocks of samples may take of the memory that is free.
_MEMORY_SHARE = 1 / 8


class Settings(NamedTuple):
    """How the pairs of a run are matched, and what with; see `run`."""

    matcher: Matcher = Exact()
    bound: Bound | None = None
    center: str | None = None
    tile: int | None = None
    memory_budget: int | None = None

    @property
    def rule(self) -> Rule:
        """How each pair is matched."""
        return Rule(self.matcher, self.bound)

    def checked(self) -> "Settings":
        """The same settings, or an exception as `run` raises it."""
        check_matcher(self.matcher)
        check_bound(self.bound)
        if self.center is not None:
            _checks.one_of("center", self.center, tuple(CENTERS))
        sizes = {"tile": self.tile, "memory_budget": self.memory_budget}
        return self._replace(
            **{k: _checks.at_least(k, v, 1) for k, v in sizes.items() if v is not None}
        )


class Problem(NamedTuple):
    """What is to be matched: the shapes (N, S, C) and (M, T, C), and how.

    Attributes:
      x_shape: of x.
      y_shape: of y, or of x again.
      mirrored: x is compared with itself.
      dtype: that samples are matched in.
      settings: how.
    """

    x_shape: Shape
    y_shape: Shape
    mirrored: bool
    dtype: np.dtype
    settings: Settings

    def grid(self, side: int) -> TileGrid:
        """The tiles of a given size."""
        matcher = self.settings.matcher
        return TileGrid(
            self.x_shape[0],
            self.y_shape[0],
            side,
            triangle=self.mirrored and matcher.symmetric,
            diagonal=not (self.mirrored and matcher.self_is_identity),
        )

    def tile_side(self, device: Device, workers: int) -> int:
        """Rows and columns of a tile, a power of two.

        Args:
          device: where it is computed.
          workers: how many tiles are computed at a time.
        """
        (_, tokens, channels), others = self.x_shape, self.y_shape[1]
        side = math.sqrt(_ENTRIES / (tokens * others))
        side = min(max(side, _LEAST), _MOST)
        halved = 2 if self.mirrored and self.settings.matcher.symmetric else 1
        pairs = self.x_shape[0] * self.y_shape[0] / halved
        fewest = math.sqrt(_FEWEST_ENTRIES / (tokens * others))
        few = math.sqrt(pairs / max(_TILES, _TILES_EACH * workers))
        side = min(side, max(few, fewest), max(self.x_shape[0], self.y_shape[0]))
        budget = self.settings.memory_budget
        memory = free_memory(device) * _MEMORY_SHARE if budget is None else budget / 2
        sample = (tokens + others) * channels * self.dtype.itemsize
        return 2 ** int(math.log2(max(1.0, min(side, memory / sample))))

    def pairs_in_flight(self, grid: TileGrid, device: Device) -> int:
        """Pairs matched at once, the same in all tiles."""
        budget = self.settings.memory_budget
        most = pairs_in_flight(
            self.x_shape,
            self.y_shape,
            self.dtype,
            self.settings.rule,
            # The other half is that of the two blocks.
            None if budget is None else max(1, budget // 2),
            device,
        )
        return grid.chunk_size(most)
