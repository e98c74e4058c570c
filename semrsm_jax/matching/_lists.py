"""Lists of a row's best columns, by which it bids without a scan of the row."""

from functools import partial
from typing import Any

import numpy as np
from numpy import ndarray

from semrsm_jax.matching._augment import inner_jit
from semrsm_jax.matching._scans import BLOCK, below

CANDIDATES = 48  # length of a row's candidate list
LISTED_BLOCKS = 6  # about one in six blocks of a row gives its best to the list


@partial(inner_jit, forceinline=True)
def best_listed(
    a: ndarray,
    p: ndarray,
    i: int,
    lists: tuple[ndarray, ...],
) -> tuple[Any, Any, Any, bool]:
    """`scan` of row i by its list, and whether that was made anew."""
    columns, values, counts, thresholds, block_max = lists
    made = False
    while True:
        first = below(p)
        second = thresholds[i]
        best = 0
        for k in range(counts[i]):
            x = p.dtype.type(values[i, k] - p[columns[i, k]])
            if x > first:
                second = max(second, first)
                first = x
                best = k
            elif x > second:
                second = x
        if made or (counts[i] > 0 and first >= thresholds[i]):
            return np.int64(columns[i, best]), first, second, made
        counts[i], thresholds[i] = list_candidates(
            a, p, block_max, columns[i], values[i]
        )
        made = True


@inner_jit
def list_candidates(
    a: ndarray, p: ndarray, block_max: ndarray, columns: ndarray, values: ndarray
) -> tuple[int, Any]:
    """List a row's best columns; all others' profits are at most the threshold.

    Prices only rise within a phase, so that the threshold stays true.
    """
    blocks = len(block_max)
    low = below(a)
    best = low
    for j in range(len(a)):  # a pass of its own, as long streams load fastest
        best = max(best, a.dtype.type(a[j] - p[j]))
    worst = best
    for b in range(blocks):
        block = a[b * BLOCK : (b + 1) * BLOCK]
        price = p[b * BLOCK : (b + 1) * BLOCK]
        x = low
        for k in range(BLOCK):
            x = max(x, a.dtype.type(block[k] - price[k]))
        block_max[b] = x
        worst = min(worst, x)
    beneath, above = np.int64(worst) - 1, np.int64(best)
    wanted = blocks // LISTED_BLOCKS + 2
    for _ in range(8):
        middle = a.dtype.type((beneath + above) >> 1)
        count = np.int32(0)
        for b in range(blocks):
            count += np.int32(block_max[b] > middle)
        if count >= wanted:
            beneath = np.int64(middle)
        else:
            above = np.int64(middle)
    threshold = a.dtype.type(beneath)
    while True:
        count = 0
        for b in range(blocks):
            if block_max[b] > threshold:
                for j in range(b * BLOCK, (b + 1) * BLOCK):
                    if a.dtype.type(a[j] - p[j]) > threshold:
                        if count == CANDIDATES:
                            count += 1
                            break
                        columns[count] = j
                        values[count] = a[j]
                        count += 1
                if count > CANDIDATES:
                    break
        if count <= CANDIDATES:
            return count, threshold
        if threshold == best - 1:  # more ties for the best than the list is long
            return CANDIDATES, best
        threshold = a.dtype.type(best - (best - threshold + 2) // 4)
