"""What the tests of hard matchings share: tokens, SciPy's optimum, checks, counts."""

import functools
from collections.abc import Callable
from typing import Any

import numba
import numpy as np
import pytest
from numba.core.dispatcher import Dispatcher
from scipy.optimize import linear_sum_assignment

from semrsm_jax.matching import _bidding
from semrsm_jax.matching._auction import HostSolution
from semrsm_jax.matching._scans import BLOCK

GRID = (4, 6)
TOKENS = 24


def tokens(rng, *shape):
    """Tokens as ReLU leaves them."""
    return np.maximum(rng.normal(size=shape) + 0.2, 0).astype(np.float32)


def optimum(affinity, maximize=True):
    """The value of the best assignment."""
    matrix = np.asarray(affinity, np.float64)
    return matrix[linear_sum_assignment(matrix, maximize=maximize)].sum()


def best_value(x, y):
    """The matched inner product of the best matching of tokens."""
    return optimum(np.asarray(x, np.float64) @ np.asarray(y, np.float64).T)


def is_complete(permutation, columns):
    """All tokens of the smaller side are matched, each with one of its own."""
    permutation = np.asarray(permutation)
    matched = permutation[permutation >= 0]
    size = min(len(permutation), columns)
    return len(set(matched.tolist())) == len(matched) == size and max(matched) < columns


def check(
    affinity: np.ndarray,
    solution: HostSolution,
    tolerance: float = 1e-6,
    row_mask: np.ndarray | None = None,
    column_mask: np.ndarray | None = None,
) -> None:
    """Assert a valid matching, within the tolerance of SciPy's and of the bound."""
    pairs, s, t = affinity.shape
    assert solution.permutation.shape == (pairs, s)
    assert solution.permutation.dtype == np.int32
    assert solution.upper_bound.shape == (pairs,)
    assert solution.prices.shape == (pairs, t)
    for b in range(pairs):
        rows = np.arange(s) if row_mask is None else np.flatnonzero(row_mask[b])
        columns = np.arange(t)
        if column_mask is not None:
            columns = np.flatnonzero(column_mask[b])
        valid = affinity[b].astype(np.float64)[np.ix_(rows, columns)]
        i, j = linear_sum_assignment(valid, maximize=True)
        best = valid[i, j].sum()
        magnitude = np.abs(valid[i, j]).sum()

        matched = np.flatnonzero(solution.permutation[b] >= 0)
        chosen = solution.permutation[b, matched]
        assert len(matched) == min(len(rows), len(columns))
        assert set(matched) <= set(rows)
        assert set(chosen) <= set(columns)
        assert len(set(chosen)) == len(chosen)
        value = affinity[b].astype(np.float64)[matched, chosen].sum()

        exact = 1e-13 * magnitude
        rounding = np.finfo(affinity.dtype).eps * magnitude if tolerance > 0 else 0.0
        allowed = max(tolerance * abs(value), rounding) + exact
        assert best - value <= allowed
        assert solution.upper_bound[b] - value <= allowed
        assert solution.upper_bound[b] >= best - exact
        # The bound is what the prices prove.
        if min(valid.shape) > 0:
            prices = solution.prices[b, columns]
            profit = (valid - prices).max(1)
            # Where all are matched on both sides a price may have any sign.
            if len(rows) < len(columns):
                assert prices.min() >= 0.0
            elif len(rows) > len(columns):
                profit = np.maximum(profit, 0.0)
            dual = profit.sum() + prices.sum()
            rounding = 1e-12 * (np.abs(prices).sum() + np.abs(profit).sum())
            assert dual <= solution.upper_bound[b] + rounding
            assert dual >= best - rounding


def features(seed: int, s: int, t: int, channels: int) -> np.ndarray:
    rng = np.random.default_rng(seed)
    x = np.maximum(rng.standard_normal((2, s, channels)), 0)
    y = np.maximum(rng.standard_normal((2, t, channels)), 0)
    return (x @ y.transpose(0, 2, 1)).astype(np.float32)


# Parts of the host solver, which compiled functions alone can call

# Around the phases.
_LOOPS = ("auction", "_phases")


@functools.cache
def from_python(function: Callable) -> Callable:
    """A compiled function that calls one which Python cannot call."""
    return numba.njit(lambda *arguments: function(*arguments))


def scans(
    monkeypatch: pytest.MonkeyPatch, matrix: np.ndarray, repeats: bool
) -> tuple[int, np.ndarray, bool]:
    """What the phases of a square auction cost, the columns, and whether it ended well.

    The compiled phases are called by the uncompiled loop over them.
    """
    n, costs = len(matrix), []
    with monkeypatch.context() as patch:
        loops = {name: getattr(_bidding, name).py_func for name in _LOOPS}
        for name, function in vars(_bidding).copy().items():
            if isinstance(function, Dispatcher):
                function = loops.get(name) or from_python(function)
                patch.setattr(_bidding, name, function)
        phase = _bidding.bid_phase

        def counted(*arguments: Any) -> int:
            costs.append(phase(*arguments))
            return costs[-1]

        patch.setattr(_bidding, "bid_phase", counted)
        best, worst = matrix.max(1).astype(float), matrix.min(1).astype(float)
        matched, prices = np.full(n, -1, np.int32), np.zeros(n)
        space = np.empty(n * (n + BLOCK), np.int32)
        ranges = matrix, np.arange(n), best, worst
        arguments = (*ranges, 1e-6, repeats, space, None, matched)
        complete = _bidding.auction(*arguments, prices)
    return sum(costs), matched, complete
