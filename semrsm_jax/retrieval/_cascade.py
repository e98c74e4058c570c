"""The most similar samples of some queries within a part of the database."""

import time
from collections.abc import Callable, Sequence
from contextlib import closing
from dataclasses import dataclass, field
from typing import Any

import jax.numpy as jnp
import numpy as np
from jaxtyping import Bool, Float

from semrsm_jax._kernels import Kernel
from semrsm_jax._representations import accumulation_dtype
from semrsm_jax.matching.results import Unconverged
from semrsm_jax.pairs import PairStatistics
from semrsm_jax.pairs.executor import Rule, execute, in_chunks
from semrsm_jax.pairs.selection import PairList
from semrsm_jax.retrieval._bounds import PairBound, SearchBlock, mean_bound

# Each round solves this share of the candidates that a query's earlier rounds solved:
# rounds cost time, and what is solved too early may have been in vain.
_GROWTH = 0.5

# What a kernel's own rounding may add to a similarity, relative and absolute.
_KERNEL_ROUNDING, _TINY = 1e-4, 1e-37

# The cost of a pair that is left to a later bound, about, as a share of its matching.
_LEFT = 0.2

# A bound that costs more than this share of what it saves is not used further.
_WORTH = 0.8


@dataclass
class Cost:
    """What a bound, or the matching, cost and saved so far."""

    name: str
    pairs: int = 0  # that it was computed for
    pruned: int = 0  # that need no matching because of it
    seconds: float = 0.0
    # Without the first chunk, which may compile.
    warm_pairs: int = 0
    warm_seconds: float = 0.0

    def add(self, pairs: int, seconds: float) -> None:
        """Counts a chunk."""
        if self.pairs:
            self.warm_pairs += pairs
            self.warm_seconds += seconds
        self.pairs += pairs
        self.seconds += seconds

    @property
    def per_pair(self) -> float:
        """Seconds a pair; with the compilation where nothing else was measured."""
        if self.warm_pairs:
            return self.warm_seconds / self.warm_pairs
        return self.seconds / self.pairs if self.pairs else 0.0

    def pays(self, saving: float) -> bool:
        """Whether it costs less than it saves, at `saving` seconds for a pair pruned.

        True, to be tried, before two chunks were measured.
        """
        if not self.warm_pairs:
            return True
        return self.per_pair < _WORTH * saving * self.pruned / self.pairs


@dataclass
class Solver:
    """How pairs are matched, and what that cost so far."""

    rule: Rule
    size: int  # pairs a chunk; less after memory ran out
    cost: Cost = field(default_factory=lambda: Cost("matching"))
    unconverged: Unconverged = Unconverged()


class Ranking:
    """Queries by a part of the database: similarities where known, bounds elsewhere.

    Attributes:
      solved: (n, m), the pairs that were matched.
      similarity: (n, m), of solved pairs; of others a bound; -inf where excluded.
    """

    def __init__(
        self,
        block: SearchBlock,
        kernel: Kernel,
        excluded: Bool[np.ndarray, "n m"],
        known: Float[np.ndarray, "n k"],
        solver: Solver,
        report: Callable[[int], None],
    ) -> None:
        """Starts from the bound that costs next to nothing, by a monotone kernel.

        `excluded` (n, m) are the pairs that may not be neighbors; `known` (n, k) the
        similarities of the best neighbors among other samples, or -inf. `report` is
        called with the number of pairs of this block that were matched.
        """
        self._block, self._kernel = block, kernel
        self._excluded, self._known = excluded, known
        self._solver, self._report = solver, report
        shape = excluded.shape
        self._dtype = np.dtype(accumulation_dtype(block.inputs.dtype))
        # Of pairs that were not solved, the largest and smallest that there can be.
        self._inner = np.full(shape, np.inf, self._dtype)
        self._sq_dist = np.zeros(shape, self._dtype)
        self.solved = np.zeros(shape, bool)
        self.similarity = np.full(shape, np.inf, self._dtype)
        rows, columns = (index.ravel() for index in np.indices(shape))
        self._lower(rows, columns, mean_bound(block).ravel())

    def solve_all(self) -> None:
        """Matches every pair that is not excluded."""
        self._solve(*np.nonzero(~self._excluded))

    def search(self, bounds: Sequence[tuple[PairBound, Cost]], always: bool) -> None:
        """Matches pairs until no other can be among the neighbors.

        Args:
          bounds: from the cheapest on.
          always: bounds are used at any cost.
        """
        self._solve(*self._wave())
        for place, (bound, cost) in enumerate(bounds):
            pairs, saving = int(self._candidates().sum()), self._solver.cost.per_pair
            for later, use in bounds[place + 1 :]:
                if use.pays(saving) and later.worth_trying(saving, pairs):
                    saving *= _LEFT
            if always or (cost.pays(saving) and bound.worth_trying(saving, pairs)):
                self._refine(bound, cost, saving, always)
        while len((wave := self._wave())[0]):
            self._solve(*wave)

    def _threshold(self) -> Float[np.ndarray, "n 1"]:
        """The similarity that a further neighbor must reach."""
        solved = np.where(self.solved & ~self._excluded, self.similarity, -np.inf)
        best = np.concatenate([self._known, solved], axis=1)
        wanted = self._known.shape[1]
        return -np.partition(-best, wanted - 1, axis=1)[:, wanted - 1 : wanted]

    def _candidates(self) -> Bool[np.ndarray, "n m"]:
        """The possible neighbors: an equal one may be, by its lower index."""
        unsolved = ~self.solved & ~self._excluded
        return unsolved & (self.similarity >= self._threshold())

    def _wave(self) -> tuple[np.ndarray, np.ndarray]:
        """The candidates to solve next, those of the highest bounds of each query."""
        candidates, chunk = self._candidates(), self._solver.size
        active = np.flatnonzero(candidates.any(1))
        if not len(active):
            return active, active
        done = int(self.solved.sum() / len(self.solved))
        # As many neighbors as each query wants, for a threshold, in full chunks: when
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
        self, bound: PairBound, cost: Cost, saving: float, always: bool
    ) -> None:
        """Bounds all candidates anew, as long as it pays."""
        rows, columns = np.nonzero(self._candidates())
        # The highest last: of these the fewest are pruned.
        order = np.argsort(self.similarity[rows, columns], kind="stable")
        rows, columns = rows[order], columns[order]
        threshold = self._threshold()[:, 0]
        start = time.perf_counter()
        for chunk in in_chunks(
            lambda n: (bound(rows[n], columns[n]),), len(rows), bound.chunk()
        ):
            first, second = (i[chunk.start : chunk.stop] for i in (rows, columns))
            self._lower(first, second, *chunk.values)
            cost.add(len(first), time.perf_counter() - start)
            below = self.similarity[first, second] < threshold[first]
            cost.pruned += int(below.sum())
            if not always and not cost.pays(saving):
                return
            start = time.perf_counter()

    def _lower(self, rows: np.ndarray, columns: np.ndarray, bounds: Any) -> None:
        """Replaces higher bounds on the inner product by these."""
        dtype = self._dtype.type
        upper = np.nextafter(bounds.astype(dtype), dtype(np.inf))
        self._inner[rows, columns] = np.minimum(self._inner[rows, columns], upper)
        least = self._block.least_distance(rows, columns, bounds)
        least = np.maximum(np.nextafter(least.astype(dtype), dtype(-np.inf)), 0)
        self._sq_dist[rows, columns] = np.maximum(self._sq_dist[rows, columns], least)
        self._rank(rows, columns)

    def _rank(self, rows: np.ndarray, columns: np.ndarray) -> None:
        """Updates the similarities of some pairs."""
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

    def _solve(self, rows: np.ndarray, columns: np.ndarray) -> None:
        solver, before = self._solver, int(self.solved.sum())
        pairs = PairList(rows, columns)
        start = time.perf_counter()
        with closing(
            execute(self._block.inputs, solver.rule, pairs, solver.size)
        ) as chunks:
            for chunk in chunks:
                here = rows[chunk.start : chunk.stop], columns[chunk.start : chunk.stop]
                self._inner[here], self._sq_dist[here], _, *errors = chunk.values
                for error in errors:
                    of_chunk = Unconverged.of(error)
                    solver.unconverged = solver.unconverged.and_those(of_chunk)
                self.solved[here] = True
                solver.size = chunk.size
                solver.cost.add(len(here[0]), time.perf_counter() - start)
                self._report(before + chunk.stop)
                start = time.perf_counter()
        self._rank(rows, columns)
