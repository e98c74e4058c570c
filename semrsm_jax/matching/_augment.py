"""Shortest augmenting paths: the exact finish of the auction, in float64.

Jonker & Volgenant, "A shortest augmenting path algorithm for dense and sparse linear
assignment problems", Computing 38, 1987, started from the auction's prices and those
of its pairs that satisfy complementary slackness.
"""

from collections.abc import Callable
from typing import Any

import numba
import numpy as np

MAGNITUDE = np.int64(2**63 - 1)
INFINITE = np.int64(np.float64(np.inf).view(np.int64)) | 1
RESTARTS = 8


def jit(function: Callable) -> Any:
    """Compile lazily, without the GIL; cached on disk where a folder is writable."""
    options: dict[str, Any] = {"nogil": True, "error_model": "numpy"}
    try:
        return numba.njit(cache=True, **options)(function)
    except RuntimeError:  # no locator: read-only package and no user cache folder
        return numba.njit(**options)(function)


@jit
def order(x):
    """Map float64 to int64 in the same order, NaN outermost.

    LLVM vectorises maxima and minima of integers, but not of floats.
    """
    bits = np.float64(x).view(np.int64)
    return bits ^ ((bits >> 63) & MAGNITUDE)


@jit
def from_order(key):
    """Inverse of order."""
    return np.int64(key ^ ((key >> 63) & MAGNITUDE)).view(np.float64)


@jit
def profits(matrix, rows, prices, out):
    """Fill out with each row's best profit, max_j (matrix[rows[r], j] - prices[j])."""
    for r in range(len(rows)):
        a = matrix[rows[r]]
        best = order(-np.inf)
        for j in range(len(prices)):
            best = max(best, order(np.float64(a[j]) - prices[j]))
        out[r] = from_order(best)


@jit
def _keep_tight_pairs(matrix, rows, prices, column_of, row_of, slack):
    """Release the pairs that complementary slackness forbids by more than slack."""
    n = len(rows)
    m = len(prices)
    best = np.empty(n)
    for _ in range(RESTARTS):
        row_of[:] = -1
        for r in range(n):
            if column_of[r] >= 0:
                row_of[column_of[r]] = r
        if n < m:  # columns that may stay unmatched have to be the cheapest
            lowest = prices.min()
            for j in range(m):
                if row_of[j] < 0:
                    prices[j] = lowest
        profits(matrix, rows, prices, best)
        released = 0
        for r in range(n):
            j = column_of[r]
            if j >= 0 and np.float64(matrix[rows[r], j]) - prices[j] < best[r] - slack:
                column_of[r] = -1
                row_of[j] = -1
                released += 1
        if n == m or released == 0:
            return
    prices[:] = 0.0
    column_of[:] = -1
    row_of[:] = -1


@jit
def augment(matrix, rows, prices, column_of, slack):
    """Match all rows by shortest augmenting paths; prices and column_of are updated.

    Pairs may miss complementary slackness by slack each, and go on missing it by no
    more: path lengths are cut off at 0.
    """
    n = len(rows)
    m = len(prices)
    row_of = np.empty(m, np.int32)
    _keep_tight_pairs(matrix, rows, prices, column_of, row_of, slack)
    # Non-negative floats order as their bit patterns do, and integer minima vectorise.
    # The lowest bit says that a column is matched: a free one wins a tie.
    matched = np.empty(m, np.int64)
    for j in range(m):
        matched[j] = row_of[j] >= 0
    open_prices = prices.copy()
    keys = np.empty(m, np.int64)
    parents = np.empty(m, np.int32)
    tree = np.empty(m, np.int32)
    distances = np.empty(m)
    source = np.empty(1)
    for r in range(n):
        if column_of[r] >= 0:
            continue
        keys[:] = INFINITE
        profits(matrix, rows[r : r + 1], prices, source)
        profit = source[0]
        distance = 0.0
        size = 0
        i = np.int32(r)
        while True:
            a = matrix[rows[i]]
            base = distance + profit
            nearest = INFINITE
            for j in range(m):
                x = base - np.float64(a[j]) + open_prices[j]
                x = x if x > distance else distance
                key = (np.float64(x).view(np.int64) & -2) | matched[j]
                old = keys[j]
                parents[j] = i if key < old else parents[j]
                key = min(key, old)
                keys[j] = key
                nearest = min(nearest, key)
            j = 0
            while keys[j] != nearest:
                j += 1
            distance = max(distance, np.int64(nearest & -2).view(np.float64))
            if row_of[j] < 0:
                break
            tree[size] = j
            distances[size] = distance
            size += 1
            keys[j] = INFINITE
            open_prices[j] = np.inf
            i = row_of[j]
            profit = np.float64(matrix[rows[i], j]) - prices[j]
        for t in range(size):
            prices[tree[t]] += distance - distances[t]
            open_prices[tree[t]] = prices[tree[t]]
        matched[j] = 1
        while True:
            i = parents[j]
            row_of[j] = i
            j, column_of[i] = column_of[i], j
            if i == r:
                break
