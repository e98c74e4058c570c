"""The forward auction, in 32-bit fixed point.

Rows bid for columns, one after the other (Gauss-Seidel), with epsilon scaling
(Bertsekas, "The auction algorithm", Annals of Operations Research 14, 1988). Integer
maxima vectorize and never round.

Axes: n rows by m columns with n <= m, and each row is matched.
"""

import math

import numpy as np
from numpy import ndarray

from semrsm_jax.matching._augment import jit
from semrsm_jax.matching._scans import BLOCK, CANDIDATES, LOW, list_candidates, scan

RANGE = 2.0**28  # fixed-point image of the largest row spread
FLOOR = -(2.0**29)  # entries further than this below their row's best are cut off
RESOLUTION = 4e6  # fixed-point units of the mean row spread that are always kept
FIRST_EPSILON = 0.02  # of the rows' typical spread
SHRINK = 20.0  # epsilon's division a phase
LISTS_FROM = 2560  # columns; below, a scan costs less than the making of lists
LIST_COST = 4  # of making a list, in scans of a row
# Scans (and bids between equally good columns) a row before augmenting paths take over;
# their cost a row grows with m * m at worst, so both limits do.
SCANS_PER_ROW, ENTRIES_PER_SCAN = 150, 2**13
TIES_PER_ROW, ENTRIES_PER_TIE = 50, 2**15


@jit
def _to_fixed_point(
    matrix: ndarray, rows: ndarray, top: ndarray, scale: float, fixed: ndarray
) -> int:
    """Write rows, less their maximum, as int32; the number that reach it twice."""
    m = matrix.shape[1]
    tied = 0
    for r in range(len(rows)):
        a = matrix[rows[r]]
        q = fixed[r]
        best = top[r]
        hits = np.int32(0)
        for j in range(m):
            x = (np.float64(a[j]) - best) * scale - 0.5  # the cast truncates
            q[j] = np.int32(x if x > FLOOR else FLOOR)
            hits += np.int32(q[j] == 0)
        for j in range(m, len(q)):
            q[j] = LOW
        if hits > 1:
            tied += 1
    return tied


@jit
def _bid_phase(
    fixed: ndarray,
    p: ndarray,
    row_of: ndarray,
    column_of: ndarray,
    epsilon: int,
    budget: int,
    ties: ndarray,
    work: tuple[ndarray, ...],
) -> int:
    """Match every row anew at one epsilon; return what it cost, in scans of a row.

    Ends early, with rows left open, past the budget or after too many bids between
    equally good columns, which raise prices only slowly.
    """
    columns, values, counts, thresholds, stack, block_max = work
    n = len(column_of)
    m = len(row_of)
    lists = len(counts) > 0
    row_of[:] = -1
    for i in range(n):
        stack[i] = n - 1 - i
        column_of[i] = -1
    free = n
    cost = 0
    while True:
        while free > 0:
            if cost >= budget or ties[0] < 0:
                return cost
            cost += 1
            i = stack[free - 1]
            first = second = LOW
            k1 = 0
            if lists:
                for _ in range(2):
                    first = LOW
                    second = thresholds[i]
                    for k in range(counts[i]):
                        x = np.int32(values[i, k] - p[columns[i, k]])
                        if x > first:
                            second = max(second, first)
                            first = x
                            k1 = k
                        elif x > second:
                            second = x
                    if counts[i] > 0 and first >= thresholds[i]:
                        break
                    counts[i], thresholds[i] = list_candidates(
                        fixed[i], p, block_max, columns[i], values[i]
                    )
                    cost += LIST_COST
                j = np.int64(columns[i, k1])
            else:
                j, first, second = scan(fixed[i], p)
            ties[0] -= first == second
            p[j] += first - second + epsilon
            evicted = row_of[j]
            row_of[j] = i
            column_of[i] = j
            if evicted >= 0:
                column_of[evicted] = -1
                stack[free - 1] = evicted
            else:
                free -= 1
        if n == m:
            return cost
        free = _absent_rows_bid(p, row_of, column_of, epsilon, stack)
        cost += m // 8
        if free == 0:
            return cost


@jit
def _absent_rows_bid(
    p: ndarray, row_of: ndarray, column_of: ndarray, epsilon: int, stack: ndarray
) -> int:
    """Let m - n rows that value all columns equally bid; the number of rows evicted.

    They stand for the columns that stay unmatched, which complementary slackness
    wants to be the cheapest ones. Being equal, they bid together: for the m - n
    cheapest columns, up to the price of the next.
    """
    m = len(row_of)
    left = m - len(column_of)
    level, above = np.int64(-1), np.int64(2**31 - 1)
    while above - level > 1:  # to the smallest level that more than m - n prices meet
        middle = np.int32((level + above) >> 1)
        count = np.int32(0)
        for j in range(m):
            count += np.int32(p[j] <= middle)
        if count > left:
            above = np.int64(middle)
        else:
            level = np.int64(middle)
    level = np.int32(above)
    for j in range(m):
        if row_of[j] < 0 and p[j] <= level:
            p[j] = level
            left -= 1
    free = 0
    for j in range(m):
        i = row_of[j]
        if left > 0 and i >= 0 and p[j] <= level:
            left -= 1
            row_of[j] = -1
            column_of[i] = -1
            p[j] = level + epsilon
            stack[free] = i
            free += 1
    return free


@jit
def auction(
    matrix: ndarray,
    rows: ndarray,
    top: ndarray,
    low: ndarray,
    tolerance: float,
    fixed: ndarray,
    column_of: ndarray,
    prices: ndarray,
) -> bool:
    """Match rows that are not constant; False if it was broken off.

    column_of and prices are then a start for augmenting paths.
    """
    n = len(rows)
    m = matrix.shape[1]
    spread = 0.0
    mean_spread = 0.0
    typical = 0.0  # the geometric mean, which outliers hardly move
    for r in range(n):
        spread = max(spread, top[r] - low[r])
        mean_spread += (top[r] - low[r]) / n
        typical += math.log2(top[r] - low[r]) / n
    # A power of two keeps integers exact. Where outliers would cost the resolution
    # that the tolerance needs, cut off what lies far below its row's best instead.
    scale = min(max(RANGE / spread, RESOLUTION / mean_spread), 1e300)
    scale = 2.0 ** math.floor(math.log2(scale))
    width = (m + BLOCK - 1) // BLOCK * BLOCK
    q = fixed[: n * width].reshape(n, width)
    if _to_fixed_point(matrix, rows, top, scale, q) > n // 2:
        return False  # ties raise prices slowly, and leave short augmenting paths

    p = np.zeros(width, np.int32)
    row_of = np.empty(m, np.int32)
    listed = n if m >= LISTS_FROM else 0
    thresholds = np.empty(listed, np.int32)
    work = (
        np.empty((listed, CANDIDATES), np.uint32),
        np.empty((listed, CANDIDATES), np.int32),
        np.zeros(listed, np.int64),
        thresholds,
        np.empty(n, np.int32),
        np.empty(width // BLOCK, np.int32),
    )
    epsilon = FIRST_EPSILON * 2.0**typical * scale
    budget = max(SCANS_PER_ROW, m * m // ENTRIES_PER_SCAN) * n
    ties = np.empty(1, np.int64)  # those still allowed
    ties[0] = max(TIES_PER_ROW, m * m // ENTRIES_PER_TIE) * n
    while True:
        step = np.int32(max(epsilon, 1.0))
        budget -= _bid_phase(q, p, row_of, column_of, step, budget, ties, work)
        lowest = p[0]
        for j in range(m):
            lowest = min(lowest, p[j])
        for j in range(m):
            p[j] -= lowest
            prices[j] = p[j] / scale
        for r in range(listed):
            thresholds[r] += lowest
        if ties[0] < 0:  # nothing is worth keeping
            prices[:] = 0.0
            column_of[:] = -1
        if budget <= 0 or ties[0] < 0:
            return False
        value = 0.0
        for r in range(n):
            value += matrix[rows[r], column_of[r]]
        goal = max(tolerance * abs(value) * scale / n, 1.0)
        if epsilon <= 1.25 * goal:
            return True
        epsilon = max(epsilon / SHRINK, goal)
