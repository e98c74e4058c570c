"""Properties that the matchers share, and what sets each apart."""

import dataclasses

import chex
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy.optimize import linear_sum_assignment

from semrsm_jax import (
    BatchOptimal,
    CircularShift,
    DualBound,
    Exact,
    Greedy,
    Identity,
    TopKGreedy,
    match,
)
from semrsm_jax.matching import _windows

GRID = (4, 6)
TOKENS = 24
MATCHERS = [
    Identity(),
    CircularShift(GRID),
    Exact(),
    BatchOptimal(window=7),
    BatchOptimal(window=7, sweeps=3),
    Greedy(),
    TopKGreedy(k=5),
]
# These need no counterpart at the same position.
FREE = MATCHERS[2:]


# One program for a matcher and a shape, whichever test runs it.
compiled = jax.jit(
    lambda x, y, matcher: match(x, y, matcher=matcher), static_argnames="matcher"
)
of_all = pytest.mark.parametrize("matcher", MATCHERS, ids=str)
of_free = pytest.mark.parametrize("matcher", FREE, ids=str)


def tokens(rng, *shape):
    return np.maximum(rng.normal(size=shape) + 0.2, 0).astype(np.float32)


def optimum(x, y):
    matrix = np.asarray(x, np.float64) @ np.asarray(y, np.float64).T
    return matrix[linear_sum_assignment(matrix, maximize=True)].sum()


def is_complete(permutation, pairs):
    matched = np.asarray(permutation)[np.asarray(permutation) >= 0]
    return len(set(matched.tolist())) == len(matched) == pairs


@of_all
def test_matches_every_token_once_and_the_bound_holds(rng, matcher):
    x, y = tokens(rng, 2, TOKENS, 5)
    m = match(x, y, matcher=matcher)
    assert is_complete(m.permutation, TOKENS)
    matched = np.sum(x * y[m.permutation])
    np.testing.assert_allclose(m.value, matched, rtol=1e-5)
    assert m.value <= optimum(x, y) * (1 + 1e-6) <= m.upper_bound * (1 + 2e-6)


@pytest.mark.slow
@of_all
def test_jit_vmap_and_batch_equal_one_pair(rng, matcher):
    x, y = tokens(rng, 2, 3, TOKENS, 5)
    one = [match(a, b, matcher=matcher) for a, b in zip(x, y, strict=True)]
    expected = jax.tree.map(lambda *a: jnp.stack(a), *one)
    mapped = jax.vmap(lambda a, b: match(a, b, matcher=matcher))
    for result in (
        match(x, y, matcher=matcher),
        compiled(x, y, matcher=matcher),
        mapped(x, y),
    ):
        np.testing.assert_array_equal(result.permutation, expected.permutation)
        np.testing.assert_allclose(result.value, expected.value, rtol=1e-5)
    # Equal settings are the same program, and NaN stays with its pair.
    programs = compiled._cache_size()
    x[1, 3, 1] = np.nan
    result = compiled(x, y, matcher=dataclasses.replace(matcher))
    assert compiled._cache_size() == programs
    assert np.isnan(result.value).tolist() == [False, True, False]
    with pytest.raises(ValueError, match="x_i must be finite"):
        match(x, y, matcher=matcher)


@of_all
def test_sample_matches_itself_token_by_token(rng, matcher):
    x = tokens(rng, TOKENS, 5)
    value = match(x, x, matcher=matcher).value
    np.testing.assert_allclose(value, np.sum(x * x), rtol=1e-6)


@pytest.mark.slow
@of_free
@pytest.mark.parametrize("sizes", [(24, 17), (17, 24), (30, 6)])
def test_surplus_tokens_stay_unmatched(rng, matcher, sizes):
    x, y = tokens(rng, sizes[0], 5), tokens(rng, sizes[1], 5)
    m = match(x, y, matcher=matcher)
    assert is_complete(m.permutation, min(sizes))
    assert m.value <= optimum(x, y) * (1 + 1e-6) <= m.upper_bound * (1 + 2e-6)


@pytest.mark.slow
@of_free
def test_masked_tokens_change_nothing(rng, matcher):
    x, y = tokens(rng, 2, TOKENS, 5)
    x_mask, y_mask = rng.random((2, TOKENS)) > 0.3
    m = match(x, y, matcher=matcher, x_mask=x_mask, y_mask=y_mask)
    bare = match(x[x_mask], y[y_mask], matcher=matcher)
    partner = np.asarray(bare.permutation)
    expected = np.full(TOKENS, -1)
    expected[x_mask] = np.where(partner < 0, -1, np.flatnonzero(y_mask)[partner])
    np.testing.assert_array_equal(m.permutation, expected)
    np.testing.assert_allclose(m.value, bare.value, rtol=1e-5)


@pytest.mark.parametrize("matcher", MATCHERS[:2], ids=str)
def test_masked_positions_have_no_counterpart(rng, matcher):
    x, y = tokens(rng, 2, TOKENS, 5)
    x_mask, y_mask = rng.random((2, TOKENS)) > 0.3
    m = match(x, y, matcher=matcher, x_mask=x_mask, y_mask=y_mask)
    zeroed = match(x * x_mask[:, None], y * y_mask[:, None], matcher=matcher)
    permutation = np.asarray(m.permutation)
    both = permutation >= 0
    assert (x_mask[both]).all() and y_mask[permutation[both]].all()
    np.testing.assert_allclose(m.value, zeroed.value, rtol=1e-5)


@pytest.mark.slow
@of_all
def test_gradient_is_that_of_the_fixed_matching(rng, matcher):
    x, y = tokens(rng, 2, TOKENS, 5)
    m = match(x, y, matcher=matcher)
    grad_x, grad_y = jax.grad(
        lambda x, y: match(x, y, matcher=matcher).value, argnums=(0, 1)
    )(x, y)
    np.testing.assert_allclose(grad_x, y[m.permutation], rtol=1e-6)
    np.testing.assert_allclose(np.asarray(grad_y)[m.permutation], x, rtol=1e-6)


@of_all
def test_zero_and_constant_representations(matcher):
    zero, one = np.zeros((TOKENS, 3), np.float32), np.ones((TOKENS, 3), np.float32)
    for x, y, value in ((zero, zero, 0), (zero, one, 0), (one, one, 3 * TOKENS)):
        m = match(x, y, matcher=matcher)
        assert is_complete(m.permutation, TOKENS)
        np.testing.assert_allclose([m.value, m.upper_bound], value, rtol=1e-6)


@pytest.mark.slow
@of_all
def test_half_precision_and_float64(rng, x64, matcher):
    x, y = tokens(rng, 2, TOKENS, 5)
    exact = match(x.astype(np.float64), y.astype(np.float64), matcher=matcher)
    assert exact.value.dtype == jnp.float64
    x, y = jnp.asarray(x, jnp.bfloat16), jnp.asarray(y, jnp.bfloat16)
    half = match(x, y, matcher=matcher)
    assert half.value.dtype == jnp.float32
    single = match(x.astype(jnp.float32), y.astype(jnp.float32), matcher=matcher)
    np.testing.assert_allclose(half.value, single.value, rtol=1e-5)


def test_batch_optimal_is_the_papers_algorithm(rng):
    """Appendix F: sorted by norm, cut into windows of b, each matched exactly."""
    x, y = tokens(rng, 2, 23, 4)
    x_order, y_order = (np.argsort((t**2).sum(1), kind="stable") for t in (x, y))
    expected = np.empty(23, int)
    for start in range(0, 23, 5):
        rows, columns = x_order[start : start + 5], y_order[start : start + 5]
        picked = linear_sum_assignment(x[rows] @ y[columns].T, maximize=True)
        expected[rows[picked[0]]] = columns[picked[1]]
    m = match(x, y, matcher=BatchOptimal(window=5))
    np.testing.assert_array_equal(m.permutation, expected)


def test_batch_optimal_of_one_window_is_exact(rng):
    for sizes in ((24, 24), (24, 9)):
        x, y = tokens(rng, sizes[0], 4), tokens(rng, sizes[1], 4)
        m = match(x, y, matcher=BatchOptimal(window=24))
        np.testing.assert_allclose(m.value, optimum(x, y), rtol=1e-6)
        np.testing.assert_allclose(m.upper_bound, m.value, rtol=2e-6)


@pytest.mark.slow
def test_sweeps_never_lower_the_value_and_approach_the_optimum(rng):
    x, y = tokens(rng, 2, 4, 96, 6)
    values = [
        np.asarray(match(x, y, matcher=BatchOptimal(window=24, sweeps=s)).value)
        for s in range(9)
    ]
    assert (np.diff(values, axis=0) >= -1e-6 * values[0]).all()
    best = [optimum(a, b) for a, b in zip(x, y, strict=True)]
    assert (values[-1] > 0.99 * np.array(best)).all()
    assert (values[-1] > values[0]).all()


@pytest.mark.slow
def test_floor_keeps_the_better_of_the_two(rng):
    x = tokens(rng, 4, 48, 6)
    # Two nearly aligned pairs, where position by position is hard to beat, and two not.
    y = x + 0.05 * rng.normal(size=x.shape).astype(np.float32)
    y[2:] = tokens(rng, 2, 48, 6)
    plain = match(x, y, matcher=BatchOptimal(window=6))
    aligned = match(x, y, matcher=Identity())
    floored = match(x, y, matcher=BatchOptimal(window=6, floor="identity"))
    np.testing.assert_array_equal(floored.value, np.maximum(plain.value, aligned.value))
    won = np.asarray(aligned.value > plain.value)
    assert won[:2].all() and not won[2:].any()
    np.testing.assert_array_equal(floored.permutation[won], aligned.permutation[won])
    np.testing.assert_array_equal(floored.permutation[~won], plain.permutation[~won])
    assert (floored.upper_bound >= floored.value).all()
    with pytest.raises(ValueError, match="same number of tokens"):
        match(x[0], x[1, :9], matcher=BatchOptimal(6, floor="identity"))


def test_greedy_serves_rows_in_descending_norm(rng):
    x, y = tokens(rng, 2, 12, 4)
    affinity, expected = x @ y.T, np.full(12, -1)
    for row in np.argsort(-(x**2).sum(1), kind="stable"):
        expected[row] = affinity[row].argmax()
        affinity[:, expected[row]] = -np.inf
    np.testing.assert_array_equal(match(x, y, matcher=Greedy()).permutation, expected)


def test_topk_greedy_matches_the_top_block_exactly(rng):
    x, y = tokens(rng, 2, 12, 4)
    x_top, y_top = (np.argsort(-(t**2).sum(1), kind="stable")[:5] for t in (x, y))
    rows, columns = linear_sum_assignment(x[x_top] @ y[y_top].T, maximize=True)
    m = match(x, y, matcher=TopKGreedy(k=5))
    np.testing.assert_array_equal(
        np.asarray(m.permutation)[x_top[rows]], y_top[columns]
    )
    every = match(x, y, matcher=TopKGreedy(k=12))
    np.testing.assert_allclose(every.value, optimum(x, y), rtol=1e-6)


@pytest.mark.parametrize("shift", [(0, 0), (1, 0), (-1, 2), (-1, -2), (2, 3)])
def test_circular_shift_finds_the_shift(rng, shift):
    x = rng.normal(size=(*GRID, 5)).astype(np.float32)
    y = np.roll(x, shift, axis=(0, 1))
    x, y = x.reshape(TOKENS, 5), y.reshape(TOKENS, 5)
    matcher = CircularShift(GRID)
    np.testing.assert_array_equal(matcher.shift(x, y), shift)
    m = match(x, y, matcher=matcher)
    np.testing.assert_allclose(y[m.permutation], x)
    assert match(x, y, matcher=Identity()).value <= m.value


def test_circular_shift_finds_all_shifts_of_an_odd_grid(rng):
    grid = (3, 7)
    x = rng.normal(size=(*grid, 4)).astype(np.float32)
    shifts = [(a, b) for a in (-1, 0, 1) for b in range(-3, 4)]
    y = np.stack([np.roll(x, shift, axis=(0, 1)).reshape(21, 4) for shift in shifts])
    x = np.broadcast_to(x.reshape(21, 4), y.shape)
    np.testing.assert_array_equal(CircularShift(grid).shift(x, y), shifts)


def test_circular_shift_is_the_best_of_all(rng):
    x, y = rng.normal(size=(2, TOKENS, 3)).astype(np.float32)
    image = y.reshape(*GRID, 3)
    best = max(
        np.sum(x * np.roll(image, (-a, -b), (0, 1)).reshape(TOKENS, 3))
        for a in range(GRID[0])
        for b in range(GRID[1])
    )
    m = match(x, y, matcher=CircularShift(GRID))
    np.testing.assert_allclose(m.value, best, rtol=1e-5)


@pytest.mark.slow
@pytest.mark.parametrize("sizes", [(40, 40), (40, 25), (25, 40)])
@pytest.mark.parametrize("masked", [False, True])
@pytest.mark.parametrize("signed", [False, True])
def test_dual_bound_holds_and_is_tight_at_stride_one(rng, sizes, masked, signed):
    x, y = tokens(rng, sizes[0], 4), tokens(rng, sizes[1], 4)
    if signed:
        x = x - x.mean(0)
    x_mask, y_mask = (rng.random(size) > 0.3 * masked for size in sizes)
    best = optimum(x[x_mask], y[y_mask])
    bounds = []
    for stride in (1, 2, 4):
        m = match(
            x,
            y,
            matcher=Greedy(),
            x_mask=x_mask,
            y_mask=y_mask,
            bound=DualBound(stride, block=16),
        )
        bounds.append(float(m.upper_bound))
        assert m.value <= m.upper_bound
    slack = 1e-5 * abs(best) + 1e-5
    assert min(bounds) >= best - slack
    assert bounds[0] <= best + slack


@pytest.mark.slow
def test_dual_bound_is_below_that_of_the_norms(rng):
    x, y = tokens(rng, 2, 3, 128, 6)
    best = [optimum(a, b) for a, b in zip(x, y, strict=True)]
    plain = match(x, y, matcher=BatchOptimal(32)).upper_bound
    tight = match(x, y, matcher=BatchOptimal(32), bound=DualBound(4)).upper_bound
    assert (tight < plain).all()
    assert (tight < 1.1 * np.array(best)).all()
    jitted = jax.jit(lambda x, y: match(x, y, matcher=Greedy(), bound=DualBound(4)))
    np.testing.assert_allclose(jitted(x, y).upper_bound, tight, rtol=1e-6)


@pytest.mark.parametrize(
    ("build", "error", "words"),
    [
        (lambda: BatchOptimal(window=0), ValueError, "window must be at least 1"),
        (lambda: BatchOptimal(window=2.5), TypeError, "window must be an integer"),
        (lambda: BatchOptimal(sweeps=-1), ValueError, "sweeps must be at least 0"),
        (lambda: BatchOptimal(floor="zero"), ValueError, "floor must be one of"),
        (lambda: TopKGreedy(k=0), ValueError, "k must be at least 1"),
        (lambda: Exact(tolerance=-1e-6), ValueError, "tolerance"),
        (lambda: Exact(tolerance=True), TypeError, "tolerance must be a number"),
        (lambda: DualBound(tolerance="1"), TypeError, "tolerance must be a number"),
        (lambda: Exact(solver="magic"), ValueError, "solver must be one of"),
        (lambda: CircularShift(grid=6), TypeError, "grid must be a tuple"),
        (lambda: CircularShift(grid=(0, 6)), ValueError, "grid must be at least 1"),
        (lambda: DualBound(stride=0), ValueError, "stride must be at least 1"),
    ],
)
def test_settings_out_of_range(build, error, words):
    with pytest.raises(error, match=words):
        build()


@pytest.mark.parametrize("matcher", [Exact, BatchOptimal, TopKGreedy, DualBound])
def test_numpy_numbers_are_settings(matcher):
    made = matcher(tolerance=np.float32(0.5))
    assert made == matcher(tolerance=0.5) and isinstance(made.tolerance, float)


@pytest.mark.parametrize("most", [7, 741_000, 5_000_001, 2**23])
def test_windows_of_many_tokens_have_their_share_of_the_smaller_side(rng, most):
    edges = np.append(rng.integers(0, most, 50), most)
    for count in (1, most // 3, most - 1, most):
        share = _windows._share(jnp.asarray(edges), jnp.array([count]), jnp.array(most))
        np.testing.assert_array_equal(share, edges.astype(np.int64) * count // most)


@pytest.mark.parametrize(
    ("arguments", "error", "words"),
    [
        ({"matcher": Exact}, TypeError, "matcher must be a Matcher instance"),
        ({"matcher": "exact"}, TypeError, "matcher must be a Matcher instance"),
        ({"bound": DualBound}, TypeError, "bound must be a bound"),
        ({"matcher": TopKGreedy(k=9)}, ValueError, "k must be at most"),
        ({"matcher": CircularShift((2, 2))}, ValueError, "grid"),
        ({"y_j": np.ones((6, 3))}, ValueError, "same number of tokens"),
        ({"y_j": np.ones((8, 4))}, ValueError, "same channels"),
        ({"y_j": np.ones(8)}, ValueError, "y_j must have at least 2 axes"),
        ({"y_j": np.full((8, 3), np.nan)}, ValueError, "y_j must be finite"),
        ({"x_mask": np.ones(7, bool)}, ValueError, "x_mask must have shape"),
        ({"x_mask": np.zeros(8, bool)}, ValueError, "at least one token"),
        ({"x_mask": np.ones(8)}, TypeError, "x_mask must be boolean"),
    ],
)
def test_match_rejects(arguments, error, words):
    given = {"x_i": np.ones((8, 3)), "y_j": np.ones((8, 3)), "matcher": Identity()}
    with pytest.raises(error, match=words):
        match(**(given | arguments))


@pytest.mark.parametrize("dtype", [jnp.float32, jnp.bfloat16])
@pytest.mark.parametrize("batch", [(), (3,), (2, 0)])
def test_statistics_on_the_host_are_those_under_jit(batch, dtype):
    rng = np.random.default_rng(0)
    x = jnp.asarray(rng.normal(size=(*batch, 7, 5)), dtype)
    y = jnp.asarray(rng.normal(size=(*batch, 9, 5)), dtype)
    x_mask = jnp.asarray(np.broadcast_to(np.arange(7) < 6, (*batch, 7)))
    eager = Exact().statistics(x, y, x_mask, None)
    traced = jax.jit(lambda *args: Exact().statistics(*args, None))(x, y, x_mask)
    matching = match(x, y, matcher=Exact(), x_mask=x_mask)
    chex.assert_trees_all_close(eager, traced, rtol=1e-5)
    chex.assert_trees_all_close(eager.value, matching.value, rtol=1e-5)
    chex.assert_trees_all_equal_shapes_and_dtypes(eager, traced)
