"""The most similar samples of some queries within a part of the database."""

import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

import jax.numpy as jnp
import numpy as np
from jaxtyping import Bool, Float

from semrsm_jax._kernels import Kernel
from semrsm_jax._representations import accumulation_dtype
from semrsm_jax.pairs import PairStatistics
from semrsm_jax.pairs.executor import Rule, match_pairs
from semrsm_jax.retrieval._bounds import Block, PairBound, mean_bound

# How much more of a query's candidates are solved in each round than in those before:
# rounds cost time, and what is solved too early may have been for nothing.
_GROWTH = 0.5

# What a kernel's own rounding may add to a similarity, relative and absolute.
_KERNEL_ROUNDING, _TINY = 1e-4, 1e-37

# What a pair costs, at about, that is left to a later bound, itself and what it leaves.
_LEFT = 0.2

# A bound that costs more than this share of what it saves is left alone.
_WORTH = 0.8


@dataclass
class Stage:
    """What a bound was found to cost and to save.

    Attributes:
      name: of the bound.
      pairs: how many it was asked for.
      pruned: how many of them need no matching for its sake.
      seconds: that it took.
    """

    name: str
    pairs: int = 0
    pruned: int = 0
    seconds: float = 0.0
    # Without the first chunk, which may compile.
    warm_pairs: int = 0
    warm_seconds: float = 0.0

    def spent(self, pairs: int, seconds: float) -> None:
        """Counts a chunk."""
        if self.pairs:
            self.warm_pairs += pairs
            self.warm_seconds += seconds
        self.pairs += pairs
        self.seconds += seconds

    @property
    def cost(self) -> float:
        """Seconds a pair; with the compilation where nothing else was measured."""
        if self.warm_pairs:
            return self.warm_seconds / self.warm_pairs
        return self.seconds / self.pairs if self.pairs else 0.0

    def pays(self, saving: float) -> bool:
        """Whether it costs less than it saves, at `saving` seconds for a pair pruned.

        Not known, and so to be tried, before two chunks.
        """
        if not self.warm_pairs:
            return True
        return self.cost < _WORTH * saving * self.pruned / self.pairs


class Solver(NamedTuple):
    """How pairs are matched, and what that cost so far.

    Attributes:
      rule: how.
      chunk: pairs at a time.
      spent: of all pairs solved.
      report: called with the pairs solved so far, after each chunk.
    """

    rule: Rule
    chunk: int
    spent: Stage
    report: Callable[[int], None]


class Ranking:
    """Queries by a part of the database: similarities where known, bounds elsewhere.

    Attributes:
      solved: (n, m), the pairs that were matched.
      similarity: (n, m), of solved pairs; of others a bound; -inf where excluded.
    """

    def __init__(
        self,
        block: Block,
        kernel: Kernel,
        excluded: Bool[np.ndarray, "n m"],
        known: Float[np.ndarray, "n k"],
    ) -> None:
        """Starts from the bound that costs next to nothing.

        Args:
          block: the samples.
          kernel: monotone.
          excluded: (n, m), what may be no neighbour.
          known: (n, k), the similarities of the best neighbours found elsewhere, or
            -inf.
        """
        self._block, self._kernel = block, kernel
        self._excluded, self._known = excluded, known
        shape = excluded.shape
        self._dtype = np.dtype(accumulation_dtype(block.samples.dtype))
        # Of pairs that were not solved, the largest and smallest that there can be.
        self._inner = np.full(shape, np.inf, self._dtype)
        self._sq_dist = np.zeros(shape, self._dtype)
        self.solved = np.zeros(shape, bool)
        self.similarity = np.full(shape, np.inf, self._dtype)
        rows, columns = (index.ravel() for index in np.indices(shape))
        self._bounded(rows, columns, mean_bound(block).ravel())

    def solve_all(self, solver: Solver) -> None:
        """Matches every pair that is not excluded."""
        rows, columns = np.nonzero(~self._excluded)
        self._solve(rows, columns, solver)

    def search(
        self, bounds: Sequence[tuple[PairBound, Stage]], solver: Solver, tried: bool
    ) -> None:
        """Matches pairs until no other can be among the neighbours.

        Args:
          bounds: from the cheapest on.
          solver: of pairs.
          tried: bounds are tried whatever they may be worth.
        """
        self._solve(*self._wave(solver.chunk), solver)
        for place, (bound, stage) in enumerate(bounds):
            pairs, saving = int(self._candidates().sum()), solver.spent.cost
            for later, use in bounds[place + 1 :]:
                if use.pays(saving) and later.worth_trying(saving, pairs):
                    saving *= _LEFT
            if tried or (stage.pays(saving) and bound.worth_trying(saving, pairs)):
                self._refine(bound, stage, saving, tried)
        while len((wave := self._wave(solver.chunk))[0]):
            self._solve(*wave, solver)

    def _threshold(self) -> Float[np.ndarray, "n 1"]:
        """The similarity that a further neighbour must reach."""
        solved = np.where(self.solved & ~self._excluded, self.similarity, -np.inf)
        best = np.concatenate([self._known, solved], axis=1)
        wanted = self._known.shape[1]
        return -np.partition(-best, wanted - 1, axis=1)[:, wanted - 1 : wanted]

    def _candidates(self) -> Bool[np.ndarray, "n m"]:
        """What may still be a neighbour: an equal one may be, by its lower index."""
        unsolved = ~self.solved & ~self._excluded
        return unsolved & (self.similarity >= self._threshold())

    def _wave(self, chunk: int) -> tuple[np.ndarray, np.ndarray]:
        """The candidates to solve next, those of the highest bounds of each query."""
        candidates = self._candidates()
        active = np.flatnonzero(candidates.any(1))
        if not len(active):
            return active, active
        done = int(self.solved.sum() / len(self.solved))
        # As many neighbours as each query wants, for a threshold, in full chunks: when
        # nothing is pruned, these are then no more than without pruning.
        wanted = -(-self._known.shape[1] * len(active) // chunk) * chunk
        count = max(int(_GROWTH * done), -(-wanted // len(active)))
        count = min(count, candidates.shape[1])
        ranked = np.where(candidates, -self.similarity, np.inf)[active]
        columns = np.argpartition(ranked, count - 1, axis=1)[:, :count]
        columns = np.take_along_axis(
            columns, np.argsort(np.take_along_axis(ranked, columns, 1), axis=1), 1
        )
        # The best of each query first, so that what does not fill a chunk can wait.
        rows, columns = np.repeat(active[None], count, 0).ravel(), columns.T.ravel()
        chosen = candidates[rows, columns]
        rows, columns = rows[chosen], columns[chosen]
        kept = len(rows) // chunk * chunk or len(rows)
        order = np.argsort(rows[:kept], kind="stable")
        return rows[:kept][order], columns[:kept][order]

    def _refine(
        self, bound: PairBound, stage: Stage, saving: float, tried: bool
    ) -> None:
        """Bounds all candidates anew, as long as it pays."""
        rows, columns = np.nonzero(self._candidates())
        # The highest last: of these the fewest are pruned.
        order = np.argsort(self.similarity[rows, columns], kind="stable")
        rows, columns = rows[order], columns[order]
        threshold = self._threshold()[:, 0]
        for part in _chunks(len(rows), bound.chunk()):
            if not tried and not stage.pays(saving):
                return
            start = time.perf_counter()
            found = bound(rows[part.indices], columns[part.indices])[: part.count]
            here, there = rows[part.kept], columns[part.kept]
            self._bounded(here, there, found)
            stage.spent(part.count, time.perf_counter() - start)
            below = self.similarity[here, there] < threshold[here]
            stage.pruned += int(below.sum())

    def _bounded(self, rows: np.ndarray, columns: np.ndarray, bounds: Any) -> None:
        """Takes bounds on the inner product in place of higher ones."""
        dtype = self._dtype.type
        upper = np.nextafter(bounds.astype(dtype), dtype(np.inf))
        self._inner[rows, columns] = np.minimum(self._inner[rows, columns], upper)
        least = self._block.least_distance(rows, columns, bounds)
        least = np.maximum(np.nextafter(least.astype(dtype), dtype(-np.inf)), 0)
        self._sq_dist[rows, columns] = np.maximum(self._sq_dist[rows, columns], least)
        self._rank(rows, columns)

    def _rank(self, rows: np.ndarray, columns: np.ndarray) -> None:
        """Brings the similarities of some pairs up to date."""
        block = self._block
        sides = block.x.matched_sq_norm, block.y.matched_sq_norm
        stats = PairStatistics(
            *map(jnp.asarray, (self._inner, self._sq_dist, self._inner, *sides))
        )
        values = np.asarray(self._kernel(stats))[rows, columns]
        slack = _KERNEL_ROUNDING * np.abs(values) + _TINY
        values = np.where(self.solved[rows, columns], values, values + slack)
        excluded = self._excluded[rows, columns]
        self.similarity[rows, columns] = np.where(excluded, -np.inf, values)

    def _solve(self, rows: np.ndarray, columns: np.ndarray, solver: Solver) -> None:
        for part in _chunks(len(rows), solver.chunk):
            start = time.perf_counter()
            pairs = rows[part.indices], columns[part.indices]
            found = match_pairs(self._block.samples, *pairs, solver.rule)
            here, there = rows[part.kept], columns[part.kept]
            for held, values in zip((self._inner, self._sq_dist), found, strict=False):
                held[here, there] = np.asarray(values)[: part.count]
            self.solved[here, there] = True
            solver.spent.spent(part.count, time.perf_counter() - start)
            solver.report(solver.spent.pairs)
        self._rank(rows, columns)


class _Chunk(NamedTuple):
    """Some of many pairs; always as many indices, for one compilation."""

    indices: np.ndarray
    count: int

    @property
    def kept(self) -> np.ndarray:
        """The indices without those that fill it up."""
        return self.indices[: self.count]


def _chunks(total: int, size: int) -> Iterator[_Chunk]:
    for start in range(0, total, size):
        indices = np.minimum(np.arange(start, start + size), total - 1)
        yield _Chunk(indices, min(size, total - start))
