"""The loop over pairs: chunks, padding, halving when memory runs out.

Everything that matches pairs comes here: `pair_statistics`, eager and under jit, the
tiles of a run, the search, and the correspondences of a report.
"""

from collections.abc import Callable, Generator, Iterator
from contextlib import closing
from typing import Any, NamedTuple

import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Bool

from semrsm_jax import _checks
from semrsm_jax._representations import accumulation_dtype
from semrsm_jax._resources import is_out_of_memory
from semrsm_jax._rows import Rows, part
from semrsm_jax.matching.base import (
    Bound,
    Matcher,
    bounded,
    matched_tokens,
)
from semrsm_jax.matching.results import Unconverged
from semrsm_jax.pairs._on_host import HostPairs, PairTokens, matched_on_host
from semrsm_jax.pairs.selection import PairList, Pairs, take


class PairInputs(NamedTuple):
    """Both sides; what is not on the device goes there chunk by chunk.

    Attributes:
      x: (N, S, C).
      y: (M, T, C).
      x_mask: (N, S), True where a token takes part. None: all do.
      y_mask: (M, T), True where a token takes part. None: all do.
    """

    x: Array | np.ndarray | Rows
    y: Array | np.ndarray | Rows
    x_mask: Bool[Array, "N S"] | None = None
    y_mask: Bool[Array, "M T"] | None = None

    @property
    def dtype(self) -> Any:
        """The dtype that both are matched in."""
        return jnp.promote_types(
            *(_checks.floating_dtype(array.dtype) for array in (self.x, self.y))
        )

    def part(self, rows: slice, columns: slice) -> "PairInputs":
        """Some samples of x with some of y; those of a `Rows` are not read yet."""
        x, y = (
            part(array, index.start, index.stop)
            if isinstance(array, Rows)
            else array[index]
            for array, index in ((self.x, rows), (self.y, columns))
        )
        x_mask = None if self.x_mask is None else self.x_mask[rows]
        y_mask = None if self.y_mask is None else self.y_mask[columns]
        return PairInputs(x, y, x_mask, y_mask)


class Rule(NamedTuple):
    """How each pair is matched, and what else bounds it."""

    matcher: Matcher
    bound: Bound | None = None

    def workspace(self, x_tokens: int, y_tokens: int, channels: int) -> int:
        """The numbers held for one pair; the two take turns."""
        steps = (self.matcher, self.bound or self.matcher)
        return max(step.workspace(x_tokens, y_tokens, channels) for step in steps)

    def on_host(self, tokens: Any) -> bool:
        """Whether tokens are matched where they are, on the host, and nowhere else."""
        return self.bound is None and matched_on_host(self.matcher, tokens)


class Chunk(NamedTuple):
    """What a chunk of pairs gave.

    Attributes:
      start: the number of its first pair.
      stop: the number after its last pair.
      values: arrays, a row for each pair.
      size: the pairs a chunk that memory was enough for.
    """

    start: int
    stop: int
    values: tuple[np.ndarray, ...]
    size: int


class Block(NamedTuple):
    """What a grid of pairs gave.

    Attributes:
      matrices: ``inner``, ``sq_dist``, ``upper_bound`` and of a soft matcher
        ``column_error`` (N, M), zero where nothing was matched.
      size: the pairs a chunk that memory was enough for.
      unconverged: the soft matchings among them that did not converge.
    """

    matrices: tuple[np.ndarray, ...]
    size: int
    unconverged: Unconverged


def in_chunks(
    compute: Callable[[np.ndarray], Any], count: int, size: int, padded: bool = True
) -> Iterator[Chunk]:
    """Computes numbered pairs chunk by chunk; half as many where memory runs out.

    Args:
      compute: takes numbers (P,) below `count`, and gives arrays of P rows.
      count: of all pairs.
      size: pairs a chunk at first.
      padded: every chunk has `size` numbers, the last one repeated, so that one
        program serves all of them.

    Raises:
      MemoryError: memory is not enough for one pair; or RuntimeError, on a device.
    """
    done = 0
    while done < count:
        kept = min(size, count - done)
        numbers = np.arange(done, done + (size if padded else kept))
        try:
            values = compute(np.minimum(numbers, count - 1))
            values = tuple(
                np.asarray(value)[:kept] for value in values if value is not None
            )
        except (MemoryError, RuntimeError) as error:
            if size == 1 or not is_out_of_memory(error):
                raise
            size //= 2
            continue
        yield Chunk(done, done + kept, values, size)
        done += kept


def execute(
    inputs: PairInputs,
    rule: Rule,
    pairs: Pairs | PairList,
    size: int,
    tokens: bool = False,
) -> Generator[Chunk, None, None]:
    """Matches pairs chunk by chunk, where the values are known.

    To be closed, which ends its threads.

    Args:
      inputs: x (N, S, C) and y (M, T, C), checked before.
      rule: how.
      pairs: which, in this order.
      size: pairs a chunk; halved where memory runs out.
      tokens: gives `PairTokens` of each pair in place of its `Statistics`.
    """
    with HostPairs(inputs, rule.matcher) as host:
        on_host = host.match if host.usable else None

        def compute(numbers: np.ndarray) -> Any:
            return match_pairs(inputs, *pairs.locate(numbers), rule, tokens, on_host)

        yield from in_chunks(compute, pairs.count, size, padded=not host.usable)


def match_block(
    inputs: PairInputs,
    rule: Rule,
    pairs: Pairs,
    size: int,
    progress: Callable[[int], None],
) -> Block:
    """Matches a grid of pairs; the host keeps what is done.

    Args:
      inputs: x (N, S, C) and y (M, T, C), checked before.
      rule: how.
      pairs: which; where they are a triangle, their mirror images are filled in.
      size: pairs a chunk; halved where memory runs out.
      progress: called with the number of pairs done, after each chunk.
    """
    dtype = accumulation_dtype(inputs.dtype)
    shape = (pairs.rows, pairs.columns)
    count = 3 + rule.matcher.soft
    results = tuple(np.zeros(shape, dtype) for _ in range(count))
    unconverged = Unconverged()
    with closing(execute(inputs, rule, pairs, size)) as chunks:
        for chunk in chunks:
            rows, columns = pairs.locate(np.arange(chunk.start, chunk.stop))
            for error in chunk.values[3:]:
                unconverged = unconverged.and_those(Unconverged.of(error))
            for result, value in zip(results, chunk.values, strict=False):
                result[rows, columns] = value
                if pairs.triangle:
                    result[columns, rows] = value
            size = chunk.size
            progress(chunk.stop)
    return Block(results, size, unconverged)


def match_pairs(
    inputs: PairInputs,
    rows: Any,
    columns: Any,
    rule: Rule,
    tokens: bool = False,
    on_host: Callable[..., Any] | None = None,
) -> Any:
    """The `Statistics`, or `PairTokens`, of a list of pairs.

    They are matched one by one by `on_host`, else as one batch of gathered arrays. One
    row alone is that of all columns.
    """
    if on_host is not None and (tokens or rule.bound is None):
        return on_host(rows, columns, tokens)
    x = take(inputs.x, rows, inputs.dtype)
    y = take(inputs.y, columns, inputs.dtype)
    x_mask = None if inputs.x_mask is None else inputs.x_mask[rows]
    y_mask = None if inputs.y_mask is None else inputs.y_mask[columns]
    if tokens:
        permutation = rule.matcher.pair(x, y, x_mask, y_mask).permutation
        partner = matched_tokens(y, permutation)
        dtype = accumulation_dtype(x.dtype)
        return PairTokens(permutation, jnp.sum(x * partner, axis=-1, dtype=dtype))
    if on_host is not None:
        statistics = on_host(rows, columns)
    else:
        statistics = rule.matcher.statistics(x, y, x_mask, y_mask)
    return bounded(statistics, rule.bound, x, y, x_mask, y_mask)
