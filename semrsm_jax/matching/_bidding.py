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
from semrsm_jax.matching._joint_bids import (
    absent_rows_bid,
    equal_rows_bid,
    evict,
    set_class_price,
)
from semrsm_jax.matching._repeats import equal_columns, equal_rows
from semrsm_jax.matching._scans import BLOCK, CANDIDATES, LOW, list_candidates, scan

RANGE = 2.0**28  # fixed-point image of the largest row spread
FLOOR = -(2.0**29)  # entries further than this below their row's best are cut off
RESOLUTION = 4e6  # fixed-point units of the mean row spread that are always kept
FIRST_EPSILON = 0.02  # of the rows' typical spread
SHRINK = 20.0  # epsilon's division a phase
LISTS_FROM = 2560  # columns; below, a scan costs less than the making of lists
LIST_COST = 4  # of making a list, in scans of a row
LEAST_DIFFERENCE = 2.0**-16  # of a row's spread, by which classes differ at least
EQUAL = 4  # roundings by which repeated entries differ at most
LEAST_TOGETHER = 8  # fewer equal rows bid one by one
TOGETHER_COST = 8  # of their bid, in scans of a row
# Scans (and bids between equally good columns) a row before augmenting paths take over;
# their cost a row grows with m * m at worst, so both limits do.
SCANS_PER_ROW, ENTRIES_PER_SCAN = 150, 2**13
TIES_PER_ROW, ENTRIES_PER_TIE = 50, 2**15


@jit
def _to_fixed_point(
    matrix: ndarray,
    rows: ndarray,
    top: ndarray,
    scale: float,
    order: ndarray,
    begin: ndarray,
    fixed: ndarray,
) -> int:
    """Write rows, less their maximum, as int32; the number that reach it twice.

    Of each class of columns the first, where there are classes.
    """
    classes = len(begin) - 1
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
            fixed[r, j] = LOW
        tied += hits > 1
    return tied


@jit
def _fix_row(a: ndarray, best: float, scale: float, q: ndarray) -> np.int32:
    hits = np.int32(0)
    for j in range(len(a)):
        x = (np.float64(a[j]) - best) * scale - 0.5  # the cast truncates
        q[j] = np.int32(x if x > FLOOR else FLOOR)
        hits += np.int32(q[j] == 0)
    return hits


@jit
def _bid_phase(
    fixed: ndarray,
    p: ndarray,
    slots: tuple[ndarray, ...],
    groups: tuple[ndarray, ...],
    epsilon: int,
    budget: int,
    ties: ndarray,
    work: tuple[ndarray, ...],
) -> int:
    """Match every row anew at one epsilon; return what it cost, in scans of a row.

    Rows bid for classes of equal columns, and get their cheapest member, a slot; p is
    the price of that one. Where `begin` is empty, each column is a class and a slot.
    Many equal rows bid together.

    Ends early, with rows left open, past the budget or after too many bids between
    equally good columns, which raise prices only slowly.
    """
    begin, slot_prices, row_of, slot_of = slots
    members, group_begin, group_of = groups
    columns, values, counts, thresholds, stack, block_max, waiting = work
    n = len(slot_of)
    m = len(row_of)
    lists = len(counts) > 0
    classes = len(begin) > 0
    groups_bid = len(group_of) > 0
    row_of[:] = -1
    for i in range(n):
        stack[i] = n - 1 - i
        slot_of[i] = -1
    waiting[:] = True
    free = n
    cost = 0
    while True:
        while free > 0:
            if cost >= budget or ties[0] < 0:
                return cost
            free -= 1
            i = stack[free]
            waiting[i] = False
            if slot_of[i] >= 0:
                continue
            cost += 1
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
            if groups_bid and first - second <= epsilon:
                g = group_of[i]
                equal = members[group_begin[g] : group_begin[g + 1]]
                if len(equal) >= LEAST_TOGETHER:
                    free = equal_rows_bid(
                        fixed[i], p, slots, equal, epsilon, stack, free, waiting
                    )
                    cost += TOGETHER_COST
                    continue
            ties[0] -= first == second
            slot = j
            if classes:
                slot = np.int64(begin[j])
                for s in range(slot + 1, begin[j + 1]):
                    slot = s if slot_prices[s] < slot_prices[slot] else slot
            slot_prices[slot] = p[j] + (first - second + epsilon)
            if classes:
                set_class_price(j, begin, slot_prices, p)
            evicted = row_of[slot]
            row_of[slot] = i
            slot_of[i] = slot
            if evicted >= 0:
                free = evict(evicted, slot_of, waiting, stack, free)
        if n == m:
            return cost
        free = absent_rows_bid(slot_prices, row_of, slot_of, epsilon, waiting, stack)
        for j in range(len(begin) - 1):
            set_class_price(j, begin, slot_prices, p)
        cost += m // 8
        if free == 0:
            return cost


@jit
def auction(
    matrix: ndarray,
    rows: ndarray,
    top: ndarray,
    low: ndarray,
    tolerance: float,
    repeats: bool,
    fixed: ndarray,
    column_of: ndarray,
    prices: ndarray,
) -> bool:
    """Match rows that are not constant; False if it was broken off.

    `repeats` tells whether rows or columns may repeat others. column_of and prices are
    a start for augmenting paths where it was.
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
    classes = len(begin) - 1 if len(begin) > 0 else m
    width = (classes + BLOCK - 1) // BLOCK * BLOCK
    q = fixed[: n * width].reshape(n, width)
    if _to_fixed_point(matrix, rows, top, scale, order, begin, q) > n // 2:
        return False  # ties raise prices slowly, and leave short augmenting paths

    p = np.zeros(width, np.int32)
    slot_prices = np.zeros(m, np.int32) if len(begin) > 0 else p[:m]
    row_of = np.empty(m, np.int32)
    listed = n if classes >= LISTS_FROM else 0
    thresholds = np.empty(listed, np.int32)
    work = (
        np.empty((listed, CANDIDATES), np.uint32),
        np.empty((listed, CANDIDATES), np.int32),
        np.zeros(listed, np.int64),
        thresholds,
        np.empty(n, np.int32),
        np.empty(width // BLOCK, np.int32),
        np.empty(n, np.bool_),
    )
    epsilon = FIRST_EPSILON * 2.0**typical * scale
    budget = max(SCANS_PER_ROW, m * m // ENTRIES_PER_SCAN) * n
    ties = np.empty(1, np.int64)  # those still allowed
    ties[0] = max(TIES_PER_ROW, m * m // ENTRIES_PER_TIE) * n
    slots = (begin, slot_prices, row_of, column_of)
    while True:
        step = np.int32(max(epsilon, 1.0))
        budget -= _bid_phase(q, p, slots, groups, step, budget, ties, work)
        lowest = p[0]
        for j in range(classes):
            lowest = min(lowest, p[j])
        for j in range(classes):
            p[j] -= lowest
        for j in range(len(begin) - 1):
            for s in range(begin[j], begin[j + 1]):
                slot_prices[s] = p[j]
        for r in range(listed):
            thresholds[r] += lowest
        if ties[0] < 0:  # nothing is worth keeping
            column_of[:] = -1
            return False
        value = 0.0
        for r in range(n):
            if column_of[r] >= 0:
                j = order[column_of[r]] if len(order) > 0 else column_of[r]
                value += matrix[rows[r], j]
        goal = max(aim * abs(value) * scale / n, 1.0)
        if budget <= 0 or epsilon <= 1.25 * goal:
            break
        epsilon = max(epsilon / SHRINK, goal)
    for s in range(m):
        prices[order[s] if len(order) > 0 else s] = slot_prices[s] / scale
    for r in range(n):
        if column_of[r] >= 0 and len(order) > 0:
            column_of[r] = order[column_of[r]]
    return budget > 0
