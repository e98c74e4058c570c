"""The loop over pairs: chunks, padding, halving when memory runs out.

Everything that matches pairs comes here: `pair_statistics`, eager and under jit, the
tiles of a run, the search, and the correspondences of a report. Under a transformation,
where values are not known, the loop is that of `match_traced`.
"""

from collections.abc import Callable, Generator, Iterator
from contextlib import closing
from functools import partial
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Bool

from semrsm_jax import _checks
from semrsm_jax._representations import accumulation_dtype
from semrsm_jax._resources import is_out_of_memory
from semrsm_jax._rows import Rows, part
from semrsm_jax.matching.base import Bound, Matcher, bounded, matched_tokens
from semrsm_jax.matching.results import Unconverged
from semrsm_jax.pairs._on_host import HostPairs, PairTokens, matched_on_host
from semrsm_jax.pairs.selection import PairList, Pairs, take


class PairInputs(NamedTuple):
    """Both sides; what is not on the device goes there chunk by chunk."""

    x: Array | np.ndarray | Rows  # (N, S, C)
    y: Array | np.ndarray | Rows  # (M, T, C)
    x_mask: Bool[Array, "N S"] | None = None  # True where a token takes part
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
    """What a chunk of pairs gave."""

    start: int  # the number of its first pair
    stop: int  # the number after its last pair
    values: tuple[np.ndarray, ...]  # with a row for each pair
    size: int  # the pairs a chunk that memory was enough for


class Block(NamedTuple):
    """What a grid of pairs gave."""

    # inner, sq_dist, upper_bound and of a soft matcher column_error (N, M), zero where
    # nothing was matched
    matrices: tuple[np.ndarray, ...]
    size: int  # the pairs a chunk that memory was enough for
    unconverged: Unconverged  # the soft matchings among them that did not converge


def in_chunks(
    compute: Callable[[np.ndarray], Any], count: int, size: int, padded: bool = True
) -> Iterator[Chunk]:
    """Computes numbered pairs chunk by chunk; half as many where memory runs out.

    `compute` takes numbers (P,) below `count` and gives arrays of P rows. Padded chunks
    have `size` numbers each, the last one repeated, so that one program serves all.
    Where memory is not enough for one pair, its MemoryError, or a device's
    RuntimeError, is raised.
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
    """Matches pairs of checked inputs chunk by chunk, where the values are known.

    It is to be closed, which ends its threads. With `tokens` it gives the `PairTokens`
    of each pair in place of its `Statistics`.
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
    """Matches a grid of pairs, of a triangle both halves; the host keeps what is done.

    `progress` is called with the number of pairs done, after each chunk.
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
        products = x.astype(accumulation_dtype(x.dtype)) * partner
        return PairTokens(permutation, jnp.sum(products, axis=-1))
    if on_host is not None:
        statistics = on_host(rows, columns)
    else:
        statistics = rule.matcher.statistics(x, y, x_mask, y_mask)
    return bounded(statistics, rule.bound, x, y, x_mask, y_mask)


def match_traced(
    inputs: PairInputs, rule: Rule, pairs: Pairs, size: int
) -> tuple[Array, ...]:
    """The matrices of `match_block`, by one loop that jit, vmap and grad go through."""
    inputs = inputs._replace(x=jnp.asarray(inputs.x), y=jnp.asarray(inputs.y))
    tokens, channels = max(inputs.x.shape[1], inputs.y.shape[1]), inputs.x.shape[2]
    # Of fewer channels, the product gains less than the turning of its result costs.
    by_rows = rule.matcher.by_rows and rule.bound is None and channels >= 2 * tokens
    rows, columns = pairs.chunks(size, by_rows)
    # The backward pass matches nothing again: it keeps permutations and bounds.
    kept = jax.checkpoint_policies.save_only_these_names("matching")

    @partial(jax.checkpoint, policy=kept)
    def chunk(inputs, rows, columns):
        return match_pairs(inputs, rows, columns, rule)

    values = jax.lax.map(lambda index: chunk(inputs, *index), (rows, columns))
    # One row stands for all of its chunk; pairs that fill up a chunk are there twice.
    rows = rows if rows.ndim == 2 else rows[:, None]
    first, second = (a.ravel() for a in np.broadcast_arrays(rows, columns))
    if pairs.triangle:
        first, second = np.minimum(first, second), np.maximum(first, second)
    _, once = np.unique(first * pairs.columns + second, return_index=True)
    first, second = first[once], second[once]

    def fill(value):
        value = value.ravel()[once]
        full = jnp.zeros((pairs.rows, pairs.columns), value.dtype)
        full = full.at[first, second].set(value)
        return full.at[second, first].set(value) if pairs.triangle else full

    return tuple(fill(value) for value in values if value is not None)
