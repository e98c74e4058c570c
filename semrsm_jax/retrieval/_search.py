"""The neighbours of queries in a database of features, matching few of the pairs."""

import time
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import Any, NamedTuple

import jax.numpy as jnp
import numpy as np
from jax.typing import ArrayLike
from jaxtyping import Float, Int

from semrsm_jax import _checks
from semrsm_jax._kernels import Kernel, Linear
from semrsm_jax._representations import accumulation_dtype
from semrsm_jax._rows import Rows, part, watched
from semrsm_jax.engine import check_features
from semrsm_jax.matching.base import Matcher, check_matcher
from semrsm_jax.matching.bounds import DualBound
from semrsm_jax.matching.exact import Exact
from semrsm_jax.pairs import pair_statistics
from semrsm_jax.pairs.executor import PairInputs, Rule, pairs_in_flight
from semrsm_jax.pairs.selection import batches
from semrsm_jax.retrieval._bounds import Block, Dual, Gelbrich
from semrsm_jax.retrieval._cascade import Ranking, Solver, Stage
from semrsm_jax.retrieval._nearest import checked_rule, nearest
from semrsm_jax.retrieval._summaries import summarise
from semrsm_jax.retrieval.exclusion import Exclusion

# Queries, and pairs of them with a part of the database, that are held at a time.
_QUERIES, _PAIRS = 256, 2**22

_DUAL = DualBound(stride=8)

Progress = Callable[[int, int], None]


class BoundUse(NamedTuple):
    """What a bound was used for.

    Attributes:
      name: of the bound.
      pairs: that it was asked for.
      pruned: pairs that need no matching for its sake.
      seconds: that it took.
    """

    name: str
    pairs: int
    pruned: int
    seconds: float


class SearchResult(NamedTuple):
    """The most similar samples of each query, and what it took to find them.

    Attributes:
      index: (Q, k) int32, samples of the database, most similar first; -1 where fewer
        than k were allowed.
      similarity: (Q, k), as the kernel gives it; NaN where the index is -1.
      pairs: that were allowed to be neighbours.
      solved: how many of them were matched.
      seconds: of all.
      bounds: what each bound that was tried did.
    """

    index: Int[np.ndarray, "Q k"]
    similarity: Float[np.ndarray, "Q k"]
    pairs: int
    solved: int
    seconds: float
    bounds: tuple[BoundUse, ...]

    @property
    def solved_share(self) -> float:
        """The share of the allowed pairs that were matched; 0 where there is none."""
        return self.solved / self.pairs if self.pairs else 0.0


def search(
    queries: Any,
    database: Any,
    k: int = 5,
    *,
    matcher: Matcher = Exact(),
    kernel: Kernel = Linear(),
    exclude: ArrayLike | Exclusion | None = None,
    prune: bool | None = None,
    memory_budget: int | None = None,
    progress: Progress | None = None,
) -> SearchResult:
    """Finds the k samples of a database that are most similar to each query.

    That is the retrieval of Section 4.2, for databases of any size.

    With exact matching, most pairs need not be matched: proven upper bounds tell that
    they are no neighbours. The neighbours are those of the full computation, equal
    similarities in the order of the database. The matrix of all similarities is never
    held, and of the features no more than the pairs in flight.

    Three bounds follow each other. The first, for all pairs, takes mean tokens and
    norms alone (O(C)). The second takes second moments (Gelbrich's bound, O(C^3)), and
    the third an exact matching of every eighth token (`DualBound`). Whether these two
    are tried depends on S and C, and whether they go on being used on what they
    save, as measured, against their own time.

    Args:
      queries: representations (Q, S, C): an array, a `Rows`, which is read sample by
        sample, or `Features`, with a mask.
      database: (M, T, C), likewise.
      k: how many neighbours, at least 1.
      matcher: the rule that pairs the tokens. With any other than `Exact` every pair is
        matched.
      kernel: of the similarity. Linear, Cosine and RBF of a given bandwidth are pruned
        (RBF where all samples have as many tokens). Where a kernel is not ``monotone``,
        as RBF with a rule for its bandwidth, every pair is matched, and the statistics
        of all are held in memory.
      exclude: which samples may not be neighbours, a mask (Q, M) or a function, as in
        `nearest`: for example ``same_group(query_videos, database_videos)``.
      prune: None decides as said above. True tries every bound whatever it costs;
        False matches every pair.
      memory_budget: bytes that the pairs in flight may take, see `pair_statistics`.
      progress: called as ``progress(done, total)``, in pairs; those that were ruled out
        are done as well.

    Returns:
      The `SearchResult`.

    Raises:
      TypeError: as `pair_statistics`; or `k` is no integer.
      ValueError: as `pair_statistics`; or `k` is below 1, `exclude` does not fit, or
        samples that are read from a file changed during the search.

    Examples:
      >>> import numpy as np
      >>> from semrsm_jax import Cosine, search
      >>> database = np.random.default_rng(0).normal(size=(20, 16, 8)).astype("float32")
      >>> queries = database[[7, 3]][:, ::-1]  # with their tokens in another order
      >>> print(search(queries, database, k=1, kernel=Cosine()).index)
      [[7]
       [3]]
    """
    start = time.perf_counter()
    k = _checks.at_least("k", k, 1)
    if memory_budget is not None:
        memory_budget = _checks.at_least("memory_budget", memory_budget, 1)
    rule = Rule(check_matcher(matcher), None)
    x, y, shape = _inputs(queries, database, rule)
    excluded = checked_rule(exclude, shape)
    if not getattr(kernel, "monotone", False):
        found = _of_whole(x, y, k, rule, kernel, excluded, memory_budget, progress)
    else:
        prune = False if not isinstance(matcher, Exact) else prune
        job = _Job(x, y, k, rule, kernel, excluded, prune, memory_budget, progress)
        found = job.run()
    return found._replace(seconds=time.perf_counter() - start)


class _Input(NamedTuple):
    """Checked samples (N, S, C), read by slices, and their mask (N, S)."""

    rows: Any
    mask: np.ndarray | None

    def part(self, rows: slice) -> "_Input":
        held = isinstance(self.rows, np.ndarray)
        return _Input(
            self.rows[rows] if held else part(self.rows, rows.start, rows.stop),
            None if self.mask is None else self.mask[rows],
        )


def _inputs(
    queries: Any, database: Any, rule: Rule
) -> tuple[_Input, _Input, tuple[int, int]]:
    x, y = _input("queries", queries), _input("database", database)
    if x.rows.shape[2] != y.rows.shape[2]:
        raise ValueError(
            "queries and database must have the same channels, got "
            f"{x.rows.shape[2]} and {y.rows.shape[2]}"
        )
    rule.matcher.validate(x.rows.shape, y.rows.shape)
    return x, y, (x.rows.shape[0], y.rows.shape[0])


def _input(name: str, given: Any) -> _Input:
    features = check_features(name, given)
    rows, mask = features.rows, features.mask
    return _Input(
        watched(name, rows) if isinstance(rows, Rows) else rows,
        None if mask is None else np.asarray(mask),
    )


def _samples(x: _Input, y: _Input) -> PairInputs:
    masks = (None if side.mask is None else jnp.asarray(side.mask) for side in (x, y))
    return PairInputs(x.rows, y.rows, *masks)


@dataclass(frozen=True, eq=False)
class _Job:
    """A search by a monotone kernel; see `search`."""

    x: _Input
    y: _Input
    k: int
    rule: Rule
    kernel: Kernel
    excluded: Exclusion
    prune: bool | None
    memory_budget: int | None
    progress: Progress | None

    def run(self) -> SearchResult:
        """Goes through queries and database, block by block."""
        count, others = self.x.rows.shape[0], self.y.rows.shape[0]
        whole = _samples(self.x, self.y)
        x = summarise("queries", self.x.rows, self.x.mask, whole.dtype)
        y = summarise("database", self.y.rows, self.y.mask, whole.dtype)
        most = pairs_in_flight(
            self.x.rows.shape,
            self.y.rows.shape,
            whole.dtype,
            self.rule,
            self.memory_budget,
        )
        # As few chunks as will do, nearly full.
        chunk = -(-count * others // -(-count * others // most))
        stages = [Stage(Gelbrich.name), Stage(Dual.name)]
        solving, decided, allowed, index, similarity = Stage("matching"), 0, 0, [], []

        def report(ruled_out: int, solved: int) -> None:
            if self.progress is not None:
                self.progress(ruled_out + solved, count * others)

        for rows in batches(count, _QUERIES):
            best = _Best.none(rows.stop - rows.start, self.k, whole.dtype)
            for columns in batches(others, max(1, _PAIRS // len(best.index))):
                excluded = self.excluded(np.arange(rows.start, rows.stop))
                excluded = np.asarray(excluded)[:, columns]
                block = Block(
                    _samples(self.x.part(rows), self.y.part(columns)),
                    x.part(rows),
                    y.part(columns),
                )
                here = partial(report, decided - solving.pairs)
                solver = Solver(self.rule, chunk, solving, here)
                ranking = Ranking(block, self.kernel, excluded, best.similarity)
                if self.prune is False:
                    ranking.solve_all(solver)
                else:
                    bounds = Gelbrich(block), Dual(block, _DUAL)
                    stages_here = list(zip(bounds, stages, strict=True))
                    ranking.search(stages_here, solver, self.prune is True)
                best = best.with_(ranking, columns.start, excluded)
                allowed += int((~excluded).sum())
                decided += excluded.size
                report(decided, 0)
            index.append(best.index)
            similarity.append(best.similarity)
        found = np.concatenate(similarity)
        return SearchResult(
            np.concatenate(index),
            np.where(np.isneginf(found), np.nan, found),
            allowed,
            solving.pairs,
            0.0,
            tuple(
                BoundUse(stage.name, stage.pairs, stage.pruned, stage.seconds)
                for stage in stages
                if stage.pairs
            ),
        )


class _Best(NamedTuple):
    """The best neighbours so far: -1 and -inf where there are fewer than k."""

    index: Int[np.ndarray, "n k"]
    similarity: Float[np.ndarray, "n k"]

    @classmethod
    def none(cls, queries: int, k: int, dtype: Any) -> "_Best":
        similarity = np.full((queries, k), -np.inf, accumulation_dtype(dtype))
        return cls(np.full((queries, k), -1, np.int32), similarity)

    def with_(self, ranking: Ranking, first: int, excluded: np.ndarray) -> "_Best":
        """The best of these and of a later part of the database."""
        found = np.where(ranking.solved & ~excluded, ranking.similarity, -np.inf)
        similarity = np.concatenate([self.similarity, found], axis=1)
        numbers = first + np.arange(found.shape[1], dtype=np.int32)
        index = np.where(np.isneginf(found), -1, numbers)
        index = np.concatenate([self.index, index], axis=1, dtype=np.int32)
        # Stable: of equal ones the lower number, which stands further left.
        order = np.argsort(-similarity, axis=1, kind="stable")[:, : self.index.shape[1]]
        return _Best(
            np.take_along_axis(index, order, 1),
            np.take_along_axis(similarity, order, 1),
        )


def _of_whole(
    x: _Input,
    y: _Input,
    k: int,
    rule: Rule,
    kernel: Kernel,
    excluded: Exclusion,
    memory_budget: int | None,
    progress: Progress | None,
) -> SearchResult:
    """Every pair is matched, for kernels that must see all of them."""
    stats = pair_statistics(
        x.rows,
        y.rows,
        rule.matcher,
        x_mask=x.mask,
        y_mask=y.mask,
        memory_budget=memory_budget,
        progress=progress,
    )
    found = nearest(np.asarray(kernel(stats)), k, excluded)
    pairs = stats.inner.size
    return SearchResult(
        np.asarray(found.index), np.asarray(found.similarity), pairs, pairs, 0.0, ()
    )
