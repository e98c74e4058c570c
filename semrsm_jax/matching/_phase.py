"""One phase of the auction: every row bids until all are matched, at one epsilon.

Rows bid one after the other (Gauss-Seidel), but are looked at in twos, and the two that
are next in line are fetched meanwhile: processors then wait less. For the same reason
the code that most bids run through has few branches that depend on values.
"""

from functools import partial

import numpy as np
from numpy import ndarray

from semrsm_jax.matching._augment import inner_jit
from semrsm_jax.matching._joint_bids import (
    absent_rows_bid,
    equal_rows_bid,
    evict,
    set_class_price,
)
from semrsm_jax.matching._lists import best_listed
from semrsm_jax.matching._scans import below, best_columns, floor_of, scan

LIST_COST = 4  # of making a list, in scans of a row
# Where rows want the same columns, prices soon leave a list behind. A phase goes on
# without lists once so many were replaced, and fewer bids than so many came from each.
LISTS_TRIED, BIDS_PER_LIST = 64, 3
LEAST_TOGETHER = 8  # fewer equal rows bid one by one
TOGETHER_COST = 8  # of their bid, in scans of a row


@partial(inner_jit, forceinline=True)
def _next_in_line(stack: ndarray, free: int, none: int) -> tuple[int, int]:
    """The row on top of the stack, if any, and how many are left."""
    return (stack[free - 1], free - 1) if free > 0 else (none, 0)


@inner_jit
def bid_phase(
    fixed: ndarray,
    p: ndarray,
    slots: tuple[ndarray, ...],
    groups: tuple[ndarray, ...] | None,
    epsilon: int,
    budget: int,
    ties: ndarray,
    lists: tuple[ndarray, ...],
    line: tuple[ndarray, ndarray],
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
    if groups is not None:
        members, group_begin, group_of = groups
        groups_bid = len(group_of) > 0
    stack, waiting = line
    n = len(slot_of) - 1  # which stands for no row
    m = len(row_of)
    counts = lists[2]
    listed = len(counts) > 0
    served = replaced = 0
    classes = len(begin) > 0
    row_of[:] = n
    waiting[:] = True
    for i in range(n):
        stack[i] = n - 1 - i
        slot_of[i] = -1
    free = n
    cost = 0
    other = n  # a row that was looked at together with the one before it
    bid = np.int64(-1), low, low
    third = fourth = n  # those that are next in line
    while True:
        while True:
            if cost >= budget or ties[0] < 0:
                return cost
            if other < n:
                i = other
                other = n
                j, first, second = bid
                # Prices only rise, so that a bid from earlier ones is as good as long
                # as its own column costs the same.
                if p.dtype.type(fixed[i, j] - p[j]) != first:
                    j, first, second = scan(fixed[i], p)
                    cost += 1
            else:
                i, other = third, fourth
                third = fourth = n
                if i == n:
                    i, free = _next_in_line(stack, free, n)
                    if i == n:
                        break
                if not listed:
                    if other == n:
                        other, free = _next_in_line(stack, free, n)
                    third, free = _next_in_line(stack, free, n)
                    fourth, free = _next_in_line(stack, free, n)
                cost += 1
                if listed:
                    had = counts[i] > 0
                    j, first, second, made = best_listed(fixed[i], p, i, lists)
                    cost += LIST_COST * made
                    served += 1
                    replaced += made and had
                    if replaced > LISTS_TRIED:
                        listed = served > BIDS_PER_LIST * replaced
                elif other < n:
                    coming = fixed[min(third, n - 1)], fixed[min(fourth, n - 1)]
                    pair = fixed[i], fixed[other]
                    (j, first, second), bid = best_columns(pair, p, coming)
                    cost += 1
                else:
                    j, first, second = scan(fixed[i], p)
            waiting[i] = False
            if slot_of[i] >= 0:  # by the bid of equal rows
                continue
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
            free = evict(evicted, slot_of, waiting, stack, free)
        if n == m:
            return cost
        free = absent_rows_bid(slot_prices, row_of, slot_of, epsilon, waiting, stack)
        for j in range(len(begin) - 1):
            set_class_price(j, begin, slot_prices, p)
        cost += m // 8
        if free == 0:
            return cost
