"""Shortest augmenting paths: the exact finish of the auction, in float64.

Jonker & Volgenant, "A shortest augmenting path algorithm for dense and sparse linear
assignment problems", Computing 38, 1987, started from the auction's prices and those
of its pairs that satisfy complementary slackness.
"""

from collections.abc import Callable
from functools import partial, update_wrapper
from hashlib import sha256
from pathlib import Path
from types import CellType, FunctionType
from typing import Any

import numba
import numpy as np
from numpy import ndarray

MAGNITUDE = np.int64(2**63 - 1)
INFINITE = np.int64(np.float64(np.inf).view(np.int64)) | 1
RESTARTS = 8
TILE = 16  # entries of a cache line


def _digest() -> str:
    """Of all compiled modules of this folder, which call each other."""
    sources = sorted(Path(__file__).parent.glob("*.py"))
    return sha256(b"".join(source.read_bytes() for source in sources)).hexdigest()


def jit(function: Callable, **more: Any) -> Any:
    """Compile lazily, without the GIL; cached on disk where a folder is writable.

    Numba keeps machine code as long as the file of the function stays the same, though
    the code contains that of functions in other files. It looks at what a function
    closes over, too: here the digest of all of them.
    """
    options: dict[str, Any] = {"nogil": True, "error_model": "numpy", **more}
    code = function.__code__
    if not code.co_freevars:
        code = code.replace(co_freevars=("digest",))
        names = (function.__globals__, function.__name__, function.__defaults__)
        closed = FunctionType(code, *names, (CellType(DIGEST),))
        function = update_wrapper(closed, function)
    try:
        return numba.njit(cache=True, **options)(function)
    except RuntimeError:  # no locator: read-only package and no user cache folder
        return numba.njit(**options)(function)


DIGEST = _digest()

# For functions that compiled ones alone call; a call from Python ends the process. What
# Python needs to call a function takes a quarter of the time to compile.
inner_jit = partial(jit, no_cpython_wrapper=True, no_cfunc_wrapper=True)


@inner_jit
def order(x: float) -> np.int64:
    """Map float64 to int64 in the same order, NaN outermost.

    LLVM vectorizes maxima and minima of integers, but not of floats.
    """
    bits = np.float64(x).view(np.int64)
    return bits ^ ((bits >> 63) & MAGNITUDE)


@inner_jit
def from_order(key: np.int64) -> np.float64:
    """Inverse of order."""
    return np.int64(key ^ ((key >> 63) & MAGNITUDE)).view(np.float64)


@inner_jit
def row_ranges(matrix: ndarray, rows: ndarray, top: ndarray, low: ndarray) -> bool:
    """Fill each row's largest and smallest entry.

    Returns:
      False if one is not finite, or their difference.
    """
    finite = True
    for r in range(len(rows)):
        a = matrix[rows[r]]
        first = order(np.float64(a[0]))
        last = first
        for j in range(len(a)):
            x = order(np.float64(a[j]))
            first = max(first, x)
            last = min(last, x)
        top[r] = from_order(first)
        low[r] = from_order(last)
        finite &= np.isfinite(top[r] - low[r])
    return finite


@inner_jit
def copy_valid(
    matrix: ndarray, rows: ndarray, columns: ndarray, transposed: bool
) -> ndarray:
    """Copy the valid rows and columns, transposed where that makes it wide."""
    n = len(rows)
    m = len(columns)
    if transposed:
        out = np.empty((m, n), matrix.dtype)
        for first in range(0, m, TILE):  # a tile of columns stays in the cache
            for i in range(n):
                for j in range(first, min(first + TILE, m)):
                    out[j, i] = matrix[rows[i], columns[j]]
    else:
        out = np.empty((n, m), matrix.dtype)
        for i in range(n):
            for j in range(m):
                out[i, j] = matrix[rows[i], columns[j]]
    return out


@inner_jit
def profits(matrix: ndarray, rows: ndarray, prices: ndarray, out: ndarray) -> None:
    """Fill out with each row's best profit, max_j (matrix[rows[r], j] - prices[j])."""
    for r in range(len(rows)):
        a = matrix[rows[r]]
        best = order(-np.inf)
        for j in range(len(prices)):
            best = max(best, order(np.float64(a[j]) - prices[j]))
        out[r] = from_order(best)


@inner_jit
def dual_bound(
    matrix: ndarray, rows: ndarray, column_of: ndarray, prices: ndarray
) -> tuple[float, float, float]:
    """Dual bound, value, and sum of the matched entries' magnitudes.

    Prices are shifted to a minimum of 0: then columns may stay unmatched at no cost.
    """
    lowest = prices.min()
    for j in range(len(prices)):
        prices[j] -= lowest
    best = np.empty(len(rows))
    profits(matrix, rows, prices, best)
    value = 0.0
    magnitude = 0.0
    for r in range(len(rows)):
        x = np.float64(matrix[rows[r], column_of[r]])
        value += x
        magnitude += abs(x)
    return max(best.sum() + prices.sum(), value), value, magnitude


@inner_jit
def _keep_tight_pairs(
    matrix: ndarray,
    rows: ndarray,
    prices: ndarray,
    column_of: ndarray,
    row_of: ndarray,
    slack: float,
) -> None:
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


@inner_jit
def augment(
    matrix: ndarray, rows: ndarray, prices: ndarray, column_of: ndarray, slack: float
) -> None:
    """Match all rows by shortest augmenting paths; prices and column_of are updated.

    Pairs may miss complementary slackness by slack each, and go on missing it by no
    more: path lengths are cut off at 0.
    """
    n = len(rows)
    m = len(prices)
    row_of = np.empty(m, np.int32)
    _keep_tight_pairs(matrix, rows, prices, column_of, row_of, slack)
    # Non-negative floats order as their bit patterns do, and integer minima vectorize.
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
