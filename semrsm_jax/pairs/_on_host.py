"""Pairs matched on the host, by BLAS, a solver and threads.

Each thread has its own affinities, which it uses again: no tokens are gathered, and no
affinity is allocated for a pair. Each pair is a matrix product of its own on one
thread, so that its result depends neither on its neighbors nor on the number of
threads.
"""

import itertools
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor, wait
from contextlib import ExitStack
from typing import Any, NamedTuple

import jax
import numpy as np
from jaxtyping import Array, Float, Int

from semrsm_jax._representations import accumulation_dtype
from semrsm_jax._resources import core_limit, cores, default_device, one_blas_thread
from semrsm_jax.matching.base import HostSolver, Matcher, Statistics

# Bytes of the affinities that a thread solves in one call: they stay in its cache.
_STACK_BYTES = 2**19

# Such calls of each thread in a chunk, at least: they end at nearly the same time.
_STACKS_PER_THREAD = 16


class PairTokens(NamedTuple):
    """What each token of P pairs is matched with, and what that adds."""

    permutation: Int[Array | np.ndarray, "P S"]  # -1 where a token stays unmatched
    products: Float[Array | np.ndarray, "P S"]  # with the partner; 0 where it has none


class HostPairs:
    """Matches lists of pairs on the host; a context, which holds the threads.

    Attributes:
      usable: whether the matcher gives whole affinities to a solver on the host, and
        the tokens are on the host too.
    """

    def __init__(self, inputs: Any, matcher: Matcher) -> None:
        """Prepares to match the pairs of some `PairInputs`; computes nothing."""
        self._inputs, self._matcher = inputs, matcher
        self._threads, self._context = cores(), ExitStack()
        self._dtype = np.dtype(accumulation_dtype(inputs.dtype))
        self._idle: list[tuple[np.ndarray, HostSolver]] = []
        self.usable = matched_on_host(matcher, inputs.x, inputs.y)

    def __enter__(self) -> "HostPairs":
        """Starts the threads, where they are of use."""
        if self.usable:
            self._sides = [_Side(side, self._dtype) for side in self._inputs[:2]]
            self._context.enter_context(one_blas_thread())
            self._pool = self._context.enter_context(ThreadPoolExecutor(self._threads))
        return self

    def __exit__(self, *error: object) -> None:
        """Ends the threads."""
        self._context.close()

    def match(self, rows: np.ndarray, columns: np.ndarray, tokens: bool = False) -> Any:
        """Matches samples `rows` (P,) of x with samples `columns` (P,) of y.

        With `tokens` the result is `PairTokens`, else `Statistics`.
        """
        from semrsm_jax.matching.matched import matched_statistics

        (x, x_norm, rows_of_x), (y, y_norm, rows_of_y) = (
            side.take(index)
            for side, index in zip(self._sides, (rows, columns), strict=True)
        )
        masks = [
            None if mask is None else np.asarray(mask)[index]
            for mask, index in zip(self._inputs[2:], (rows, columns), strict=True)
        ]
        count, shape, dtype = len(rows), (x.shape[1], y.shape[1]), x.dtype
        complete = shape[0] == shape[1] and all(mask is None for mask in masks)
        permutation, bound = np.empty((count, shape[0]), np.int32), np.empty(count)
        products = np.empty(permutation.shape if tokens else 0, dtype)
        inner, sq_dist = np.empty(count), np.empty(count)
        most = max(1, _STACK_BYTES // (shape[0] * shape[1] * dtype.itemsize))
        stack = min(most, -(-count // (_STACKS_PER_THREAD * self._threads)))
        starts = itertools.count(0, stack)

        def solve(part: slice, held: np.ndarray, solver: HostSolver) -> None:
            first, second = rows_of_x[part], rows_of_y[part]
            affinity = held[: len(first)]
            for i, several, where in _neighbors(first, second):
                np.matmul(x[i], y[several].swapaxes(1, 2), out=affinity[where])
            permutation[part], bound[part], _ = solver(
                affinity, *(None if mask is None else mask[part] for mask in masks)
            )
            if tokens:
                partner = permutation[part, :, None]
                matched = np.take_along_axis(affinity, np.maximum(partner, 0), 2)
                products[part] = np.where(partner < 0, 0, matched)[..., 0]
                return
            pairs = x, y, first, second, x_norm, y_norm, complete
            sums = inner[part], sq_dist[part]
            matched_statistics(affinity, permutation[part], *pairs, *sums)

        def work() -> None:
            workspace = self._workspace(most)
            # A product that overflows gives NaN, see below.
            with core_limit(1), np.errstate(over="ignore", invalid="ignore"):
                while (start := next(starts)) < count:
                    solve(slice(start, min(start + stack, count)), *workspace)
            self._idle.append(workspace)

        helpers = min(self._threads, -(-count // stack)) - 1
        futures = [self._pool.submit(work) for _ in range(helpers)]
        try:
            work()
        finally:
            wait(futures)
        for future in futures:
            future.result()
        if tokens:
            return PairTokens(permutation, products)
        # The bound is NaN where an affinity is not finite.
        inner = np.where(np.isnan(bound), bound, inner)
        with np.errstate(over="ignore"):
            values: Any = [v.astype(dtype) for v in (inner, sq_dist, bound)]
        values[2] = np.maximum(values[2], values[0])
        return Statistics(*values)

    def _workspace(self, pairs: int) -> tuple[np.ndarray, HostSolver]:
        """Affinities of some pairs and a solver, for one thread at a time."""
        try:
            return self._idle.pop()
        except IndexError:
            x, y = self._inputs[:2]
            solver = self._matcher.host_solver()
            assert solver is not None
            return np.empty((pairs, x.shape[1], y.shape[1]), self._dtype), solver


class _Side:
    """The samples of one side: used where they are, or taken from there by chunks."""

    def __init__(self, tokens: Any, dtype: np.dtype) -> None:
        self._tokens, self._dtype = tokens, dtype
        if isinstance(tokens, jax.Array):
            self._tokens = tokens = np.asarray(tokens)
        self._whole = (
            isinstance(tokens, np.ndarray)
            and tokens.dtype == dtype
            and tokens.flags.c_contiguous
        )
        self._norms = np.full(len(tokens), -1.0)

    def take(self, index: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """Tokens, squared norms where known (else -1), and where samples are there."""
        tokens, norms = self._tokens, self._norms
        if not self._whole:
            chosen, index = np.unique(index, return_inverse=True)
            tokens = np.ascontiguousarray(tokens[chosen], dtype=self._dtype)
            norms = np.full(len(chosen), -1.0)
        # One writability, so that Numba compiles one variant a dtype.
        tokens = tokens.view()
        tokens.flags.writeable = False
        return tokens, norms, index


def _neighbors(
    first: np.ndarray, second: np.ndarray
) -> Iterator[tuple[int, slice, slice]]:
    """One sample of x with neighboring samples of y, and where those pairs stand.

    NumPy multiplies them one by one in a single call, which takes the lock that threads
    share only once.
    """
    breaks = np.flatnonzero((np.diff(first) != 0) | (np.diff(second) != 1)) + 1
    ends = [0, *breaks.tolist(), len(first)]
    for start, stop in itertools.pairwise(ends):
        j = second[start]
        yield first[start], slice(j, j + stop - start), slice(start, stop)


def matched_on_host(matcher: Matcher, *tokens: Any) -> bool:
    """Whether the matcher's solver is on the host, and the tokens are there too."""
    return matcher.host_solver() is not None and all(map(_on_host, tokens))


def _on_host(tokens: Any) -> bool:
    if isinstance(tokens, jax.Array):
        return all(device.platform == "cpu" for device in tokens.devices())
    return default_device().platform == "cpu"
