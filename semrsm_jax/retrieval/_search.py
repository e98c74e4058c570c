"""The neighbors of queries in a database of features, matching few of the pairs."""

import time
from collections.abc import Callable
from typing import Any, NamedTuple

import jax.numpy as jnp
import numpy as np
from jax.typing import ArrayLike
from jaxtyping import Float, Int

from semrsm_jax import _checks
from semrsm_jax._kernels import Kernel, Linear
from semrsm_jax._representations import accumulation_dtype
from semrsm_jax._rows import Rows, watched
from semrsm_jax.engine import Features, check_features
from semrsm_jax.matching.base import Matcher, check_matcher
from semrsm_jax.matching.bounds import DualBound
from semrsm_jax.matching.exact import Exact
from semrsm_jax.matching.results import Unconverged, warn_unconverged
from semrsm_jax.pairs.chunk_size import pairs_in_flight
from semrsm_jax.pairs.executor import PairInputs, Rule
from semrsm_jax.pairs.selection import Pairs, batches
from semrsm_jax.pairs.statistics import statistics_up_to_scale
from semrsm_jax.retrieval._bounds import Dual, Gelbrich, SearchBlock, summarize
from semrsm_jax.retrieval._cascade import Cost, Ranking, Solver
from semrsm_jax.retrieval._nearest import Neighbors, checked_rule, nearest
from semrsm_jax.retrieval.exclusion import Exclusion

# Queries, and pairs of them with a part of the database, that are held at a time.
_QUERIES, _PAIRS = 256, 2**22

_DUAL = DualBound(stride=8)

Progress = Callable[[int, int], None]


class BoundUse(NamedTuple):
    """What a bound was used for.

    Attributes:
      name: the name of the bound.
      pairs: the pairs that it was computed for.
      pruned: the pairs that need no matching because of it.
      seconds: the time that it took.
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
      similarity: (Q, k), the kernel's values; NaN where the index is -1.
      pairs: the pairs that were allowed to be neighbors.
      solved: how many of these pairs were matched.
      seconds: the time of the whole search.
      bounds: the use of each bound that was tried.
      query_ids: names of the queries; None where they have none.
      database_ids: names of the database's samples; None where they have none.
      unconverged: the soft matchings that did not converge: how many ``pairs``, their
        largest ``error``, as `PairStatistics.column_error`, and ``of_pairs``.
    """

    index: Int[np.ndarray, "Q k"]
    similarity: Float[np.ndarray, "Q k"]
    pairs: int
    solved: int
    seconds: float
    bounds: tuple[BoundUse, ...]
    query_ids: tuple[str, ...] | None = None
    database_ids: tuple[str, ...] | None = None
    unconverged: Unconverged = Unconverged()

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

    With exact matching, most pairs need not be matched: proven upper bounds show that
    they are not neighbors. The neighbors are those of the full computation, equal
    similarities in the order of the database. The matrix of all similarities is never
    held, and of the features no more than the pairs in flight.

    Three bounds follow each other. The first, for all pairs, uses mean tokens and norms
    (O(C)). The second uses second moments (Gelbrich's bound, O(C^3)), the third an
    exact matching of every eighth token (`DualBound`). Whether these two are tried
    depends on S and C; whether they are used further, on the time that they save and
    take, as measured.

    Args:
      queries: representations (Q, S, C): an array, a `Rows`, which is read sample by
        sample, or `Features`, with a mask.
      database: representations (M, T, C): an array, a `Rows` or `Features`.
      k: the number of neighbors, at least 1.
      matcher: the rule that pairs the tokens. With any other than `Exact` every pair is
        matched.
      kernel: the similarity of matched representations. Linear, Cosine and RBF of a
        given bandwidth are pruned (RBF where all samples have as many tokens). Where a
        kernel is not ``monotone``, as RBF with a rule for its bandwidth, every pair is
        matched, and the statistics of all are held in memory.
      exclude: which samples may not be neighbors, a mask (Q, M) or a function, as in
        `nearest`: for example ``same_group(query_videos, database_videos)``.
      prune: None decides as described above. True tries every bound at any cost; False
        matches every pair.
      memory_budget: bytes that the pairs in flight may take, see `pair_statistics`.
        Where memory runs out all the same, the search goes on with half as many pairs.
      progress: called as ``progress(done, total)``, in pairs, matched or ruled out.

    Returns:
      The `SearchResult`.

    Raises:
      TypeError: as `pair_statistics`; or `k` is not an integer.
      ValueError: as `pair_statistics`; or `k` is below 1, `exclude` does not fit, or
        samples that are read from a file changed during the search.

    Warns:
      RuntimeWarning: pairs of a soft matching did not converge.

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
    rule = Rule(check_matcher(matcher))
    inputs = _inputs(queries, database)
    shapes = inputs.x.shape, inputs.y.shape
    matcher.validate(*shapes)
    excluded = checked_rule(exclude, (len(inputs.x), len(inputs.y)))
    if getattr(kernel, "monotone", False):
        prune = prune if isinstance(matcher, Exact) else False
        size = pairs_in_flight(
            *shapes, inputs.dtype, rule, memory_budget, long=prune is False
        )
        result = _by_blocks(inputs, k, rule, size, kernel, excluded, prune, progress)
    else:
        result = _by_statistics(
            inputs, k, rule, kernel, excluded, memory_budget, progress
        )
    warn_unconverged(result.unconverged)
    query_ids, database_ids = (
        None if not isinstance(side, Features) or side.ids is None else tuple(side.ids)
        for side in (queries, database)
    )
    return result._replace(
        seconds=time.perf_counter() - start,
        query_ids=query_ids,
        database_ids=database_ids,
    )


def _inputs(queries: Any, database: Any) -> PairInputs:
    """Checked features; of files each reading is compared with the first one."""
    sides, masks = [], []
    for name, given in (("queries", queries), ("database", database)):
        features = check_features(name, given)
        rows, mask = features.rows, features.mask
        sides.append(watched(name, rows) if isinstance(rows, Rows) else rows)
        masks.append(None if mask is None else jnp.asarray(mask))
    _checks.same_channels("queries and database", *sides)
    return PairInputs(*sides, *masks)


def _by_blocks(
    inputs: PairInputs,
    k: int,
    rule: Rule,
    size: int,
    kernel: Kernel,
    excluded: Exclusion,
    prune: bool | None,
    progress: Progress | None,
) -> SearchResult:
    """The search by a monotone kernel, block by block of queries and database."""
    count, others = len(inputs.x), len(inputs.y)
    x = summarize("queries", inputs.x, inputs.x_mask, inputs.dtype)
    y = summarize("database", inputs.y, inputs.y_mask, inputs.dtype)
    # As few chunks as will do, nearly full.
    solver = Solver(rule, Pairs(count, others, False, True).chunk_size(size))
    costs = [Cost(Gelbrich.name), Cost(Dual.name)]
    decided, allowed, best = 0, 0, []

    def report(solved: int) -> None:
        if progress is not None:
            progress(decided + solved, count * others)

    for rows in batches(count, _QUERIES):
        nothing = np.full((rows.stop - rows.start, k), -1, np.int32)
        similarity = np.full(nothing.shape, -np.inf, accumulation_dtype(inputs.dtype))
        here = Neighbors(nothing, similarity)
        for columns in batches(others, max(1, _PAIRS // len(nothing))):
            mask = np.asarray(excluded(np.arange(rows.start, rows.stop)))[:, columns]
            block = SearchBlock(
                inputs.part(rows, columns), x.part(rows), y.part(columns)
            )
            known = np.asarray(here.similarity)
            ranking = Ranking(block, kernel, mask, known, solver, report)
            if prune is False:
                ranking.solve_all()
            else:
                bounds = Gelbrich(block), Dual(block, _DUAL)
                ranking.search(list(zip(bounds, costs, strict=True)), prune is True)
            here = _merged(here, ranking, columns.start, mask)
            allowed += int((~mask).sum())
            decided += mask.size
            report(0)
        best.append(here)
    index, similarity = (np.concatenate(part) for part in zip(*best, strict=True))
    return SearchResult(
        index,
        np.where(np.isneginf(similarity), np.nan, similarity),
        allowed,
        solver.cost.pairs,
        0.0,
        tuple(
            BoundUse(cost.name, cost.pairs, cost.pruned, cost.seconds)
            for cost in costs
            if cost.pairs
        ),
        unconverged=solver.unconverged,
    )


def _merged(
    best: Neighbors, ranking: Ranking, first: int, excluded: np.ndarray
) -> Neighbors:
    """The best of these and of a later part of the database; -1, -inf where none."""
    similarity = np.where(ranking.solved & ~excluded, ranking.similarity, -np.inf)
    numbers = first + np.arange(similarity.shape[1], dtype=np.int32)
    index = np.where(np.isneginf(similarity), np.int32(-1), numbers)
    index = np.concatenate([best.index, index], axis=1)
    similarity = np.concatenate([best.similarity, similarity], axis=1)
    # Stable: of equal ones the lower number, which stands further left.
    order = np.argsort(-similarity, axis=1, kind="stable")[:, : best.index.shape[1]]
    return Neighbors(*(np.take_along_axis(a, order, 1) for a in (index, similarity)))


def _by_statistics(
    inputs: PairInputs,
    k: int,
    rule: Rule,
    kernel: Kernel,
    excluded: Exclusion,
    memory_budget: int | None,
    progress: Progress | None,
) -> SearchResult:
    """The search by a kernel that needs the statistics of all pairs."""
    stats, unconverged = statistics_up_to_scale(
        None,
        inputs.x,
        inputs.y,
        rule.matcher,
        x_mask=inputs.x_mask,
        y_mask=inputs.y_mask,
        memory_budget=memory_budget,
        progress=progress,
    )
    index, similarity = map(np.asarray, nearest(np.asarray(kernel(stats)), k, excluded))
    pairs = int(np.sum(~np.asarray(excluded(np.arange(len(inputs.x))))))
    return SearchResult(
        index, similarity, pairs, pairs, 0.0, (), unconverged=unconverged
    )
