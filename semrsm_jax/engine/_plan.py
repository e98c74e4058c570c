"""What a run will take, estimated from a short measured sample."""

import math
import time
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from semrsm_jax import _checks
from semrsm_jax._representations import accumulation_dtype
from semrsm_jax._resources import process_memory
from semrsm_jax.engine._inputs import Features, host_mask
from semrsm_jax.engine._spec import RunSpec
from semrsm_jax.engine._tile import StopMatching
from semrsm_jax.matching.base import Bound, Matcher
from semrsm_jax.matching.exact import Exact
from semrsm_jax.pairs.chunk_size import bytes_in_flight
from semrsm_jax.pairs.executor import PairInputs, match_block
from semrsm_jax.pairs.selection import Pairs
from semrsm_jax.store.manifest import MATRICES

# Seconds that the sample may take once everything is compiled.
_SECONDS = 2.0

# Bytes of the record of a tile.
_RECORD = 32

# Samples of each side from which the measured pairs are made, at most.
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
      pairs_in_flight: pairs matched at once.
      pairs_measured: how many pairs were matched to measure the rate.
      rate: pairs a second, on the device that measured it.
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
    """Estimates what `run` will take with the same arguments; nothing is written.

    Some pairs of samples spread over the inputs are matched for a second or two, once
    everything is compiled.

    Args:
      x: representations (N, S, C), as for `run`.
      y: representations (M, T, C), or None, as for `run`.
      matcher: the rule that pairs the tokens.
      bound: a further proof for approximate matchers, see `pair_statistics`.
      center: as for `run`; it does not change what a run takes.
      tile: rows and columns of a tile; None: what takes some seconds.
      memory_budget: bytes for the pairs in flight and the blocks of a tile; None: a
        share of what is free.
      workers: tiles that will be computed at a time, each as fast as here.

    Returns:
      The `Plan`.

    Raises:
      TypeError: as `run`.
      ValueError: as `run`.
    """
    spec = RunSpec.checked(x, y, matcher, bound, center, tile, memory_budget)
    device = jax.local_devices()[0]  # that of a run, whatever JAX's default
    grid = spec.grid(spec.tile or spec.tile_side())
    in_flight = spec.pairs_in_flight(grid, device)
    with jax.default_device(device):
        measured, rate = _rate(spec, in_flight)
    (_, tokens, channels), (_, others, _) = spec.x_shape, spec.y_shape
    itemsize = accumulation_dtype(spec.dtype).itemsize
    # On the disk, tiles at the far ends are as large as the others.
    tiles = math.prod(grid.shape)
    matrices = len(MATRICES) + matcher.soft
    numbers = matrices * tiles * grid.side**2 + grid.rows + grid.columns
    blocks = grid.side * (tokens + others) * channels * spec.dtype.itemsize
    chunk = bytes_in_flight(
        spec.x_shape, spec.y_shape, spec.dtype, spec.rule, in_flight, device
    )
    return Plan(
        samples=(grid.rows, grid.columns),
        tokens=(tokens, others),
        channels=channels,
        pairs=grid.pair_count,
        tile=grid.side,
        tiles=sum(1 for _ in grid),
        pairs_in_flight=in_flight,
        pairs_measured=measured,
        rate=rate,
        seconds=grid.pair_count / rate / workers,
        # A block is held as it was read, as it is matched, and while it is converted.
        memory=process_memory() + 3 * blocks + chunk,
        disk=numbers * itemsize + tiles * _RECORD,
    )


def _rate(spec: RunSpec, in_flight: int) -> tuple[int, float]:
    """The number of pairs that were matched to measure, and pairs a second."""
    parts = [_spread(side, spec.dtype, in_flight) for side in spec.features]
    (x, x_mask), (y, y_mask) = parts[0], parts[-1]
    samples = PairInputs(x, y, x_mask, y_mask)
    pairs = Pairs(x.shape[0], y.shape[0], triangle=False, diagonal=True)
    size = pairs.chunk_size(in_flight)
    marks: list[tuple[float, int]] = []

    def stop_in_time(done: int) -> None:
        marks.append((time.perf_counter(), done))
        if marks[-1][0] - marks[0][0] > _SECONDS:
            raise StopMatching

    try:
        match_block(samples, spec.rule, pairs, size, stop_in_time)
        # The first chunk compiles: it is not measured.
        if len(marks) == 1:
            marks[:] = [(time.perf_counter(), 0)]
            match_block(samples, spec.rule, pairs, size, stop_in_time)
    except StopMatching:
        pass
    (start, before), (stop, done) = marks[0], marks[-1]
    return done - before, (done - before) / (stop - start)


def _spread(features: Features, dtype: np.dtype, in_flight: int) -> tuple[Any, Any]:
    """Some samples, spread over the input, with their masks."""
    rows = features.rows
    count = min(rows.shape[0], _SAMPLES, max(2, in_flight))
    chosen = np.linspace(0, rows.shape[0] - 1, count).astype(int)
    tokens = np.concatenate([np.asarray(rows[i : i + 1]) for i in chosen])
    _checks.finite("features", tokens)
    mask = host_mask(features)
    return jnp.asarray(tokens, dtype), None if mask is None else mask[chosen]
