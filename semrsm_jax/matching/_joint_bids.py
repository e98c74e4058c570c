"""Bids of many rows at once: of equal rows, and of those that a rectangle lacks."""

import numpy as np
from numpy import ndarray

from semrsm_jax.matching._augment import inner_jit
from semrsm_jax.matching._scans import below, floor_of, scan


@inner_jit
def set_class_price(j: int, begin: ndarray, slot_prices: ndarray, p: ndarray) -> None:
    """Set the price of class j to that of its cheapest slot."""
    lowest = slot_prices[begin[j]]
    for s in range(begin[j], begin[j + 1]):
        lowest = min(lowest, slot_prices[s])
    p[j] = lowest


@inner_jit
def evict(
    row: int, slot_of: ndarray, waiting: ndarray, stack: ndarray, free: int
) -> int:
    """Take its slot from a row, which then waits; the number that wait now.

    The last index stands for no row: it is said to wait always, so nothing happens.
    """
    slot_of[row] = -1
    stack[free] = row
    free += not waiting[row]
    waiting[row] = True
    return free


@inner_jit
def _one_more_bids(
    a: ndarray,
    p: ndarray,
    slots: tuple[ndarray, ...],
    equal: ndarray,
    epsilon: int,
    stack: ndarray,
    free: int,
    waiting: ndarray,
) -> int:
    """`equal_rows_bid` where one row has no slot, and each column is one."""
    _, _, row_of, slot_of = slots
    # Slots that are held get a price at which they are worse than all others, whose
    # profits do not leave the range of the dtype.
    hidden = -3 * np.int64(floor_of(p)) - 2
    held = np.empty(len(equal), p.dtype)
    row = equal[0]
    for k in range(len(equal)):
        s = slot_of[equal[k]]
        if s < 0:
            row = equal[k]
        else:
            held[k] = p[s]
            p[s] = hidden
    j, first, second = scan(a, p)
    level = second if second > -hidden else first  # no other is left
    for k in range(len(equal)):
        s = slot_of[equal[k]]
        if s >= 0:
            raised = a[s] - held[k] - level + epsilon
            p[s] = held[k] + max(raised, 0)
    p[j] += first - level + epsilon
    free = evict(row_of[j], slot_of, waiting, stack, free)
    row_of[j] = row
    slot_of[row] = j
    return free


@inner_jit
def equal_rows_bid(
    a: ndarray,
    p: ndarray,
    slots: tuple[ndarray, ...],
    equal: ndarray,
    epsilon: int,
    stack: ndarray,
    free: int,
    waiting: ndarray,
) -> int:
    """Let equal rows bid together; they keep the slots that they hold.

    All get the price at which the best slot left out is as good, and epsilon more:
    alone, each would raise one price by epsilon at a time.

    Returns:
      How many rows wait in the stack now; there were `free`.
    """
    begin, slot_prices, row_of, slot_of = slots
    m = len(row_of)
    wanted = 0
    for k in range(len(equal)):
        wanted += slot_of[equal[k]] < 0
    if wanted == 1 and len(begin) == 0:
        return _one_more_bids(a, p, slots, equal, epsilon, stack, free, waiting)
    profit = np.empty(m, np.int32)
    low = below(profit)
    if len(begin) == 0:
        for s in range(m):
            profit[s] = a[s] - slot_prices[s]
    for j in range(len(begin) - 1):
        for s in range(begin[j], begin[j + 1]):
            profit[s] = a[j] - slot_prices[s]
    held = np.empty(len(equal), np.int32)  # profits there
    for k in range(len(equal)):
        s = slot_of[equal[k]]
        if s >= 0:
            held[k] = profit[s]
            profit[s] = low
    # The largest level that more than `wanted` profits reach: that of the next best.
    level, above = np.int64(low), np.int64(profit.max()) + 1
    while above - level > 1:
        middle = np.int32((level + above) >> 1)
        count = np.int32(0)
        for s in range(m):
            count += np.int32(profit[s] >= middle)
        if count > wanted:
            level = np.int64(middle)
        else:
            above = np.int64(middle)
    if level == low:  # nothing is left out
        level = np.int64(profit.max())
        for s in range(m):
            level = min(level, np.int64(profit[s])) if profit[s] > low else level
    level = np.int32(level)
    ties = np.int64(wanted)
    for s in range(m):
        ties -= profit[s] > level
    for k in range(len(equal)):
        if slot_of[equal[k]] >= 0:
            raised = max(np.int32(0), held[k] - level + epsilon)
            slot_prices[slot_of[equal[k]]] += raised
    next_row = 0
    for s in range(m):
        if profit[s] < level or (profit[s] == level and ties == 0):
            continue
        ties -= profit[s] == level
        free = evict(row_of[s], slot_of, waiting, stack, free)
        while slot_of[equal[next_row]] >= 0:
            next_row += 1
        slot_prices[s] += profit[s] - level + epsilon
        row_of[s] = equal[next_row]
        slot_of[equal[next_row]] = s
    for j in range(len(begin) - 1):
        set_class_price(j, begin, slot_prices, p)
    return free


@inner_jit
def absent_rows_bid(
    p: ndarray,
    row_of: ndarray,
    column_of: ndarray,
    epsilon: int,
    waiting: ndarray,
    stack: ndarray,
) -> int:
    """Let m - n rows that value all columns equally bid; the number of rows evicted.

    They stand for the columns that stay unmatched, which complementary slackness
    wants to be the cheapest ones. Being equal, they bid together: for the m - n
    cheapest columns, up to the price of the next.
    """
    m = len(row_of)
    none = len(column_of) - 1
    left = m - none
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
        if row_of[j] == none and p[j] <= level:
            p[j] = level
            left -= 1
    free = 0
    for j in range(m):
        i = row_of[j]
        if left > 0 and i < none and p[j] <= level:
            left -= 1
            row_of[j] = none
            p[j] = level + epsilon
            free = evict(i, column_of, waiting, stack, free)
    return free
