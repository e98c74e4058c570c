"""One pass over all pairs of samples: what every kernel and every sweep then reads."""

from collections.abc import Callable, Iterator
from functools import partial
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax.typing import ArrayLike
from jaxtyping import Array, Bool, Float

from semrsm_jax import _checks
from semrsm_jax.matching.base import (
    Bound,
    Matcher,
    Matching,
    check_bound,
    check_matcher,
    matched_tokens,
    pair_with_bound,
)
from semrsm_jax.matching.exact import Exact
from semrsm_jax.representations import accumulation_dtype, squared_token_norms

# Bytes that the pairs in flight may take when nothing else is said: small enough to
# stay near the processor's cache, large enough for a few pairs a thread at S=1024.
DEFAULT_MEMORY_BUDGET = 128 * 2**20

# How many pairs are matched at once at most: beyond it, nothing is gained.
_MOST_PAIRS = 1024


class PairStatistics(NamedTuple):
    """What a kernel needs to know of every pair of samples.

    Attributes:
      inner: (N, M), the matched inner product <z_i, P_ij z_j>, a sum over tokens.
      sq_dist: (N, M), the squared Euclidean distance of the matched representations,
        taken from their difference.
      upper_bound: (N, M), a proven bound on `inner` for any matching of the pair.
      x_sq_norm: (N,), squared norms of the flattened representations of x.
      y_sq_norm: (M,), likewise of y.
    """

    inner: Float[Array, "N M"]
    sq_dist: Float[Array, "N M"]
    upper_bound: Float[Array, "N M"]
    x_sq_norm: Float[Array, " N"]
    y_sq_norm: Float[Array, " M"]


def pair_statistics(
    x: ArrayLike,
    y: ArrayLike | None = None,
    matcher: Matcher = Exact(),
    *,
    x_mask: ArrayLike | None = None,
    y_mask: ArrayLike | None = None,
    bound: Bound | None = None,
    memory_budget: int | None = None,
    progress: Callable[[int, int], None] | None = None,
) -> PairStatistics:
    """Matches every sample of x with every sample of y, chunk by chunk.

    Peak memory is that of a chunk of pairs, beside inputs and outputs. Where `y` is
    None and the matcher symmetric, each pair is matched once; where a sample matches
    itself token by token, the diagonal is not matched at all.

    Args:
      x: representations (N, S, C).
      y: representations (M, T, C); None compares x with itself.
      matcher: the rule that pairs the tokens.
      x_mask: (N, S), True where a token takes part. None: all do.
      y_mask: (M, T), likewise; only with `y`.
      bound: a further proof for approximate matchers, for example ``DualBound()``; the
        smaller of its bound and the matcher's is kept.
      memory_budget: bytes that the pairs in flight may take; None: 128 MiB. At least
        one pair is always in flight.
      progress: called as ``progress(done, total)``, in pairs, after each chunk; not
        under jit.

    Returns:
      The `PairStatistics`, in float32, or float64 for float64 input. Under jit and grad
      gradients are those of the fixed matching (envelope), and the backward pass holds
      one chunk at a time.

    Raises:
      TypeError: an array is not real, a mask not boolean, or `matcher` no Matcher.
      ValueError: shapes do not fit, an axis is empty, a value is not finite, or
        `memory_budget` is below 1.
    """
    rule = _Rule(check_matcher(matcher), check_bound(bound))
    budget = DEFAULT_MEMORY_BUDGET if memory_budget is None else memory_budget
    budget = _checks.at_least("memory_budget", budget, 1)
    x, x_mask = _samples("x", x, x_mask)
    mirrored = y is None
    if y is None:
        if y_mask is not None:
            raise ValueError("y_mask was given without y")
        y, y_mask = x, x_mask
    else:
        y, y_mask = _samples("y", y, y_mask)
    if x.shape[2] != y.shape[2]:
        raise ValueError(
            f"x and y must have the same channels, got {x.shape[2]} and {y.shape[2]}"
        )
    dtype = jnp.promote_types(x.dtype, y.dtype)
    x, y = x.astype(dtype), y.astype(dtype)
    matcher.validate(x.shape, y.shape)
    pairs = _Pairs(
        x.shape[0],
        y.shape[0],
        triangle=mirrored and matcher.symmetric,
        diagonal=not (mirrored and matcher.self_is_identity),
    )
    size = _balanced(len(pairs), _pairs_in_flight(x, y, rule, budget))
    samples = (x, y, x_mask, y_mask)
    if _checks.is_traced(*(a for a in samples if a is not None)):
        inner, sq_dist, upper = _traced(samples, rule, pairs, size)
    else:
        inner, sq_dist, upper = _streamed(samples, rule, pairs, size, progress)
    x_sq_norm = squared_token_norms(x, x_mask).sum(-1)
    y_sq_norm = x_sq_norm if mirrored else squared_token_norms(y, y_mask).sum(-1)
    if not pairs.diagonal:
        index = jnp.arange(x.shape[0])
        inner = inner.at[index, index].set(x_sq_norm)
        upper = upper.at[index, index].set(x_sq_norm)
    return PairStatistics(inner, sq_dist, upper, x_sq_norm, y_sq_norm)


def _samples(
    name: str, array: ArrayLike, mask: ArrayLike | None
) -> tuple[Array, Bool[Array, "N S"] | None]:
    array = _checks.real_array(name, array, rank=3)
    _checks.non_empty(name, array, "N S C")
    _checks.finite(name, array)
    return array, _checks.token_mask(f"{name}_mask", mask, array.shape[:2])


class _Rule(NamedTuple):
    """How each pair is matched, and what else bounds it."""

    matcher: Matcher
    bound: Bound | None

    def workspace(self, x_tokens: int, y_tokens: int, channels: int) -> int:
        """The numbers held for one pair; the two take turns."""
        needs = [self.matcher.workspace(x_tokens, y_tokens, channels)]
        if self.bound is not None:
            needs.append(self.bound.workspace(x_tokens, y_tokens, channels))
        return max(needs)


class _Pairs(NamedTuple):
    """The pairs to match, numbered row by row: all, or those of the upper triangle."""

    rows: int
    columns: int
    triangle: bool
    diagonal: bool

    def __len__(self) -> int:
        return int(self._row_ends()[-1])

    def _row_ends(self) -> np.ndarray:
        if not self.triangle:
            return self.columns * np.arange(1, self.rows + 1)
        return np.cumsum(np.arange(self.rows, 0, -1) - (not self.diagonal))

    def locate(self, number, xp=np):
        """Row and column of numbered pairs, in NumPy or, traced, in JAX."""
        ends = self._row_ends()
        row = xp.searchsorted(xp.asarray(ends), number, side="right")
        # The number within the row, counted from the row's end.
        column = self.columns - (xp.asarray(ends)[row] - number)
        return row, column


def _pairs_in_flight(x: Array, y: Array, rule: _Rule, budget: int) -> int:
    tokens, others, channels = x.shape[1], y.shape[1], x.shape[2]
    # The tokens of both samples and the matched ones, beside the matcher's own.
    numbers = (2 * tokens + others) * channels + rule.workspace(
        tokens, others, channels
    )
    itemsize = accumulation_dtype(x.dtype).itemsize
    return max(1, min(budget // (numbers * itemsize), _MOST_PAIRS))


def _balanced(total: int, most: int) -> int:
    """The size of equal chunks of at most `most`: little padding, one compilation."""
    return max(1, -(-total // max(1, -(-total // most))))


def _streamed(samples, rule, pairs, size, progress):
    """Chunk by chunk from the host, which keeps what is done."""
    dtype = accumulation_dtype(samples[0].dtype)
    results = tuple(np.zeros((pairs.rows, pairs.columns), dtype) for _ in range(3))
    done, total = 0, len(pairs)
    for numbers in _chunks(total, size):
        rows, columns = pairs.locate(numbers)
        values = _chunk(samples, rows, columns, rule)
        kept = min(size, total - done)
        rows, columns = rows[:kept], columns[:kept]
        for result, value in zip(results, values, strict=True):
            result[rows, columns] = np.asarray(value)[:kept]
            if pairs.triangle:
                result[columns, rows] = result[rows, columns]
        done += kept
        if progress is not None:
            progress(done, total)
    return tuple(jnp.asarray(result) for result in results)


def _chunks(total: int, size: int) -> Iterator[np.ndarray]:
    """Pair numbers in chunks of one size; the last repeats its last number."""
    for start in range(0, total, size):
        yield np.minimum(np.arange(start, start + size), total - 1)


def _traced(samples, rule, pairs, size):
    """The same chunks as one loop on the device, for jit, vmap and grad."""
    x, y = samples[:2]
    numbers = np.stack(list(_chunks(len(pairs), size)) or [np.zeros(0, int)])
    # The backward pass matches nothing again: it keeps permutations and bounds.
    kept = jax.checkpoint_policies.save_only_these_names("matching")

    @partial(jax.checkpoint, policy=kept)
    def chunk(samples, numbers):
        rows, columns = pairs.locate(numbers, jnp)
        return _chunk(samples, rows, columns, rule)

    values = jax.lax.map(lambda n: chunk(samples, n), jnp.asarray(numbers))
    rows, columns = pairs.locate(numbers.ravel()[: len(pairs)])

    def fill(value):
        value = value.ravel()[: len(pairs)]
        full = jnp.zeros((x.shape[0], y.shape[0]), value.dtype)
        full = full.at[rows, columns].set(value)
        return full.at[columns, rows].set(value) if pairs.triangle else full

    return tuple(fill(value) for value in values)


def _chunk(samples, rows, columns, rule):
    """Inner product, squared distance and bound of a list of pairs."""
    x, y, x_mask, y_mask = _gather(samples, rows, columns)
    matching = pair_with_bound(rule.matcher, rule.bound, x, y, x_mask, y_mask)
    return _statistics(x, y, matching)


@jax.jit
def _gather(samples, rows, columns):
    x, y, x_mask, y_mask = samples
    return (
        x[rows],
        y[columns],
        None if x_mask is None else x_mask[rows],
        None if y_mask is None else y_mask[columns],
    )


@jax.jit
def _statistics(x: Array, y: Array, matching: Matching):
    dtype = accumulation_dtype(x.dtype)
    x = x.astype(dtype)
    partner = matched_tokens(y, matching.permutation).astype(dtype)
    # From the difference: |x|^2 + |y|^2 - 2 <x, y> cancels to noise in float32.
    squares = jnp.sum((x - partner) ** 2, axis=-1)
    sq_dist = jnp.sum(jnp.where(matching.permutation < 0, 0, squares), axis=-1)
    return matching.value, sq_dist, matching.upper_bound
