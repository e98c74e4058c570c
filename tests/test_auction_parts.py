"""Candidate lists, proofs and work of the host solver, and its edges."""

import os
import subprocess
import sys
from pathlib import Path

import numba
import numpy as np
import pytest
from assignment_checks import check, features, from_python
from marks import slow
from scipy.optimize import linear_sum_assignment

from semrsm_jax._resources import core_limit
from semrsm_jax.matching import _augment
from semrsm_jax.matching._auction import HostSolution, solve
from semrsm_jax.matching._bidding import (
    LISTS_FROM,
    NARROW_FROM,
    NARROW_TO,
    SAMPLED_ROWS,
    _set_first_prices,
)
from semrsm_jax.matching._lists import CANDIDATES, list_candidates
from semrsm_jax.matching._phase import bid_phase
from semrsm_jax.matching._scans import BLOCK, best_columns


@pytest.mark.slow
@pytest.mark.parametrize("kind", "features noise duplicates digits square".split())
def test_candidate_lists(kind):
    """Rows long enough for candidate lists, and with more ties than one holds."""
    rng = np.random.default_rng(0)
    n, m = 400, LISTS_FROM + 40
    affinity = features(3, n, m, 32)[:1]
    if kind == "square":
        affinity = features(4, LISTS_FROM, LISTS_FROM, 32)[:1]
        affinity[:, :, -200:] = affinity[:, :, -1:]
    elif kind == "noise":
        affinity = rng.standard_normal((1, n, m)).astype(np.float32)
    elif kind == "duplicates":
        affinity = affinity[:, :, rng.integers(0, 12, m)]
    elif kind == "digits":
        affinity = rng.integers(0, 30, (1, n, m)).astype(np.float32)
    for tolerance in (1e-6,) if kind == "square" else (1e-6, 0.0):
        check(affinity, solve(affinity, tolerance=tolerance), tolerance)


@pytest.mark.slow
@pytest.mark.parametrize("kind", ["features", "one column", "outlier", "rectangle"])
def test_early_phases_in_16_bits(kind):
    """Also where prices or entries leave their range."""
    n, m = NARROW_FROM // (1 + 7 * (kind == "rectangle")), NARROW_FROM
    rng = np.random.default_rng(1)
    x, y = (np.maximum(rng.normal(size=(s, 16)), 0) for s in (n, m))
    affinity = (x @ y.T).astype(np.float32)
    if kind == "one column":
        affinity[:, 7] += 1e4 * rng.random(n)
    elif kind == "outlier":
        affinity[3, 5], affinity[8, 2] = 1e6, -1e6
    check(affinity[None], solve(affinity[None]))


@pytest.mark.parametrize("ties", [1, 8, 60])
@pytest.mark.parametrize("near", range(CANDIDATES - 2, CANDIDATES + 4))
def test_a_candidate_list_holds_all_above_its_threshold_and_no_more(near, ties):
    """`near` columns in few blocks, above the best of all other blocks."""
    rng = np.random.default_rng(near)
    profits = rng.integers(0, 100, LISTS_FROM).astype(np.int32)
    best = 1000 + np.arange(near) // ties
    profits[rng.permutation(8 * BLOCK)[:near]] = best
    prices = rng.integers(0, 20, LISTS_FROM).astype(np.int32)
    a = profits + prices
    columns = np.full(CANDIDATES + 1, LISTS_FROM, np.uint32)
    values = np.zeros(CANDIDATES + 1, np.int32)
    count, threshold = from_python(list_candidates)(
        a,
        prices,
        np.empty(LISTS_FROM // BLOCK, np.int32),
        columns[:CANDIDATES],
        values[:CANDIDATES],
    )
    above = np.flatnonzero(profits > threshold)
    assert 0 < count <= CANDIDATES and columns[CANDIDATES] == LISTS_FROM
    chosen = columns[:count].astype(int)
    assert set(above) <= set(chosen) and len(set(chosen)) == count
    assert (profits[chosen] >= threshold).all()
    np.testing.assert_array_equal(values[:count], a[chosen])


def one_phase(profits, epsilon, budget):
    """The columns and prices after one phase, and the length of each row's list."""
    n, m = profits.shape
    column_of, listed = np.empty(n + 1, np.int32), np.zeros(n, np.int64)
    lists = (
        np.zeros((n, CANDIDATES), np.uint32),
        np.full((n, CANDIDATES), 1000, np.int32),  # better, but on no list
        listed,
        np.empty(n, np.int32),
        np.empty(m // BLOCK, np.int32),
    )
    line = np.empty(n + 1, np.int32), np.empty(n + 1, np.bool_)
    none, prices = np.empty(0, np.int32), np.zeros(m, np.int32)
    slots = none, prices, np.empty(m, np.int32), column_of
    state = profits, prices, slots, (none, none, none)
    most = np.array([budget, 0])
    from_python(bid_phase)(*state, np.int32(epsilon), budget, most, lists, line)
    return column_of[:n], prices, listed


@pytest.mark.slow
def test_a_row_bids_for_no_column_beyond_its_list():
    n, m = 5, LISTS_FROM
    rng = np.random.default_rng(0)
    profits = rng.integers(-1000, -1, (n, m)).astype(np.int32)
    best = 100 * np.arange(n) + 7
    profits[np.arange(n), best] = 0
    column_of, _, _ = one_phase(profits, 1, 1000)
    np.testing.assert_array_equal(column_of, best)


@pytest.mark.slow
@pytest.mark.parametrize(("channels", "serve"), [(1, False), (8, True)])
def test_a_phase_goes_on_without_lists_that_do_not_serve(rng, channels, serve):
    """All rows want the same columns where tokens have one channel."""
    n, epsilon = 200, 1000
    x, y = (1 + rng.random((size, channels)) for size in (n, LISTS_FROM))
    affinity = x @ y.T - (x @ y.T).max(axis=1, keepdims=True)
    fixed = np.round(affinity / affinity.min() * -(2.0**20)).astype(np.int32)
    column_of, prices, listed = one_phase(fixed, epsilon, 10**6)
    assert (listed > 0).all() == serve
    assert len(set(column_of.tolist())) == n and column_of.min() >= 0
    profits = fixed - prices
    slack = profits.max(axis=1) - profits[np.arange(n), column_of]
    assert slack.max() <= epsilon


@pytest.mark.slow
def test_the_proof_is_repeated_where_slack_was_left():
    """The optimum is 0, so that slack in units of an earlier value is too much.

    The entries differ by less than the units of the fixed point, which the column of
    large entries sets: the auction ends below the optimum.
    """
    rng = np.random.default_rng(0)
    affinity = rng.choice([0.01, 0.02], (12, 1, 1)) * rng.standard_normal((12, 64, 64))
    affinity[:, :, 0] += 1e6
    for matrix in affinity:
        matrix -= matrix[linear_sum_assignment(matrix, maximize=True)].mean()
    check(affinity, solve(affinity, tolerance=0.9), 0.9)


of_one = numba.njit(lambda a, p: best_columns((a,), p, ()))
of_two = numba.njit(lambda a, b, p: best_columns((a, b), p, ()))
fetching = numba.njit(lambda a, b, p: best_columns((a, b), p, (b, a)))


def all_best_columns(rows, prices):
    """The best columns of each row, of those in twos, and of those after fetching."""
    pairs = list(zip(rows[::2], rows[1::2], strict=True))
    yield [result for row in rows for result in of_one(row, prices)]
    for function in (of_two, fetching):
        yield [result for pair in pairs for result in function(*pair, prices)]


@pytest.mark.parametrize("dtype", [np.int16, np.int32])
def test_best_columns_are_those_of_sorted_profits(rng, dtype):
    # Each column is the best of a row; all others are what rows are filled up with.
    anywhere = np.full((2 * BLOCK, 2 * BLOCK), np.iinfo(dtype).min + 1, dtype)
    np.fill_diagonal(anywhere, 0)
    cases = [(anywhere, np.zeros(2 * BLOCK, dtype))]
    for most in (1, 3, np.iinfo(dtype).max // 2):  # with ties, and hardly any
        for m in (BLOCK, 2 * BLOCK, 5 * BLOCK):
            rows = rng.integers(-most, most, (20, m), dtype)
            cases.append((rows, rng.integers(0, most, m, dtype)))
    for rows, prices in cases:
        profits = rows - prices
        columns = profits.argmax(axis=1)  # the first of equally good ones
        second, first = np.sort(profits, axis=1)[:, -2:].T
        expected = list(zip(columns, first, second, strict=True))
        for results in all_best_columns(rows, prices):
            assert results == expected


@pytest.mark.slow  # compiles the phases in 16 bits
def test_more_columns_than_16_bits_can_number(rng):
    affinity = rng.random((1, 3, NARROW_TO + 200), np.float32)
    affinity[0, :, -1] += 1  # all want the last one
    check(affinity, solve(affinity))


@pytest.mark.parametrize("shape", [(40, 40), (300, 300), (20, 50)])
def test_first_prices_equalize_the_mean_profits(rng, shape):
    """As far as no row counts more than the typical one, and absent rows are 0."""
    matrix = rng.normal(size=shape) + 3 * rng.normal(size=shape[1])
    matrix[-1] *= 1e6  # not among those of which the mean is taken where n = 300
    spreads = np.ptp(matrix, axis=1)
    typical, prices = np.median(spreads), np.zeros(shape[1])
    rows = np.arange(shape[0])
    from_python(_set_first_prices)(matrix, rows, spreads, typical, prices)
    chosen = rows[:: 2 if shape[0] > 2 * SAMPLED_ROWS else 1]
    weighted = matrix[chosen] * np.minimum(1, typical / spreads[chosen, None])
    wanted = weighted.mean(axis=0) * shape[0] / shape[1]
    np.testing.assert_allclose(prices, wanted - wanted.min(), atol=1e-9)
    assert prices.min() == 0 and np.ptp(prices) <= typical


@pytest.mark.parametrize(
    ("bad", "dtype"),
    [
        *((bad, np.float32) for bad in (np.nan, np.inf, -np.inf)),
        *(slow(bad, np.float64) for bad in (np.nan, np.inf, -np.inf, 1.7e308)),
    ],
)
def test_pair_that_is_not_finite_or_whose_differences_overflow_is_marked(bad, dtype):
    affinity = np.random.default_rng(0).standard_normal((3, 70, 80)).astype(dtype)
    affinity[1, 69, 79] = bad
    if np.isfinite(bad):
        affinity[1, 69, 0] = -bad
    solution = solve(affinity)
    assert np.isnan(solution.upper_bound[1])
    assert (solution.permutation[1] == -1).all()
    good = [0, 2]
    check(affinity[good], HostSolution(*(field[good] for field in solution)))


@pytest.mark.parametrize(("size", "repeated"), [(64, 0), (140, 56)])
def test_deterministic_over_threads_and_position(size, repeated):
    base, filler = (features(seed, size, size, 8)[:1] for seed in (5, 6))
    for affinity in (base, filler):
        affinity[:, :repeated] = affinity[:, :1]
        affinity[:, :, :repeated] = affinity[:, :, :1]
    alone = solve(base)
    batch = np.concatenate([filler, base, filler, filler, base] * 9)
    for threads in (1, 2, 5):
        with core_limit(threads):
            solution = solve(batch)
        for b in np.flatnonzero((batch == base).all((1, 2))):
            np.testing.assert_array_equal(solution.permutation[b], alone.permutation[0])
            assert solution.upper_bound[b] == alone.upper_bound[0]
            np.testing.assert_array_equal(solution.prices[b], alone.prices[0])


def test_input_is_left_alone_and_read_only_input_works():
    affinity = features(7, 33, 33, 8)
    before = affinity.copy()
    affinity.flags.writeable = False
    check(affinity, solve(affinity))
    np.testing.assert_array_equal(affinity, before)
    check(before[:, ::2, ::3], solve(before[:, ::2, ::3]))


def test_no_cache_folder(monkeypatch):
    real = numba.njit

    def njit(*args, cache=False, **options):
        if cache:
            raise RuntimeError("cannot cache function: no locator available")
        return real(*args, **options)

    monkeypatch.setattr(numba, "njit", njit)
    double = _augment.jit(lambda x: 2 * x)
    assert double(21) == 42


@pytest.mark.slow
def test_import_compiles_nothing_and_survives_a_read_only_home(tmp_path):
    package = Path(_augment.__file__).parents[2]
    code = (
        "import numba.core.caching as c\n"
        "def refuse(*a, **k): return None\n"
        "for locator in c.CacheImpl._locator_classes:\n"
        "    locator.from_function = classmethod(refuse)\n"
        "from semrsm_jax.matching import _auction, _augment\n"
        "assert not _auction._solve_range.signatures\n"
        "assert not _augment.augment.signatures\n"
        "import numpy as np\n"
        "out = np.empty(1)\n"
        "profits = _augment.jit(_augment.profits.py_func)\n"
        "profits(np.ones((1, 2)), np.arange(1), np.zeros(2), out)\n"
        "assert out[0] == 1.0\n"
    )
    environment = dict(os.environ, PYTHONPATH=str(package), HOME=str(tmp_path))
    subprocess.run([sys.executable, "-c", code], check=True, env=environment)
