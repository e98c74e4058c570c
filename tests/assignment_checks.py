"""Checks of a solution of the host solver against SciPy."""

import numpy as np
from scipy.optimize import linear_sum_assignment

from semrsm_jax.matching._auction import HostSolution


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
        optimum = valid[i, j].sum()
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
        assert optimum - value <= allowed
        assert solution.upper_bound[b] - value <= allowed
        assert solution.upper_bound[b] >= optimum - exact
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
            assert dual >= optimum - rounding


def features(seed: int, s: int, t: int, channels: int) -> np.ndarray:
    rng = np.random.default_rng(seed)
    x = np.maximum(rng.standard_normal((2, s, channels)), 0)
    y = np.maximum(rng.standard_normal((2, t, channels)), 0)
    return (x @ y.transpose(0, 2, 1)).astype(np.float32)
