"""Exact assignment where many rows or columns of a matrix are equal."""

import assignment_checks
import numpy as np
import pytest
from compiled_functions import from_python, scans
from hypothesis import given, settings
from hypothesis import strategies as st

from semrsm_jax.matching import _auction, _repeats
from semrsm_jax.matching._auction import solve


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


def test_the_answer_is_the_same_for_any_number_of_threads(rng):
    batch = np.stack([repeating(rng, 140, 140, 0.4) for _ in range(6)])
    one, two = (solve(batch, threads=threads) for threads in (1, 2))
    for first, second in zip(one, two, strict=True):
        np.testing.assert_array_equal(first, second)
    alone = _auction.solve(batch[3:4])
    np.testing.assert_array_equal(alone.permutation[0], one.permutation[3])
