"""One phase of the auction: every row bids until all are matched, at one epsilon.

Rows bid one after the other (Gauss-Seidel), but are looked at in twos: processors then
wait less. Integer maxima vectorize and never round.
"""

import numpy as np
from numpy import ndarray

from semrsm_jax.matching._augment import inner_jit
from semrsm_jax.matching._joint_bids import (
    absent_rows_bid,
    equal_rows_bid,
    evict,
    set_class_price,
)
from semrsm_jax.matching._scans import below, floor_of, list_candidates, scan, scan_two

LIST_COST = 4  # of making a list, in scans of a row
# Where rows want the same columns, prices soon leave a list behind. A phase goes on
# without lists once so many were replaced, and fewer bids than so many came from each.
LISTS_TRIED, BIDS_PER_LIST = 64, 3
CACHE_BYTES = 2**24  # rows of larger matrices are read from memory
LEAST_TOGETHER = 8  # fewer equal rows bid one by one
TOGETHER_COST = 8  # of their bid, in scans of a row


@inner_jit
def bid_phase(
    fixed: ndarray,
    p: ndarray,
    slots: tuple[ndarray, ...],
    groups: tuple[ndarray, ...] | None,
    epsilon: int,
    budget: int,
    ties: ndarray,
    work: tuple[ndarray, ...],
) -> int:
    """Match every row anew at one epsilon; return what it cost, in scans of a row.

    Rows bid for classes of equal columns, and get their cheapest member, a slot; p is
    the price of that one. Where `begin` is empty, each column is a class and a slot.
    Many equal rows bid together.

    Ends early, with rows left open, past the budget, after too many bids between
    equally good columns, which raise prices only slowly, or with `ties[1]` set, where a
    price leaves the range of the dtype.
    """
    low = below(p)
    # With it no profit is below the range of the dtype, also where absent rows bid.
    most = np.int64(np.iinfo(p.dtype).max) + floor_of(p) - 1 - epsilon
    begin, slot_prices, row_of, slot_of = slots
    two = True
    if groups is not None:
        members, group_begin, group_of = groups
        groups_bid = len(group_of) > 0
        two = not groups_bid  # which changes many prices at once
    columns, values, counts, thresholds, stack, block_max, waiting = work
    n = len(slot_of)
    m = len(row_of)
    lists = len(counts) > 0
    served = replaced = 0
    from_memory = fixed.size * fixed.itemsize > CACHE_BYTES
    classes = len(begin) > 0
    row_of[:] = -1
    for i in range(n):
        stack[i] = n - 1 - i
        slot_of[i] = -1
    waiting[:] = True
    free = n
    cost = 0
    other = -1  # a row that was looked at together with the one before
    bid = np.int64(-1), low, low
    j = bid[0]
    while True:
        while free > 0 or other >= 0:
            if cost >= budget or ties[0] < 0:
                return cost
            if other >= 0:
                i = other
                other = -1
                # Prices only rise, so that a bid from earlier ones is as good as long
                # as its own column costs the same.
                if bid[0] == j:
                    bid = scan(fixed[i], p)
                    cost += 1
                j, first, second = bid
            else:
                free -= 1
                i = stack[free]
                waiting[i] = False
                if slot_of[i] >= 0:
                    continue
                cost += 1
                if lists:
                    first = second = low
                    k1 = 0
                    for _ in range(2):
                        first = low
                        second = thresholds[i]
                        for k in range(counts[i]):
                            x = p.dtype.type(values[i, k] - p[columns[i, k]])
                            if x > first:
                                second = max(second, first)
                                first = x
                                k1 = k
                            elif x > second:
                                second = x
                        if counts[i] > 0 and first >= thresholds[i]:
                            break
                        replaced += counts[i] > 0
                        counts[i], thresholds[i] = list_candidates(
                            fixed[i], p, block_max, columns[i], values[i]
                        )
                        cost += LIST_COST
                    j = np.int64(columns[i, k1])
                    served += 1
                    if replaced > LISTS_TRIED:
                        lists = served > BIDS_PER_LIST * replaced
                elif two and free > 0:
                    free -= 1
                    other = stack[free]
                    waiting[other] = False
                    (j, first, second), bid = scan_two(
                        fixed[i], fixed[other], p, from_memory
                    )
                    cost += 1
                else:
                    j, first, second = scan(fixed[i], p)
            if groups is not None:  # by itself: the compiled code leaves it out then
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
            price = np.int64(p[j]) + np.int64(first) - np.int64(second) + epsilon
            if p.itemsize < 4 and price > most:
                ties[1] = 1
                return cost
            slot_prices[slot] = price
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
