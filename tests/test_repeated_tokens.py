"""Exact assignment where many rows or columns of a matrix are equal."""

import assignment_checks
import numpy as np
import pytest
from compiled_functions import from_python, scans
from hypothesis import given, settings
from hypothesis import strategies as st

from semrsm_jax.matching import _auction, _repeats
from semrsm_jax.matching._auction import solve
from semrsm_jax.matching._joint_bids import equal_rows_bid
from semrsm_jax.matching._scans import BLOCK


def repeating(rng, rows, columns, share, kinds=1, channels=16):
    """Affinities of tokens, of which a share on both sides has one of few kinds."""
    x, y = (
        np.maximum(rng.normal(size=(size, channels)), 0) for size in (rows, columns)
    )
    plain = np.maximum(rng.normal(size=(kinds, channels)), 0)
    for side in (x, y):
        repeated = rng.random(len(side)) < share
        side[repeated] = plain[rng.integers(kinds, size=repeated.sum())]
    return x @ y.T


def check(matrix, tolerance=1e-6):
    batch = matrix[None]
    assignment_checks.check(batch, solve(batch, tolerance=tolerance), tolerance)


@pytest.mark.parametrize("shape", [(160, 160), (150, 190), (190, 150)])
@pytest.mark.parametrize("share", [0.05, 0.3, 0.6, 0.97])
@pytest.mark.parametrize("tolerance", [1e-6, 0.0])
def test_tokens_pasted_over_both_sides(rng, shape, share, tolerance):
    for kinds in (1, 3):
        matrix = repeating(rng, *shape, share, kinds)
        check(matrix.astype(np.float32), tolerance)


@settings(max_examples=30, deadline=None)
@given(st.integers(0, 2**32 - 1), st.floats(0, 1), st.integers(1, 40))
def test_any_number_of_kinds(seed, share, kinds):
    rng = np.random.default_rng(seed)
    matrix = repeating(rng, 130, 130, share, kinds, channels=4)
    check((matrix - rng.uniform(0, 4)).astype(np.float32))


@pytest.mark.parametrize("side", [0, 1])
def test_one_side_alone_repeats(rng, side):
    x, y = np.maximum(rng.normal(size=(2, 200, 8)), 0)
    y[:150] = y[0]
    matrix = (x @ y.T).astype(np.float32)
    check(matrix if side else np.ascontiguousarray(matrix.T))


def test_rounding_may_tell_repeated_tokens_apart(rng):
    matrix = repeating(rng, 200, 200, 0.5).astype(np.float32)
    matrix *= 1 + rng.integers(-1, 2, matrix.shape) * np.float32(2**-23)
    order, begin, class_of = from_python(_repeats.equal_columns)(
        matrix, np.arange(200), 4e-7 * matrix.max(1).astype(float)
    )
    assert np.diff(begin).max() > 80
    assert sorted(order) == list(range(200))
    for k in range(len(begin) - 1):
        assert (class_of[order[begin[k] : begin[k + 1]]] == k).all()
    check(matrix)
    check(matrix, 0.0)


def test_what_differs_is_not_merged(rng):
    """Columns alike where they are sampled, and unlike in one row only."""
    matrix = np.tile(rng.random((200, 1)), (1, 200)).astype(np.float32)
    matrix[:, :20] = rng.random((200, 20))
    matrix[77, 150:] += 0.5
    order, begin, _ = from_python(_repeats.equal_columns)(
        matrix, np.arange(200), np.zeros(200)
    )
    largest = np.diff(begin).argmax()
    merged = order[begin[largest] : begin[largest + 1]]
    assert sorted(merged) == list(range(20, 150))
    check(matrix)


def test_nearly_constant_rows_keep_two_classes(rng):
    """Entries that differ by less than the tolerance allows are told apart still."""
    matrix = np.full((200, 200), 1e6)
    matrix += rng.choice([0, 1e-3], (200, 1)) * (rng.random((1, 200)) < 0.5)
    check(matrix)


@pytest.mark.slow
def test_equal_rows_bid_together(rng, monkeypatch):
    """Alone they would need a scan for every epsilon that a price rises by."""
    matrix = repeating(rng, 256, 256, 0.4).astype(np.float32)
    # With and without a look for repeated tokens.
    together, alone = (scans(monkeypatch, matrix, r)[0] for r in (True, False))
    assert together < alone / 3


@pytest.mark.parametrize("others", [0, 1, 30])
def test_one_more_of_equal_rows_bids_as_all_of_them(rng, others):
    """The shorter code for one row gives what the code for many gives."""
    m, count, epsilon = BLOCK, BLOCK - others, np.int32(7)
    entries = np.sort(rng.choice(10**6, m, replace=False)).astype(np.int32) - 2**29
    equal = rng.permutation(m)[:count].astype(np.int32)
    taken = rng.permutation(m).astype(np.int32)  # the column of each row
    taken[equal[-1]] = -1
    outcomes = []
    # By itself a column is a class of one slot, which the code for many handles.
    for begin in (np.empty(0, np.int32), np.arange(m + 1, dtype=np.int32)):
        prices = np.arange(m, dtype=np.int32)[::-1] * 50
        p = prices.copy() if len(begin) else prices
        slot_of, row_of = np.append(taken, -1), np.full(m, m, np.int32)
        row_of[taken[taken >= 0]] = np.flatnonzero(taken >= 0)
        slots = begin, prices, row_of, slot_of
        line = np.empty(m + 1, np.int32), 0, np.append(np.zeros(m, bool), True)
        free = from_python(equal_rows_bid)(entries, p, slots, equal, epsilon, *line)
        np.testing.assert_array_equal(p, prices)
        outcomes.append((prices, row_of, slot_of[:m], line[0][:free]))
    for one, many in zip(*outcomes, strict=True):
        np.testing.assert_array_equal(one, many)
    held = outcomes[0][2][equal]
    assert len(set(held.tolist())) == count and held.min() >= 0


def test_the_answer_is_the_same_for_any_number_of_threads(rng):
    batch = np.stack([repeating(rng, 140, 140, 0.4) for _ in range(6)])
    one, two = (solve(batch, threads=threads) for threads in (1, 2))
    for first, second in zip(one, two, strict=True):
        np.testing.assert_array_equal(first, second)
    alone = _auction.solve(batch[3:4])
    np.testing.assert_array_equal(alone.permutation[0], one.permutation[3])
