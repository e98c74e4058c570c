"""The host solver against SciPy, its own proof, and inputs made to break it."""

import functools

import numpy as np
import pytest
from assignment_checks import check, features, from_python, scans
from hypothesis import given, settings
from hypothesis import strategies as st
from marks import slow

from experiments.runtime.adversarial import families
from semrsm_jax.matching import _repeats
from semrsm_jax.matching._auction import solve
from semrsm_jax.matching._joint_bids import equal_rows_bid
from semrsm_jax.matching._scans import BLOCK

SHAPES = [(1, 1), (1, 6), (6, 1), (7, 7), (40, 40), (64, 65), (65, 64), (30, 128)]


@pytest.mark.parametrize("dtype", [np.float32, slow(np.float64)])
@pytest.mark.parametrize("tolerance", [1e-3, 1e-6, 0.0])
@pytest.mark.parametrize("shape", SHAPES)
def test_matches_scipy(shape, tolerance, dtype):
    rng = np.random.default_rng(0)
    affinity = rng.standard_normal((3, *shape)).astype(dtype)
    check(affinity, solve(affinity, tolerance=tolerance), tolerance)
    affinity = features(1, *shape, 16).astype(dtype)
    check(affinity, solve(affinity, tolerance=tolerance), tolerance)


@settings(max_examples=150, deadline=None)
@given(
    shape=st.tuples(st.integers(1, 12), st.integers(1, 12)),
    levels=st.sampled_from([1, 2, 5, 1000]),
    seed=st.integers(0, 2**32 - 1),
    tolerance=st.sampled_from([0.0, 1e-6]),
)
def test_integers_are_exact(shape, levels, seed, tolerance):
    rng = np.random.default_rng(seed)
    affinity = rng.integers(-levels, levels + 1, (2, *shape)).astype(np.float32)
    check(affinity, solve(affinity, tolerance=tolerance), tolerance)


@settings(max_examples=100, deadline=None)
@given(
    s=st.integers(1, 20),
    t=st.integers(1, 20),
    seed=st.integers(0, 2**32 - 1),
    row_share=st.floats(0, 1),
    column_share=st.floats(0, 1),
    tolerance=st.sampled_from([0.0, 1e-6]),
)
def test_masked_tokens_are_absent(s, t, seed, row_share, column_share, tolerance):
    rng = np.random.default_rng(seed)
    affinity = rng.standard_normal((2, s, t)).astype(np.float32)
    row_mask = rng.random((2, s)) < row_share
    column_mask = rng.random((2, t)) < column_share
    affinity[~(row_mask[:, :, None] & column_mask[:, None, :])] = np.nan
    solution = solve(affinity, row_mask, column_mask, tolerance=tolerance)
    check(affinity, solution, tolerance, row_mask, column_mask)
    assert (solution.prices[~column_mask] == 0).all()
    for b in range(2):
        alone = solve(
            affinity[b][np.ix_(row_mask[b], column_mask[b])][None], tolerance=tolerance
        )
        chosen = alone.permutation[0]
        columns = np.flatnonzero(column_mask[b])
        expected = np.where(chosen >= 0, np.append(columns, -1)[chosen], -1)
        np.testing.assert_array_equal(solution.permutation[b, row_mask[b]], expected)


@pytest.mark.parametrize("scale", [1e-40, 1e-30, 1e-12, 1e12, 1e30])
@pytest.mark.parametrize("tolerance", [1e-6, 0.0])
def test_scales(scale, tolerance):
    affinity = (features(2, 48, 48, 8) * np.float32(scale)).astype(np.float32)
    check(affinity, solve(affinity, tolerance=tolerance), tolerance)


@pytest.mark.slow
@pytest.mark.parametrize("scale", [1e-310, 1e-300, 1e-30, 1e30, 1e300])
def test_scales_float64(scale):
    affinity = np.random.default_rng(0).standard_normal((1, 40, 50)) * scale
    check(affinity, solve(affinity), 1e-6)


@pytest.mark.parametrize("shape", [(0, 5, 5), (2, 0, 5), (2, 5, 0), (2, 0, 0)])
def test_empty(shape):
    solution = solve(np.zeros(shape, np.float32))
    assert (solution.permutation == -1).all()
    assert (solution.upper_bound == 0).all()
    assert solution.permutation.shape == shape[:2]
    assert solution.prices.shape == (shape[0], shape[2])


@functools.cache
def adversarial(n: int) -> dict[str, np.ndarray]:
    """Those of the runtime study, and more with ties, outliers and equal entries."""
    rng = np.random.default_rng(0)
    studied = families(n, rng.integers(0, 256, (2, n, 3)) / 255)
    x, y = rng.standard_normal((2, n, 64))
    heavy_x, heavy_y = (z * np.abs(rng.standard_cauchy((n, 1))) for z in (x, y))
    outlier, abyss, mixed = rng.standard_normal((3, n, n))
    outlier[n // 2, n // 3], abyss[n // 2, n // 3] = 1e30, -1e30
    mixed[: n // 2] = 0.0
    steps = np.arange(n, dtype=np.float64)
    own = {
        "coins": rng.integers(0, 2, (n, n)),
        "negative_constant": np.full((n, n), -2.5),
        "zero": np.zeros((n, n)),
        "row_constant": np.repeat(rng.standard_normal((n, 1)), n, 1),
        "column_constant": np.repeat(rng.standard_normal((1, n)), n, 0),
        "half_constant": mixed,
        "heavy_tails": heavy_x @ heavy_y.T,
        "negative_product": -np.outer(steps, steps),
        "offset": 1e4 + rng.random((n, n)),
        "outlier": outlier,
        "abyss": abyss,
        "geometric": -((rng.random((n, 1, 2)) - rng.random((1, n, 2))) ** 2).sum(-1),
        "zero_value": rng.standard_normal((n, n)) - 3,
    }
    for share in (30, 60, 90):
        zx, zy = (
            np.maximum(z, 0) * (rng.random((n, 1)) * 100 >= share) for z in (x, y)
        )
        centered = (zx - zx.mean(0)) @ (zy - zy.mean(0)).T
        own[f"zero_tokens_centered_{share}"] = centered
    made = {name: make(rng) for name, make in studied.items()} | own
    assert [matrix.shape for matrix in made.values()] == 32 * [(n, n)]
    return made


@pytest.mark.parametrize("family", sorted(adversarial(4)))
@pytest.mark.parametrize("n", [5, 64, 110])
def test_adversarial(family, n):
    affinity = np.asarray(adversarial(n)[family], np.float32)[None]
    for tolerance in (1e-6, 0.0):
        check(affinity, solve(affinity, tolerance=tolerance), tolerance)
        wide = np.ascontiguousarray(affinity[:, : n // 2 + 1])
        check(wide, solve(wide, tolerance=tolerance), tolerance)
        tall = np.ascontiguousarray(affinity[:, :, : n - 1])
        check(tall, solve(tall, tolerance=tolerance), tolerance)


@pytest.mark.parametrize(
    "family",
    ["16 clusters", "integers 0 to 9", "heavy_tails", "60 % zero tokens", "C=1"],
)
def test_adversarial_at_medium_size(family):
    affinity = np.asarray(adversarial(520)[family], np.float32)[None]
    check(affinity, solve(affinity))


# Many rows or columns of a matrix are equal


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


def check_one(matrix, tolerance=1e-6):
    check(matrix[None], solve(matrix[None], tolerance=tolerance), tolerance)


@pytest.mark.parametrize("shape", [(160, 160), (150, 190), (190, 150)])
@pytest.mark.parametrize("share", [0.05, 0.3, 0.6, 0.97])
@pytest.mark.parametrize("tolerance", [1e-6, 0.0])
def test_tokens_pasted_over_both_sides(rng, shape, share, tolerance):
    for kinds in (1, 3):
        matrix = repeating(rng, *shape, share, kinds)
        check_one(matrix.astype(np.float32), tolerance)


@settings(max_examples=30, deadline=None)
@given(st.integers(0, 2**32 - 1), st.floats(0, 1), st.integers(1, 40))
def test_any_number_of_kinds(seed, share, kinds):
    rng = np.random.default_rng(seed)
    matrix = repeating(rng, 130, 130, share, kinds, channels=4)
    check_one((matrix - rng.uniform(0, 4)).astype(np.float32))


@pytest.mark.parametrize("side", [0, 1])
def test_one_side_alone_repeats(rng, side):
    x, y = np.maximum(rng.normal(size=(2, 200, 8)), 0)
    y[:150] = y[0]
    matrix = (x @ y.T).astype(np.float32)
    check_one(matrix if side else np.ascontiguousarray(matrix.T))


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
    check_one(matrix)
    check_one(matrix, 0.0)


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
    check_one(matrix)


@pytest.mark.slow
def test_nearly_constant_rows_keep_two_classes(rng):
    """Entries that differ by less than the tolerance allows are told apart still."""
    matrix = np.full((200, 200), 1e6)
    matrix += rng.choice([0, 1e-3], (200, 1)) * (rng.random((1, 200)) < 0.5)
    check_one(matrix)


@pytest.mark.slow
def test_equal_rows_bid_together(rng, monkeypatch):
    """Alone they would need a scan for every epsilon that a price rises by."""
    matrix = repeating(rng, 256, 256, 0.4).astype(np.float32)
    # With and without a look for repeated tokens.
    together, alone = (scans(monkeypatch, matrix, r)[0] for r in (True, False))
    assert together < alone / 3


@pytest.mark.slow
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


# The scans measured on these matrices: only another algorithm may need more.
@pytest.mark.slow
@pytest.mark.parametrize(
    ("size", "ceiling"), [(64, [707, 541, 567]), (256, [3859, 4284, 4129])]
)
def test_the_auction_needs_no_more_scans(monkeypatch, size, ceiling):
    counts = []
    for seed in range(3):
        x, y = np.random.default_rng(seed).integers(-20, 40, (2, size, 8)).clip(0)
        affinity = (x @ y.T).astype(np.float32)
        count, matched, complete = scans(monkeypatch, affinity, True)
        assert complete
        assert len(set(matched.tolist())) == size
        counts.append(count)
    assert all(np.array(counts) <= ceiling), counts
