"""The correlation of two measures over the pairs of an RSM of any size, App. E."""

import bisect
from collections.abc import Callable, Iterator
from typing import Any, NamedTuple

import jax
import numpy as np
from jax.typing import ArrayLike
from jaxtyping import Array, Float, Int
from numpy.typing import NDArray

from semrsm_jax import _checks
from semrsm_jax._representations import accumulation_dtype
from semrsm_jax.comparison.grouping import DROP, WITHIN, check_groups
from semrsm_jax.output_similarity.divergence import distributions, divergence_tile
from semrsm_jax.pairs.selection import batches

# Samples a side of the tiles in which pairs are taken.
_TILE = 512
# Values ranked or added up at a time.
_BLOCK = 2**20
# Below this share of the largest, two entries that mirror each other are equal.
_ASYMMETRY = 1e-3


class OutputCorrelation(NamedTuple):
    """How well similarity predicts how alike the outputs are.

    Attributes:
      pearson: Pearson's correlation over pairs, Table 1; NaN where the similarities or
        the divergences are all equal.
      spearman: Spearman's, Table 4; None where it was not asked for.
      pairs: over how many pairs.
    """

    pearson: float
    spearman: float | None
    pairs: int


def output_correlation(
    K: Any,
    p: ArrayLike,
    q: ArrayLike | None = None,
    *,
    from_logits: bool = False,
    negative: bool = False,
    triangle: bool = True,
    ranks: bool = True,
    groups: ArrayLike | None = None,
    within_groups: str = DROP,
    progress: Callable[[int, int], None] | None = None,
) -> OutputCorrelation:
    """Correlates similarity with the Jensen-Shannon divergence over pairs, Section 4.3.

    Everything is taken tile by tile. Pearson's correlation needs the memory of a tile.
    Spearman's is exact, and needs 8 bytes a pair (16 where `K` or the divergences are
    float64): 1.6 GB for the 200 million pairs of 20,000 samples.

    Args:
      K: RSM (N, N), or (N, M) with `q`: anything with ``shape``, ``dtype`` and rows by
        slices, such as an array of NumPy, JAX or zarr, a memory map, or the result of
        `semrsm_jax.store.open_similarity`.
      p: class probabilities (N, C) of the samples of the rows, or logits.
      q: class probabilities (M, C) of the samples of the columns, or logits; None: they
        are the same samples, and no pair is of a sample with itself.
      from_logits: `p` and `q` are logits, of which the softmax is taken.
      negative: correlate with minus the divergence, so that good is positive. In the
        paper, good is negative.
      triangle: where `q` is None, only pairs i < j count, which is all that a symmetric
        RSM holds. False counts all i != j, for matchers that are not symmetric.
      ranks: whether Spearman's correlation is wanted.
      groups: (N,) integers or text, equal for samples that depend on each other, as
        crops of one photograph do; only where `q` is None. None: those that `K` carries
        are not taken, all pairs count.
      within_groups: ``"drop"`` leaves pairs within a group out, ``"keep"`` counts them.
      progress: called as ``progress(done, total)``, in pairs, after each tile.

    Returns:
      The correlations, in float64.

    Raises:
      TypeError: an array is not real, or groups are neither integers nor text.
      ValueError: as `jensen_shannon_divergence`; shapes that do not fit, fewer than 2
        pairs, NaN or infinity in `K`, or with `triangle` an RSM that is not symmetric
        (of one read by rows, only tiles on the diagonal are compared);
        groups that are not one for each sample, or fewer than 2, or given with `q`.
    """
    K = _checks.with_shape(K)
    rows = distributions("p", p, from_logits, rank=2)
    columns = rows if q is None else distributions("q", q, from_logits, rank=2)
    _check_shapes(tuple(K.shape), rows.shape, columns.shape)
    itself, (n, m) = q is None, K.shape
    triangle = triangle and itself
    count = n * (n - 1) // 2 if triangle else n * (n - itself)
    count = count if itself else n * m
    _checks.one_of("within_groups", within_groups, WITHIN)
    members = None
    if groups is not None and within_groups == DROP:
        if not itself:
            raise ValueError("groups fit one set of samples, got two: leave q out")
        members, _ = check_groups(groups, n)
        assert members is not None
        sizes = np.bincount(members)
        count -= int((sizes * (sizes - 1)).sum()) // (1 + triangle)
    if count < 2:
        raise ValueError(
            f"K must hold at least 2 pairs that count, got {count} of shape "
            f"{tuple(K.shape)}"
        )
    dtype = np.result_type(accumulation_dtype(K.dtype), rows.dtype, columns.dtype)
    kept: NDArray[np.complexfloating] = np.empty(
        count if ranks else 0, np.result_type(dtype, np.complex64)
    )
    moments, done = _Moments(), 0
    for similarity, divergence in _tiles(K, rows, columns, itself, triangle, members):
        divergence = -divergence if negative else divergence
        moments.add(similarity, divergence)
        if ranks:
            kept.real[done : done + len(similarity)] = similarity
            kept.imag[done : done + len(similarity)] = divergence
        done += len(similarity)
        if progress is not None:
            progress(done, count)
    rank_correlation = _rank_correlation(kept) if ranks else None
    return OutputCorrelation(moments.correlation, rank_correlation, count)


def _check_shapes(shape: tuple, rows: tuple, columns: tuple) -> None:
    if rows[1] != columns[1]:
        raise ValueError(
            f"p and q must be over the same classes, got {rows[1]} and {columns[1]}"
        )
    if shape != (rows[0], columns[0]):
        raise ValueError(
            f"K must have shape {(rows[0], columns[0])}, samples by samples as p and q "
            f"have them, got {shape}"
        )


def _tiles(
    K: Any,
    rows: Array,
    columns: Array,
    itself: bool,
    triangle: bool,
    members: Int[np.ndarray, " N"] | None,
) -> Iterator[tuple[np.ndarray, np.ndarray]]:
    """Similarities and divergences of the pairs that count, tile by tile."""
    side = min(_TILE, max(K.shape))
    in_memory = isinstance(K, np.ndarray | jax.Array)
    for down in batches(K.shape[0], side):
        similarity = np.asarray(_checks.real_array_on_host("K", K[down]))
        _checks.finite("K", similarity)
        peak = np.abs(similarity).max()
        for across in batches(K.shape[1], side):
            if triangle and across.stop <= down.start:
                continue
            tile = similarity[:, across]
            counted = np.ones(tile.shape, bool)
            # What is read by rows would be read once more for other mirrored tiles.
            if triangle and (across == down or in_memory):
                mirrored = np.asarray(K[across, down]) if in_memory else tile
                _check_symmetric(tile, mirrored.T, peak)
            if itself and across == down:
                counted = np.tri(len(tile), dtype=bool).T if triangle else counted
                counted &= ~np.eye(len(tile), dtype=bool)
            if members is not None:
                counted &= members[down, None] != members[across]
            divergence = divergence_tile(
                _padded(rows, down, side), _padded(columns, across, side)
            )
            divergence = np.asarray(divergence)[: tile.shape[0], : tile.shape[1]]
            yield tile[counted], divergence[counted]


def _padded(values: Array, part: slice, side: int) -> Array:
    """Samples of a tile, the last one repeated: tiles of one size compile once."""
    return values[np.minimum(np.arange(part.start, part.start + side), part.stop - 1)]


def _check_symmetric(tile: np.ndarray, mirrored: np.ndarray, peak: float) -> None:
    if np.abs(tile - mirrored).max() > _ASYMMETRY * peak:
        raise ValueError(
            "K must be symmetric, as a matcher such as Greedy does not make it; "
            "triangle=False counts (i, j) and (j, i) apart"
        )


class _Moments:
    """Means and co-moments of pairs of values that come block by block.

    Blocks are merged as in Chan, Golub and LeVeque, "Updating formulae and a pairwise
    algorithm for computing sample variances", 1979: centered first, never as a
    difference of large sums.
    """

    def __init__(self) -> None:
        self.count = 0
        # Taken off all values, so that equal ones are exactly zero.
        self.origin = np.zeros(2)
        self.mean = np.zeros(2)
        self.products = np.zeros((2, 2))

    def add(self, a: np.ndarray, b: np.ndarray) -> None:
        for part in batches(len(a), _BLOCK):
            values = np.stack([a[part], b[part]]).astype(np.float64)
            if not self.count:
                self.origin = values[:, 0]
            values = values - self.origin[:, None]
            size = values.shape[1]
            mean = values.mean(axis=1)
            values -= mean[:, None]
            total, shift = self.count + size, mean - self.mean
            self.products += values @ values.T
            self.products += np.outer(shift, shift) * (self.count * size / total)
            self.mean += shift * (size / total)
            self.count = total

    @property
    def correlation(self) -> float:
        own = np.sqrt(np.diag(self.products))
        if not own.all():
            return float("nan")
        return float(self.products[0, 1] / own[0] / own[1])


def _rank_correlation(pairs: NDArray[np.complexfloating]) -> float:
    """Spearman's correlation of the real with the imaginary parts, which are lost.

    Complex numbers are sorted by their real parts, in place; so each part is ranked
    in turn without a list of indices, which would take as much memory again.
    """
    for _ in range(2):
        pairs.sort()
        _rank(pairs.real)
        for part in batches(len(pairs), _BLOCK):
            pairs[part] = pairs.imag[part] + 1j * pairs.real[part]
    moments = _Moments()
    moments.add(pairs.real, pairs.imag)
    return moments.correlation


def _rank(ascending: Float[np.ndarray, " n"]) -> None:
    """Replaces sorted values by twice their centered ranks, equal ones by the mean."""
    count, start = len(ascending), 0
    while start < count:
        stop = min(start + _BLOCK, count)
        # Equal values belong into one block.
        stop = bisect.bisect_right(ascending, ascending[stop - 1], stop - 1, count)
        block = ascending[start:stop]
        first = np.flatnonzero(np.r_[True, block[1:] != block[:-1]])
        end = np.r_[first[1:], len(block)]
        block[:] = np.repeat(2 * start + first + end - count, end - first)
        start = stop
