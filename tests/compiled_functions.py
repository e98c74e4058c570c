"""Parts of the host solver, which compiled functions alone can call."""

from collections.abc import Callable
from typing import Any

import numba
import numpy as np
import pytest
from numba.core.dispatcher import Dispatcher

from semrsm_jax.matching import _bidding
from semrsm_jax.matching._scans import BLOCK

# Around the phases.
_LOOPS = ("auction", "_phases")


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
