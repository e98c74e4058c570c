"""The best columns of a bidding row, by integer maxima that vectorize."""

from typing import Any

import numpy as np
from numpy import ndarray

from semrsm_jax.matching._augment import inner_jit

BLOCK = 64  # columns of one vectorized maximum; rows are padded to a multiple of it
CANDIDATES = 48  # length of a row's candidate list
LISTED_BLOCKS = 6  # about one in six blocks of a row gives its best to the list


@inner_jit
def floor_of(a: ndarray) -> int:
    """Entries further than this below their row's best are cut off."""
    return np.iinfo(a.dtype).min // (4 if a.itemsize == 4 else 2)


@inner_jit
def below(a: ndarray) -> Any:
    """A number below every profit that can occur, in the dtype of the array."""
    return a.dtype.type(np.iinfo(a.dtype).min + 1)


@inner_jit
def scan(a: ndarray, p: ndarray) -> tuple[np.int64, Any, Any]:
    """Best column of a row, its profit, and the second best profit."""
    low = below(a)
    first = low
    second = low
    start = 0
    for s in range(0, len(a), BLOCK):
        block = a[s : s + BLOCK]
        price = p[s : s + BLOCK]
        x = low
        for k in range(BLOCK):
            x = max(x, a.dtype.type(block[k] - price[k]))
        second = max(second, min(first, x))
        if x > first:
            first = x
            start = s
    return _within_block(a, p, start, first, second)


@inner_jit
def scan_two(
    a: ndarray, b: ndarray, p: ndarray, from_memory: bool
) -> tuple[tuple[np.int64, Any, Any], tuple[np.int64, Any, Any]]:
    """`scan` of two rows; it takes less time than two of one.

    Rows that are not in the cache are read once before: long streams load fastest.
    """
    low = below(a)
    first = second = other_first = other_second = low
    start = other_start = 0
    best = other_best = low
    if from_memory:
        for j in range(len(a)):
            best = max(best, a.dtype.type(a[j] - p[j]))
            other_best = max(other_best, a.dtype.type(b[j] - p[j]))
    for s in range(0, len(a), BLOCK):
        block = a[s : s + BLOCK]
        other = b[s : s + BLOCK]
        price = p[s : s + BLOCK]
        x = y = low
        for k in range(BLOCK):
            x = max(x, a.dtype.type(block[k] - price[k]))
            y = max(y, a.dtype.type(other[k] - price[k]))
        second = max(second, min(first, x))
        other_second = max(other_second, min(other_first, y))
        start = s if x > first else start
        other_start = s if y > other_first else other_start
        first = max(first, x)
        other_first = max(other_first, y)
    return (
        _within_block(a, p, start, max(first, best), second),
        _within_block(b, p, other_start, max(other_first, other_best), other_second),
    )


@inner_jit
def _within_block(
    a: ndarray, p: ndarray, start: int, first: Any, second: Any
) -> tuple[np.int64, Any, Any]:
    """What `scan` returns, from the best block, its profit, and the best of others."""
    low = below(a)
    block = a[start : start + BLOCK]
    price = p[start : start + BLOCK]
    index = np.int32(0)
    ties = np.int32(0)
    for k in range(np.int32(BLOCK)):
        x = a.dtype.type(block[k] - price[k])
        hit = x == first
        second = max(second, low if hit else x)
        index = max(index, np.int32(k) if hit else np.int32(0))
        ties += np.int32(hit)
    return start + np.int64(index), first, first if ties > 1 else second


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
