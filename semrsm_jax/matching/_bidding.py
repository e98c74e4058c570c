"""The forward auction in fixed point, of 32 bits, early phases of 16.

Rows bid for columns, one after the other (Gauss-Seidel), with epsilon scaling
(Bertsekas, "The auction algorithm", Annals of Operations Research 14, 1988). Integer
maxima vectorize and never round.

Axes: n rows by m columns with n <= m, and each row is matched.
"""

import math

import numpy as np
from numpy import ndarray

from semrsm_jax.matching._augment import inner_jit
from semrsm_jax.matching._joint_bids import set_class_price
from semrsm_jax.matching._lists import CANDIDATES
from semrsm_jax.matching._phase import bid_phase
from semrsm_jax.matching._repeats import equal_columns, equal_rows
from semrsm_jax.matching._scans import BLOCK, below, floor_of

RANGE = 2.0**28  # fixed-point image of the largest row spread
NARROW_RANGE = 2.0**14  # the same in 16 bits
# Columns. Below, reading them is not what a scan costs; above, 16 bits cannot number
# them (`_scans`), with the last block filled up.
NARROW_FROM, NARROW_TO = 1024, 2**15 - BLOCK
NARROW_EPSILON = 1.5  # the smallest in 16 bits
RESOLUTION = 4e6  # fixed-point units of the mean row spread that are always kept
FIRST_EPSILON = 0.01  # of the rows' typical spread
NARROW_FIRST_EPSILON = 0.02  # in 16 bits, where another phase follows
SAMPLED_ROWS = 128  # at least, from which the first prices are
SHRINK = 20.0  # epsilon's division a phase
LISTS_FROM = 2560  # columns; below, a scan costs less than the making of lists
LEAST_DIFFERENCE = 2.0**-16  # of a row's spread, by which classes differ at least
EQUAL = 4  # roundings by which repeated entries differ at most
# Scans (and bids between equally good columns) a row before augmenting paths take over;
# their cost a row grows with m * m at worst, so both limits do.
SCANS_PER_ROW, ENTRIES_PER_SCAN = 150, 2**13
TIES_PER_ROW, ENTRIES_PER_TIE = 50, 2**15


@inner_jit
def _set_first_prices(
    matrix: ndarray, rows: ndarray, spreads: ndarray, typical: float, prices: ndarray
) -> None:
    """Set prices at which all columns are as good for the mean row.

    What all rows want needs no bids then. The mean is that of some rows, each weighted
    so that none counts more than the typical one, and of absent rows, which want all
    columns equally. No two prices differ by more than the typical spread.
    """
    n, m = len(rows), len(prices)
    step = max(1, n // SAMPLED_ROWS)
    share = n / (m * len(range(0, n, step)))
    for r in range(0, n, step):
        a = matrix[rows[r]]
        weight = share * min(1.0, typical / spreads[r])
        for j in range(m):
            prices[j] += weight * a[j]
    prices -= prices.min()


@inner_jit
def _to_fixed_point(
    matrix: ndarray,
    rows: ndarray,
    top: ndarray,
    scale: float,
    order: ndarray,
    begin: ndarray,
    fixed: ndarray,
) -> int:
    """Write rows, less their maximum, as integers; the number that reach it twice.

    Of each class of columns the first, where there are classes.
    """
    classes = len(begin) - 1
    low = below(fixed)
    m = classes if classes > 0 else matrix.shape[1]
    picked = np.empty(max(classes, 0), matrix.dtype)
    tied = 0
    for r in range(len(rows)):
        for j in range(classes):
            picked[j] = matrix[rows[r], order[begin[j]]]
        if classes > 0:
            hits = _fix_row(picked, top[r], scale, fixed[r])
        else:
            hits = _fix_row(matrix[rows[r]], top[r], scale, fixed[r])
        for j in range(m, fixed.shape[1]):
            fixed[r, j] = low
        tied += hits > 1
    return tied


@inner_jit
def _fix_row(a: ndarray, best: float, scale: float, q: ndarray) -> np.int32:
    hits = np.int32(0)
    floor = np.float64(floor_of(q))
    for j in range(len(a)):
        x = (np.float64(a[j]) - best) * scale - 0.5  # the cast truncates
        q[j] = q.dtype.type(np.int32(x if x > floor else floor))
        hits += np.int32(q[j] == 0)
    return hits


@inner_jit
def _phases(
    problem: tuple[ndarray, ...],
    groups: tuple[ndarray, ...] | None,
    q: ndarray,
    scale: float,
    epsilons: tuple[float, float],
    aim: float,
    budget: int,
    column_of: ndarray,
    prices: ndarray,
) -> tuple[float, int]:
    """Phases in the dtype of q, a space for the fixed-point copy, from earlier prices.

    Epsilon falls from the first to the second of `epsilons`, or to what `aim`, the
    tolerance, needs.

    Returns:
      The epsilon to go on with: 0 where `aim` was met, negative where all rows are open
      again, the last one where a price left the range of the dtype; and the budget
      left.
    """
    matrix, rows, top, order, begin = problem
    n = len(rows)
    m = matrix.shape[1]
    count = len(begin) - 1 if len(begin) > 0 else m
    epsilon, finest = epsilons
    if _to_fixed_point(matrix, rows, top, scale, order, begin, q) > n // 2:
        # Ties raise prices slowly, and leave short augmenting paths.
        column_of[:] = -1
        return -epsilon, budget
    p = np.zeros(q.shape[1], q.dtype)
    slot_prices = np.zeros(m, q.dtype) if len(begin) > 0 else p[:m]
    for s in range(m):
        slot_prices[s] = np.int64(prices[order[s] if len(order) > 0 else s] * scale)
    for j in range(len(begin) - 1):
        set_class_price(j, begin, slot_prices, p)
    row_of = np.empty(m, np.int32)
    # In 16 bits a scan takes less time than the making of a list.
    listed = n if count >= LISTS_FROM and q.itemsize == 4 else 0
    thresholds = np.empty(listed, q.dtype)
    lists = (
        np.empty((listed, CANDIDATES), np.uint32),
        np.empty((listed, CANDIDATES), q.dtype),
        np.zeros(listed, np.int64),
        thresholds,
        np.empty(q.shape[1] // BLOCK, q.dtype),
    )
    line = (np.empty(n + 1, np.int32), np.empty(n + 1, np.bool_))
    left = np.zeros(2, np.int64)  # bids between equally good columns; out of range
    left[0] = max(TIES_PER_ROW, m * m // ENTRIES_PER_TIE) * n
    slot_of = np.empty(n + 1, np.int32)
    slots = (begin, slot_prices, row_of, slot_of)
    while True:
        step = np.int32(max(epsilon * scale, 1.0))
        budget -= bid_phase(q, p, slots, groups, step, budget, left, lists, line)
        lowest = p[0]
        for j in range(count):
            lowest = min(lowest, p[j])
        for j in range(count):
            p[j] -= lowest
        for j in range(len(begin) - 1):
            for s in range(begin[j], begin[j + 1]):
                slot_prices[s] = p[j]
        for r in range(listed):
            thresholds[r] += lowest
        if left[0] < 0:  # no match is worth keeping
            column_of[:] = -1
            return -epsilon, budget
        value = 0.0
        for r in range(n):
            column_of[r] = slot_of[r]
            if slot_of[r] >= 0:
                column_of[r] = order[slot_of[r]] if len(order) > 0 else slot_of[r]
                value += float(matrix[rows[r], column_of[r]])
        goal = aim * abs(value) / n
        if finest == 0.0:
            goal = max(goal, 1.0 / scale)
        if budget <= 0 or left[1] or epsilon <= 1.25 * goal:
            following = epsilon if left[1] else 0.0
            break
        following = max(epsilon / SHRINK, goal)
        if following < finest:
            break
        epsilon = following
    for s in range(m):
        prices[order[s] if len(order) > 0 else s] = slot_prices[s] / scale
    return following, budget


@inner_jit
def auction(
    matrix: ndarray,
    rows: ndarray,
    top: ndarray,
    low: ndarray,
    tolerance: float,
    repeats: bool,
    fixed: ndarray,
    narrow: ndarray | None,
    column_of: ndarray,
    prices: ndarray,
) -> bool:
    """Match rows that are not constant; False if it was broken off.

    `repeats` tells whether rows or columns may repeat others. `fixed` is a space of 32
    bits, `narrow` the same of 16, or None, which leaves its phases out of the compiled
    code. The prices are 0 before. column_of and prices are a start for augmenting paths
    where it was broken off.
    """
    n = len(rows)
    m = matrix.shape[1]
    spreads = top - low
    spread = 0.0
    mean_spread = 0.0
    typical = 0.0  # the geometric mean, which outliers hardly move
    for r in range(n):
        spread = max(spread, spreads[r])
        mean_spread += spreads[r] / n
        typical += math.log2(spreads[r]) / n
    # A power of two keeps integers exact. Where outliers would cost the resolution
    # that the tolerance needs, cut off what lies far below its row's best instead.
    scale = min(max(RANGE / spread, RESOLUTION / mean_spread), 1e300)
    scale = 2.0 ** math.floor(math.log2(scale))
    order = begin = np.empty(0, np.int32)
    groups = (order, order, order)
    aim = tolerance
    if repeats:
        # What the tolerance leaves to the rounding of repeated entries.
        share = min(0.5 * tolerance, EQUAL * np.finfo(matrix.dtype).eps)
        slack = np.empty(n)
        for r in range(n):
            least = LEAST_DIFFERENCE * (top[r] - low[r])
            slack[r] = min(share * max(abs(top[r]), abs(low[r])), least)
        order, begin, _ = equal_columns(matrix, rows, slack)
        groups = equal_rows(matrix, rows, slack)
        if len(order) + len(groups[0]) > 0:
            aim = 0.4 * tolerance
    count = len(begin) - 1 if len(begin) > 0 else m
    width = (count + BLOCK - 1) // BLOCK * BLOCK
    budget = max(SCANS_PER_ROW, m * m // ENTRIES_PER_SCAN) * n
    typical = 2.0**typical
    epsilon = FIRST_EPSILON * typical
    _set_first_prices(matrix, rows, spreads, typical, prices)
    problem = (matrix, rows, top, order, begin)
    if narrow is not None:
        # Half the bytes are read where half the digits serve.
        coarse = scale * NARROW_RANGE / RANGE
        first = NARROW_FIRST_EPSILON * typical
        if (
            not repeats
            and NARROW_FROM <= m <= NARROW_TO
            and first * coarse >= NARROW_EPSILON
        ):
            q = narrow[: n * width].reshape(n, width)
            epsilons = (first, NARROW_EPSILON / coarse)
            epsilon, budget = _phases(
                problem, None, q, coarse, epsilons, aim, budget, column_of, prices
            )
            epsilon = abs(epsilon)
            if epsilon == 0.0:
                return budget > 0
    q = fixed[: n * width].reshape(n, width)
    epsilon, budget = _phases(
        problem, groups, q, scale, (epsilon, 0.0), aim, budget, column_of, prices
    )
    if epsilon < 0.0:
        prices[:] = 0.0
    return epsilon == 0.0 and budget > 0
