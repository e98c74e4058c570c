"""One tile: its two blocks of samples in, its statistics out."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from semrsm_jax._resources import is_out_of_memory
from semrsm_jax.engine._samples import RunInput
from semrsm_jax.pairs.executor import PairInputs, Rule, match_block
from semrsm_jax.store.run_store import RunStore
from semrsm_jax.store.tiles import Tile


class StopMatching(Exception):  # noqa: N818 (it is not an error)
    """Raised by a progress callback to end the matching of a tile early."""


@dataclass(frozen=True, eq=False)
class Task:
    """A tile to compute, with all that this takes in any process.

    Attributes:
      store: the folder of the run.
      tile: its place.
      pairs: how many are matched.
      x: the samples of its rows.
      y: the samples of its columns.
      rule: how they are matched.
      dtype: the dtype that they are matched in.
      in_flight: pairs matched at once.
      x64: whether JAX computes in 64 bits.
    """

    store: str
    tile: Tile
    pairs: int
    x: RunInput
    y: RunInput
    rule: Rule
    dtype: Any
    in_flight: int
    x64: bool


class TileComputer:
    """Computes tiles one after the other, on JAX's default device of the thread.

    The blocks of samples are loaded once a tile, onto the device or to the host, where
    the solver is there; one that the next tile needs too stays. After memory ran out,
    later tiles begin with fewer pairs.
    """

    def __init__(self) -> None:
        """No block is loaded yet."""
        self._blocks: dict[Any, tuple[Any, Any]] = {}
        self._most: int | None = None

    def write(self, task: Task, progress: Callable[[int], None]) -> bool:
        """Computes a tile and writes it, unless it is there or another process does.

        Args:
          task: the tile.
          progress: called with the number of pairs done, after each chunk.

        Returns:
          Whether the tile is there; otherwise another process computes it.

        Raises:
          InputChangedError: a sample differs from what it was when the run began.
          OSError: the tile cannot be written.
        """
        store = RunStore.open(task.store)
        with store.claim(task.tile) as mine:
            if mine:
                store.write(task.tile, self._compute(store, task, progress))
                return True
        return store.has(task.tile)

    def _compute(
        self, store: RunStore, task: Task, progress: Callable[[int], None]
    ) -> dict[str, np.ndarray]:
        (x, x_mask), (y, y_mask) = self.load(task)
        size = min(task.in_flight, self._most or task.in_flight)
        pairs = store.grid.pairs(task.tile)
        samples = PairInputs(x, y, x_mask, y_mask)
        # As `pair_statistics` does, which then gives the same bits.
        with jax.ensure_compile_time_eval():
            block = match_block(samples, task.rule, pairs, size, progress)
        if block.size < size:
            self._most = block.size
        matrices: dict[str, np.ndarray] = dict(
            zip(store.matrices, block.matrices, strict=True)
        )
        if not pairs.diagonal:
            for name in ("inner", "upper_bound"):
                np.fill_diagonal(matrices[name], task.x.sq_norm)
        return matrices

    def load(self, task: Task) -> list[tuple[Any, Any]]:
        """Loads both blocks to where they are matched, unless they are there."""
        sides = [(side.key(task.dtype), side) for side in (task.x, task.y)]
        self._blocks = {k: self._blocks[k] for k, _ in sides if k in self._blocks}
        for key, block in sides:
            if key not in self._blocks:
                self._blocks[key] = _loaded(block, task)
        return [self._blocks[key] for key, _ in sides]


def _loaded(block: RunInput, task: Task) -> tuple[Any, jax.Array | None]:
    tokens = block.read(task.dtype)
    mask = None if block.mask is None else jnp.asarray(block.mask)
    if task.rule.on_host(tokens):
        return tokens, mask
    try:
        return jax.block_until_ready(jnp.asarray(tokens)), mask
    except (MemoryError, RuntimeError) as error:
        if not is_out_of_memory(error):
            raise
        # Kept on the host, from which each pair is moved when it is matched.
        return tokens, mask
