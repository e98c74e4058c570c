"""The host solver against SciPy, its own proof, and inputs made to break it."""

import numpy as np
import pytest
from assignment_checks import check, features
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.optimize import linear_sum_assignment

from semrsm_jax.matching._auction import solve

SHAPES = [(1, 1), (1, 6), (6, 1), (7, 7), (40, 40), (64, 65), (65, 64), (30, 128)]


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
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
    solution = solve(affinity, tolerance=tolerance, threads=1)
    check(affinity, solution, tolerance)
    if tolerance == 0.0:
        for a, permutation in zip(affinity, solution.permutation, strict=True):
            i, j = linear_sum_assignment(a, maximize=True)
            rows = np.flatnonzero(permutation >= 0)
            assert a[rows, permutation[rows]].sum() == a[i, j].sum()


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
    solution = solve(affinity, row_mask, column_mask, tolerance=tolerance, threads=1)
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


@pytest.mark.parametrize("scale", [1e-310, 1e-300, 1e-30, 1e30, 1e300])
def test_scales_float64(scale):
    affinity = np.random.default_rng(0).standard_normal((1, 40, 50)) * scale
    check(affinity, solve(affinity), 1e-6)


def adversarial(n: int, seed: int = 0) -> dict[str, np.ndarray]:
    """Matrices with ties, duplicates, outliers and long chains of near ties."""
    rng = np.random.default_rng(seed)
    x, y = rng.standard_normal((2, n, 64))
    centers = rng.standard_normal((16, 64))
    a = centers[rng.integers(0, 16, n)]
    b = centers[rng.integers(0, 16, n)]
    noise_a, noise_b = 1e-3 * rng.standard_normal((2, n, 64))
    heavy_x = x * np.abs(rng.standard_cauchy((n, 1)))
    heavy_y = y * np.abs(rng.standard_cauchy((n, 1)))
    outlier = rng.standard_normal((n, n))
    outlier[n // 2, n // 3] = 1e30
    abyss = rng.standard_normal((n, n))
    abyss[n // 2, n // 3] = -1e30
    pixels = rng.integers(0, 256, (2, n, 3)) / 255
    steps = np.arange(n, dtype=np.float64)
    mixed = rng.standard_normal((n, n))
    mixed[: n // 2] = 0.0
    families = {
        "duplicates": a @ b.T,
        "near_duplicates": (a + noise_a) @ (b + noise_b).T,
        "digits": rng.integers(0, 10, (n, n)),
        "coins": rng.integers(0, 2, (n, n)),
        "constant": np.full((n, n), -2.5),
        "zero": np.zeros((n, n)),
        "row_constant": np.repeat(rng.standard_normal((n, 1)), n, 1),
        "column_constant": np.repeat(rng.standard_normal((1, n)), n, 0),
        "half_constant": mixed,
        "heavy_tails": heavy_x @ heavy_y.T,
        "one_channel": x[:, :1] @ y[:, :1].T,
        "pixels": pixels[0] @ pixels[1].T,
        "product": np.outer(steps, steps),
        "negative_product": -np.outer(steps, steps),
        "negative": -1 - rng.random((n, n)),
        "offset": 1e4 + rng.random((n, n)),
        "outlier": outlier,
        "abyss": abyss,
        "geometric": -((rng.random((n, 1, 2)) - rng.random((1, n, 2))) ** 2).sum(-1),
        "zero_value": rng.standard_normal((n, n)) - 3,
    }
    for share in (30, 60, 90):
        zx = np.maximum(x, 0) * (rng.random((n, 1)) * 100 >= share)
        zy = np.maximum(y, 0) * (rng.random((n, 1)) * 100 >= share)
        families[f"zero_tokens_{share}"] = zx @ zy.T
        families[f"zero_tokens_centered_{share}"] = (zx - zx.mean(0)) @ (
            zy - zy.mean(0)
        ).T
    return families


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
    "family", ["duplicates", "digits", "heavy_tails", "zero_tokens_60", "one_channel"]
)
def test_adversarial_at_medium_size(family):
    affinity = np.asarray(adversarial(520)[family], np.float32)[None]
    check(affinity, solve(affinity))
