"""What a run will take, told beforehand from a short measured sample."""

import math
import time
from collections.abc import Sequence
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from semrsm_jax import _checks
from semrsm_jax._representations import accumulation_dtype
from semrsm_jax._resources import process_memory
from semrsm_jax.engine._inputs import Opened, opened
from semrsm_jax.engine._run import posed
from semrsm_jax.engine.settings import Problem, Settings
from semrsm_jax.matching.base import Bound, Matcher
from semrsm_jax.matching.exact import Exact
from semrsm_jax.pairs.executor import PairInputs, match_block, pair_bytes
from semrsm_jax.pairs.selection import Pairs
from semrsm_jax.store.run_store import MATRICES

# What the sample may take once everything is compiled, in seconds.
_SECONDS = 2.0

# Bytes of the record of a tile.
_RECORD = 32

# Samples of each side that the sample's pairs are made of, at most.
_SAMPLES = 32


class Plan(NamedTuple):
    """What a run will take.

    Attributes:
      samples: N and M.
      tokens: S and T.
      channels: C.
      pairs: to be matched.
      tile: rows and columns of a tile.
      tiles: to be computed.
      pairs_in_flight: at once.
      pairs_measured: how many pairs the time is taken from.
      rate: pairs a second, of what computes here.
      seconds: for all pairs at that rate; without compilation, a few seconds.
      memory: bytes at the peak, those of this process and its libraries included.
      disk: bytes of the store.
    """

    samples: tuple[int, int]
    tokens: tuple[int, int]
    channels: int
    pairs: int
    tile: int
    tiles: int
    pairs_in_flight: int
    pairs_measured: int
    rate: float
    seconds: float
    memory: int
    disk: int


def plan(
    x: Any,
    y: Any = None,
    *,
    matcher: Matcher = Exact(),
    bound: Bound | None = None,
    center: str | None = None,
    tile: int | None = None,
    memory_budget: int | None = None,
    workers: int = 1,
) -> Plan:
    """Tells what `run` will take with the same arguments, and computes nothing else.

    Some pairs of samples spread over the inputs are matched for a second or two, once
    everything is compiled.

    Args:
      x: as for `run`.
      y: likewise.
      matcher: likewise.
      bound: likewise.
      center: likewise; it does not change what a run takes.
      tile: likewise.
      memory_budget: likewise.
      workers: tiles that will be computed at a time, each as fast as here.

    Returns:
      The `Plan`.

    Raises:
      TypeError: as `run`.
      ValueError: as `run`.
    """
    settings = Settings(matcher, bound, center, tile, memory_budget).checked()
    sides = {"x": x} if y is None else {"x": x, "y": y}
    inputs = {name: opened(name, given) for name, given in sides.items()}
    problem = posed(inputs, settings)
    device = jax.local_devices()[0]
    grid = problem.grid(settings.tile or problem.tile_side(device, workers))
    in_flight = problem.pairs_in_flight(grid, device)
    measured, rate = _rate(list(inputs.values()), problem, in_flight)
    itemsize = accumulation_dtype(problem.dtype).itemsize
    # On the disk, tiles at the far ends are as large as the others.
    tiles = math.prod(grid.shape)
    numbers = len(MATRICES) * tiles * grid.side**2 + grid.rows + grid.columns
    sample = problem.x_shape[2] * problem.dtype.itemsize
    blocks = grid.side * (problem.x_shape[1] + problem.y_shape[1]) * sample
    pair = pair_bytes(problem.x_shape, problem.y_shape, problem.dtype, settings.rule)
    return Plan(
        samples=(grid.rows, grid.columns),
        tokens=(problem.x_shape[1], problem.y_shape[1]),
        channels=problem.x_shape[2],
        pairs=grid.pair_count,
        tile=grid.side,
        tiles=sum(1 for _ in grid),
        pairs_in_flight=in_flight,
        pairs_measured=measured,
        rate=rate,
        seconds=grid.pair_count / rate / workers,
        # A block is held as it was read, as it is matched, and while it changes hands.
        memory=process_memory() + 3 * blocks + in_flight * pair,
        disk=numbers * itemsize + tiles * _RECORD,
    )


def _rate(
    inputs: Sequence[Opened], problem: Problem, in_flight: int
) -> tuple[int, float]:
    """How many pairs were matched to measure, and how many a second."""
    parts = [_spread(given, problem.dtype, in_flight) for given in inputs]
    (x, x_mask), (y, y_mask) = parts[0], parts[-1]
    samples = PairInputs(x, y, x_mask, y_mask)
    pairs = Pairs(x.shape[0], y.shape[0], triangle=False, diagonal=True)
    size = min(in_flight, pairs.count)
    marks = [time.perf_counter()]

    def enough(done: int) -> None:
        marks.append(time.perf_counter())
        # The first chunk compiles.
        if len(marks) > 2 and marks[-1] - marks[1] > _SECONDS:
            raise _EnoughError

    try:
        match_block(samples, problem.settings.rule, pairs, size, enough)
    except _EnoughError:
        pass
    if len(marks) == 2:
        match_block(samples, problem.settings.rule, pairs, size, enough)
    measured = (len(marks) - 2) * size
    return measured, measured / (marks[-1] - marks[1])


class _EnoughError(Exception):
    """Enough was measured."""


def _spread(given: Opened, dtype: np.dtype, in_flight: int) -> tuple[Any, Any]:
    """Some samples, from all over the input, with their masks."""
    rows = given.features.rows
    count = min(rows.shape[0], _SAMPLES, max(2, in_flight))
    chosen = np.linspace(0, rows.shape[0] - 1, count).astype(int)
    tokens = np.concatenate([np.asarray(rows[i : i + 1]) for i in chosen])
    _checks.finite("features", tokens)
    mask = None if given.mask is None else jnp.asarray(given.mask[chosen])
    return jnp.asarray(tokens, dtype), mask
