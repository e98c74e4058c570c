"""Exact assignment by a fixed-point auction that proves its own answer.

Forward auction with epsilon scaling (Bertsekas, "The auction algorithm", Annals of
Operations Research 14, 1988) on a 32-bit fixed-point copy of the matrix, because
integer maxima vectorize and never round. The column prices that it ends with are a
dual solution; they are evaluated in float64 on the original matrix, so every answer
carries a bound. What the auction leaves open within its budget is finished by
shortest augmenting paths (`_augment`).

Axes: B pairs, S rows, T columns. Inside the solver a problem has n rows and m columns
with n <= m, and every row is matched. Profits are row entries less column prices.
"""

import itertools
from concurrent.futures import ThreadPoolExecutor
from types import SimpleNamespace
from typing import Any, NamedTuple

import numpy as np
from numpy import ndarray

from semrsm_jax._resources import cores
from semrsm_jax.matching._augment import (
    augment,
    copy_valid,
    dual_bound,
    inner_jit,
    jit,
    profits,
    row_ranges,
)
from semrsm_jax.matching._bidding import NARROW_FROM, auction
from semrsm_jax.matching._repeats import repeats
from semrsm_jax.matching._scans import BLOCK

ENTRIES_PER_CALL = 65536  # small pairs are handed to a worker several at a time


class HostSolution(NamedTuple):
    """Assignments of B pairs, each with its proof.

    Attributes:
        permutation: int32 (B, S), the column of each row, -1 where it is unmatched.
        upper_bound: float64 (B,), no matching of the pair exceeds it; NaN where the
            affinity holds a non-finite entry.
        prices: float64 (B, T), the columns' dual prices: at least 0 where fewer rows
            than columns are valid; absent columns have 0.
    """

    permutation: ndarray
    upper_bound: ndarray
    prices: ndarray


@inner_jit
def _solve_wide(
    matrix: ndarray,
    rows: ndarray,
    tolerance: float,
    repeated: bool,
    fixed: ndarray,
    narrow: ndarray | None,
    column_of: ndarray,
    prices: ndarray,
) -> float:
    """Match all of n <= m rows; the bound, or NaN if an entry is not finite."""
    n = len(rows)
    top = np.empty(n)
    low = np.empty(n)
    if not row_ranges(matrix, rows, top, low):
        return np.nan
    # A constant row (a zero token) takes a column that the others leave.
    busy = np.empty(n, np.int64)
    live = np.empty(n, np.int64)
    constant = 0.0
    count = 0
    for r in range(n):
        if top[r] > low[r]:
            busy[count], top[count], low[count] = rows[r], top[r], low[r]
            live[count] = r
            count += 1
        else:
            constant += top[r]
    busy, top, low = busy[:count], top[:count], low[:count]
    bound = 0.0
    if count > 0:
        matched = np.full(count, -1, np.int32)
        complete = auction(
            matrix, busy, top, low, tolerance, repeated, fixed, narrow, matched, prices
        )
        allowed = tolerance * abs(top.sum() + constant)
        rounding = np.finfo(matrix.dtype).eps if tolerance > 0.0 else 0.0
        attempt = 0
        while True:
            if complete:
                bound, value, magnitude = dual_bound(matrix, busy, matched, prices)
                value += constant
                allowed = max(tolerance * abs(value), rounding * magnitude)
                if attempt == 2 or (attempt == 1 and tolerance == 0.0):
                    break
                if tolerance > 0.0 and bound + constant - value <= allowed:
                    break
            slack = 0.5 * allowed / count if attempt == 0 else 0.0
            augment(matrix, busy, prices, matched, slack)
            complete = True
            attempt += 1
        for r in range(count):
            column_of[live[r]] = matched[r]
    taken = np.zeros(len(prices), np.bool_)
    for r in range(n):
        if column_of[r] >= 0:
            taken[column_of[r]] = True
    j = 0
    for r in range(n):
        if column_of[r] < 0:
            while taken[j]:
                j += 1
            column_of[r] = j
            j += 1
    return bound + constant


@jit
def _solve_range(
    affinity: ndarray,
    row_mask: ndarray,
    column_mask: ndarray,
    begin: int,
    end: int,
    tolerance: float,
    fixed: ndarray,
    narrow: ndarray | None,
    permutation: ndarray,
    bound: ndarray,
    prices: ndarray,
) -> None:
    """Solve the pairs begin..end in one call, without the GIL."""
    for b in range(begin, end):
        matrix = affinity[b]
        rows = _valid(row_mask[b])
        columns = _valid(column_mask[b])
        equal_columns, equal_rows = repeats(matrix, rows)
        wide = len(rows) <= len(columns)
        if len(rows) == len(columns) and equal_columns > 2 * equal_rows:
            wide = False  # rows that repeat gain more
        chosen = rows
        if not wide or len(columns) < matrix.shape[1]:
            matrix = copy_valid(matrix, rows, columns, not wide)
            chosen = np.arange(len(matrix))
        column_of = np.full(len(chosen), -1, np.int32)
        dual = np.zeros(matrix.shape[1])
        repeated = equal_columns + equal_rows > 0
        bound[b] = _solve_wide(
            matrix, chosen, tolerance, repeated, fixed, narrow, column_of, dual
        )
        if np.isnan(bound[b]):
            continue
        for r in range(len(column_of)):
            if wide:
                permutation[b, rows[r]] = columns[column_of[r]]
            else:
                permutation[b, rows[column_of[r]]] = columns[r]
        if not wide:  # transposed, so the columns' prices are the profits
            profit = np.empty(len(columns))
            profits(matrix, chosen, dual, profit)
            dual = profit
        for c in range(len(columns)):
            prices[b, columns[c]] = dual[c]


@inner_jit
def _valid(mask: ndarray) -> ndarray:
    """Indices of the True entries."""
    indices = np.empty(len(mask), np.int64)
    count = 0
    for i in range(len(mask)):
        indices[count] = i
        count += mask[i]
    return indices[:count]


def solve(
    affinity: ndarray,
    row_mask: ndarray | None = None,
    column_mask: ndarray | None = None,
    *,
    tolerance: float = 1e-6,
    spaces: list[ndarray] | None = None,
) -> HostSolution:
    """Match the rows and columns of each pair so that the affinity is largest.

    As in `scipy.optimize.linear_sum_assignment`, min(valid rows, valid columns) pairs
    are matched, even at negative affinity. The answer to a matrix does not depend on
    its place in the batch nor on the number of threads.

    Args:
        affinity: float32 or float64 (B, S, T), C-contiguous or it is copied. A pair
            with a non-finite valid entry gets -1 throughout and a NaN bound.
        row_mask: bool (B, S), False where a row is absent.
        column_mask: bool (B, T), False where a column is absent.
        tolerance: the largest (upper_bound - value) / |value|, where value is the
            float64 sum of the matched entries; rounding in the dtype of affinity also
            serves. 0.0 asks for the optimum, to rounding in float64.
        spaces: int32 arrays of earlier calls, to be used again; None keeps none.

    Returns:
        The permutations, bounds and prices.
    """
    pairs, s, t = affinity.shape
    row_mask = np.ones((pairs, s), np.bool_) if row_mask is None else row_mask
    column_mask = np.ones((pairs, t), np.bool_) if column_mask is None else column_mask
    masks, threads = (_plain(row_mask), _plain(column_mask)), cores()
    solution = HostSolution(
        np.full((pairs, s), -1, np.int32), np.empty(pairs), np.zeros((pairs, t))
    )
    affinity = _plain(affinity)
    wide, narrow = max(s, t), min(s, t)
    workspace = narrow * (wide + BLOCK)
    # A worker takes pairs as it becomes free, several small ones at a time.
    chunk = max(1, min(pairs // (4 * threads), ENTRIES_PER_CALL // (workspace + 1)))
    starts = itertools.count(0, chunk)

    spaces = [] if spaces is None else spaces

    def work() -> None:
        fixed = spaces.pop() if spaces else np.empty(0, np.int32)
        if len(fixed) < workspace:
            fixed = np.empty(workspace, np.int32)
        # Compiled where it is needed: it takes seconds.
        narrow = fixed.view(np.int16) if wide >= NARROW_FROM else None
        while (begin := next(starts)) < pairs:
            end = min(begin + chunk, pairs)
            _solve_range(
                affinity, *masks, begin, end, tolerance, fixed, narrow, *solution
            )
        spaces.append(fixed)

    helpers = min(threads, -(-pairs // chunk)) - 1
    if helpers < 1:
        work()
        return solution
    with ThreadPoolExecutor(helpers) as pool:
        futures = [pool.submit(work) for _ in range(helpers)]
        work()
        for future in futures:
            future.result()
    return solution


def _plain(array: ndarray) -> ndarray:
    """A contiguous array of one writability, for which Numba compiles one variant.

    The solver writes into none of them; copies of masked and transposed pairs, which
    are writable, share its code.
    """
    array = np.ascontiguousarray(array)
    if array.flags.writeable:
        return array
    interface: dict[str, Any] = dict(array.__array_interface__)
    interface["data"] = (interface["data"][0], False)
    return np.asarray(SimpleNamespace(__array_interface__=interface, array=array))
