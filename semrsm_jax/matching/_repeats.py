"""Columns and rows of an affinity that repeat others, up to rounding.

A photograph with a plain background has many equal tokens. Rows that bid for one of
many equal columns, or against equal rows, would outbid each other by epsilon at a time:
columns are bought as members of their class instead, and equal rows bid together (the
similar objects and persons of Bertsekas and Castañon, "The auction algorithm for the
transportation problem", Annals of Operations Research 20, 1989). A matrix product
rounds equal tokens differently, by their place in it.
"""

import numpy as np
from numpy import ndarray

from semrsm_jax.matching._augment import inner_jit

LEAST = 128  # tokens; repeats among fewer cost little
SAMPLES = 2  # entries by which columns are told apart before they are compared
LEVELS = 2.0**18  # to which these are rounded, of the largest
FACTOR = np.uint64(0x9E3779B97F4A7C15)
LEAST_SHARE = 32  # one in so many columns has to repeat another to be worth the work


@inner_jit
def _mixed(key: np.uint64, x: float) -> np.uint64:
    level = np.int64(x + 0.5) if x > 0.0 else np.int64(x - 0.5)
    key = (key ^ np.uint64(level)) * FACTOR
    return key ^ (key >> np.uint64(29))


@inner_jit
def _unit(matrix: ndarray, rows: ndarray) -> float:
    """Of the levels; 0 where the sampled rows are zero or not finite."""
    largest = 0.0
    for sample in range(SAMPLES):
        a = matrix[rows[sample * len(rows) // SAMPLES]]
        for j in range(len(a)):
            largest = max(largest, abs(np.float64(a[j])))
    return LEVELS / largest if 0.0 < largest < np.inf else 0.0


@inner_jit
def _first_of_each(keys: ndarray) -> ndarray:
    """The first index with the same key, for every index."""
    size = 4
    while size < 2 * len(keys):
        size *= 2
    places = np.full(size, -1, np.int32)
    first = np.empty(len(keys), np.int32)
    for j in range(len(keys)):
        place = np.int64(keys[j] >> np.uint64(32)) & (size - 1)
        while places[place] >= 0 and keys[places[place]] != keys[j]:
            place = (place + 1) & (size - 1)
        if places[place] < 0:
            places[place] = j
        first[j] = places[place]
    return first


@inner_jit
def _repeating(first: ndarray) -> int:
    """How many indices repeat an earlier one; 0 where they are too few."""
    repeated = 0
    for j in range(len(first)):
        repeated += 1 if first[j] != j else 0
    return repeated if repeated * LEAST_SHARE >= len(first) else 0


@inner_jit
def _column_keys(matrix: ndarray, rows: ndarray) -> ndarray:
    unit = _unit(matrix, rows)
    keys = np.zeros(matrix.shape[1], np.uint64)
    for sample in range(SAMPLES):
        a = matrix[rows[sample * len(rows) // SAMPLES]]
        for j in range(len(keys)):
            keys[j] = _mixed(keys[j], np.float64(a[j]) * unit)
    return keys


@inner_jit
def _row_keys(matrix: ndarray, rows: ndarray) -> ndarray:
    unit = _unit(matrix, rows)
    keys = np.zeros(len(rows), np.uint64)
    start = matrix.shape[1] // 2  # beside each other, as they lie in the cache
    for r in range(len(rows)):
        a = matrix[rows[r]]
        for j in range(start, min(start + SAMPLES, len(a))):
            keys[r] = _mixed(keys[r], np.float64(a[j]) * unit)
    return keys


@inner_jit
def repeats(matrix: ndarray, rows: ndarray) -> tuple[int, int]:
    """How many columns and how many rows seem to repeat others; 0 for few tokens."""
    if len(rows) == 0 or max(len(rows), matrix.shape[1]) < LEAST:
        return 0, 0
    columns = _repeating(_first_of_each(_column_keys(matrix, rows)))
    return columns, _repeating(_first_of_each(_row_keys(matrix, rows)))


@inner_jit
def _by_class(first: ndarray) -> tuple[ndarray, ndarray, ndarray]:
    """Sorts indices by class.

    Returns the indices (m,) in that order, where in it each of k classes begins (k +
    1,), and the class of each index (m,); all empty where too few repeat others.
    """
    m = len(first)
    if _repeating(first) == 0:
        nothing = np.empty(0, np.int32)
        return nothing, nothing, nothing
    sizes = np.zeros(m, np.int32)
    for j in range(m):
        sizes[first[j]] += 1
    begin = np.empty(m + 1, np.int32)
    place = np.empty(m, np.int32)
    k, total = 0, 0
    for j in range(m):
        if first[j] == j:
            begin[k] = place[j] = total
            total += sizes[j]
            k += 1
    begin[k] = m
    order = np.empty(m, np.int32)
    class_of = np.empty(m, np.int32)
    k = -1
    for j in range(m):
        k += np.int64(first[j] == j)
        class_of[j] = k if first[j] == j else class_of[first[j]]
        order[place[first[j]]] = j
        place[first[j]] += 1
    return order, begin[: k + 2], class_of


@inner_jit
def equal_columns(
    matrix: ndarray, rows: ndarray, slack: ndarray
) -> tuple[ndarray, ndarray, ndarray]:
    """Sorts columns by class, see `_by_class`.

    Their entries differ by at most `slack` (n,) of each row.
    """
    first = _first_of_each(_column_keys(matrix, rows))
    if _repeating(first) > 0:
        later = np.empty(len(first), np.int32)
        count = 0
        for j in range(len(first)):
            if first[j] != j:
                later[count] = j
                count += 1
        for r in range(len(rows)):
            a = matrix[rows[r]]
            for t in range(count):
                j = later[t]
                if abs(np.float64(a[j]) - np.float64(a[first[j]])) > slack[r]:
                    first[j] = j
    return _by_class(first)


@inner_jit
def equal_rows(
    matrix: ndarray, rows: ndarray, slack: ndarray
) -> tuple[ndarray, ndarray, ndarray]:
    """Sorts numbers of rows by class, see `equal_columns`."""
    first = _first_of_each(_row_keys(matrix, rows))
    if _repeating(first) > 0:
        for r in range(len(first)):
            if first[r] != r:
                a, b = matrix[rows[r]], matrix[rows[first[r]]]
                for j in range(len(a)):
                    if abs(np.float64(a[j]) - np.float64(b[j])) > slack[r]:
                        first[r] = r
                        break
    return _by_class(first)
