"""What a run matches and how: checked inputs and options, and the tiles they give."""

import math
from collections.abc import Callable
from typing import Any, NamedTuple

import jax.numpy as jnp
import numpy as np

from semrsm_jax import _checks
from semrsm_jax._resources import Device
from semrsm_jax.engine._inputs import CENTERS, Features, check_features
from semrsm_jax.engine.progress import Progress
from semrsm_jax.matching.base import Bound, Matcher, Shape, check_bound, check_matcher
from semrsm_jax.pairs.chunk_size import pairs_in_flight
from semrsm_jax.pairs.executor import Rule
from semrsm_jax.store.tiles import TileGrid

Report = Callable[[Progress], None]

# Affinity entries in a tile: a few seconds of one core, whatever S is. With few pairs
# tiles are smaller, but large enough that reading and writing take no time beside it.
_ENTRIES, _FEWEST_ENTRIES = 2**28, 2**26
_LEAST, _MOST = 16, 256

# The number of tiles to aim at, so that a stopped run loses little, and no worker waits
# long for the last one. Neither it nor the memory below depends on the machine: tiles
# are a part of what a run is, and the last bits of a result may depend on them.
_TILES = 512

# The bytes that two blocks of samples may take, unless a budget is given.
_BLOCK_BYTES = 2**30


class RunSpec(NamedTuple):
    """What a run matches and how; see `run`.

    Attributes:
      features: of x, and of y unless x is compared with itself; checked.
      rule: the matcher and the further bound.
      center: which mean is subtracted, None: none.
      tile: rows and columns of a tile, None: to be chosen.
      memory_budget: bytes, None: a share of the free memory.
    """

    features: tuple[Features, ...]
    rule: Rule
    center: str | None
    tile: int | None
    memory_budget: int | None

    @classmethod
    def checked(
        cls,
        x: Any,
        y: Any,
        matcher: Matcher,
        bound: Bound | None,
        center: str | None,
        tile: int | None,
        memory_budget: int | None,
    ) -> "RunSpec":
        """The checked arguments of `run`; exceptions are those of `run`."""
        rule = Rule(check_matcher(matcher), check_bound(bound))
        if center is not None:
            _checks.one_of("center", center, tuple(CENTERS))
        if tile is not None:
            tile = _checks.at_least("tile", tile, 1)
        if memory_budget is not None:
            memory_budget = _checks.at_least("memory_budget", memory_budget, 1)
        features = (check_features("x", x, center is not None),)
        if y is not None:
            features += (check_features("y", y, center is not None),)
        spec = cls(features, rule, center, tile, memory_budget)
        _checks.same_channels("x and y", features[0].rows, features[-1].rows)
        matcher.validate(spec.x_shape, spec.y_shape)
        return spec

    @property
    def names(self) -> tuple[str, ...]:
        """The names of the inputs: x, and y unless x is compared with itself."""
        return ("x", "y")[: len(self.features)]

    @property
    def x_shape(self) -> Shape:
        """(N, S, C)."""
        return tuple(self.features[0].rows.shape)

    @property
    def y_shape(self) -> Shape:
        """(M, T, C)."""
        return tuple(self.features[-1].rows.shape)

    @property
    def dtype(self) -> np.dtype:
        """The dtype that samples are matched in."""
        dtypes = (_checks.floating_dtype(side.rows.dtype) for side in self.features)
        return np.dtype(jnp.result_type(*dtypes))

    def grid(self, side: int) -> TileGrid:
        """The tiles of `side` rows and columns, or of fewer where there are fewer."""
        mirrored, matcher = len(self.features) == 1, self.rule.matcher
        rows, columns = self.x_shape[0], self.y_shape[0]
        return TileGrid(
            rows,
            columns,
            min(side, max(rows, columns)),
            triangle=mirrored and matcher.symmetric,
            diagonal=not (mirrored and matcher.self_is_identity),
        )

    def tile_side(self) -> int:
        """Rows and columns of a tile, a power of two; the same on every machine."""
        (rows, tokens, channels), (columns, others, _) = self.x_shape, self.y_shape
        side = math.sqrt(_ENTRIES / (tokens * others))
        side = min(max(side, _LEAST), _MOST)
        pairs = rows * columns / (2 if self.grid(1).triangle else 1)
        fewest = math.sqrt(_FEWEST_ENTRIES / (tokens * others))
        few = math.sqrt(pairs / _TILES)
        side = min(side, max(few, fewest))
        budget = self.memory_budget
        memory = _BLOCK_BYTES if budget is None else budget / 2
        sample = (tokens + others) * channels * self.dtype.itemsize
        return 2 ** int(math.log2(max(1.0, min(side, memory / sample))))

    def pairs_in_flight(self, grid: TileGrid, device: Device) -> int:
        """Pairs matched at once, the same in all tiles."""
        budget = self.memory_budget
        most = pairs_in_flight(
            self.x_shape,
            self.y_shape,
            self.dtype,
            self.rule,
            # The other half is for the two blocks.
            None if budget is None else max(1, budget // 2),
            device,
            long=True,
        )
        return grid.chunk_size(most)
