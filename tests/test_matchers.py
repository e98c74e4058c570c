"""What sets each matcher apart, the dual bound, and what accelerators compile."""

from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from assignment_checks import GRID, TOKENS, best_value, tokens
from marks import slow
from scipy.optimize import linear_sum_assignment

from semrsm_jax import (
    BatchOptimal,
    CircularShift,
    DualBound,
    Exact,
    Greedy,
    Identity,
    Sinkhorn,
    TopKGreedy,
    match,
    rsm,
)
from semrsm_jax.matching import _windows, device_steps


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
        np.testing.assert_allclose(m.value, best_value(x, y), rtol=1e-6)
        np.testing.assert_allclose(m.upper_bound, m.value, rtol=2e-6)


@pytest.mark.slow
def test_sweeps_never_lower_the_value_and_approach_the_optimum(rng):
    x, y = tokens(rng, 2, 4, 96, 6)
    values = [
        np.asarray(match(x, y, matcher=BatchOptimal(window=24, sweeps=s)).value)
        for s in range(9)
    ]
    assert (np.diff(values, axis=0) >= -1e-6 * values[0]).all()
    best = [best_value(a, b) for a, b in zip(x, y, strict=True)]
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
    # One window, which a large tolerance leaves below position by position.
    y = x + 0.3 * rng.normal(size=x.shape).astype(np.float32)
    loose = {"tolerance": 0.5, "solver": "device"}
    plain, floored = (
        match(x, y, matcher=BatchOptimal(**loose, floor=floor))
        for floor in (None, "identity")
    )
    assert (plain.value < floored.value).any()
    assert (floored.value >= match(x, y, matcher=Identity()).value).all()
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
    np.testing.assert_allclose(every.value, best_value(x, y), rtol=1e-6)


@pytest.mark.slow
@pytest.mark.parametrize("solver", ["device", "optax"])
@pytest.mark.parametrize("rule", [partial(BatchOptimal, 8, 2), partial(TopKGreedy, 5)])
def test_the_solver_does_not_change_the_value(rng, rule, solver):
    x, y = tokens(rng, 2, 3, 20, 4)
    mask = rng.random((3, 20)) < 0.8
    expected, m = (
        match(x, y, matcher=rule(solver=s), x_mask=mask) for s in ("auction", solver)
    )
    np.testing.assert_allclose(m.value, expected.value, rtol=1e-5)
    np.testing.assert_allclose(m.upper_bound, expected.upper_bound, rtol=1e-5)


@pytest.mark.parametrize(
    ("grid", "shifts"),
    [
        (GRID, [(0, 0), (1, 0), (-1, 2), (-1, -2), (2, 3)]),
        slow((3, 7), [(a, b) for a in (-1, 0, 1) for b in range(-3, 4)]),
    ],
)
def test_circular_shift_finds_the_shift(rng, grid, shifts):
    x = rng.normal(size=(*grid, 5)).astype(np.float32)
    y = np.stack([np.roll(x, shift, axis=(0, 1)) for shift in shifts])
    x, y = (z.reshape(-1, x[..., 0].size, 5) for z in (x, y))
    x = np.broadcast_to(x, y.shape)
    matcher = CircularShift(grid)
    np.testing.assert_array_equal(matcher.shift(x, y), shifts)
    m = match(x, y, matcher=matcher)
    matched = np.take_along_axis(y, np.asarray(m.permutation)[..., None], 1)
    np.testing.assert_allclose(matched, x)
    assert (match(x, y, matcher=Identity()).value <= m.value).all()


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
    best = best_value(x[x_mask], y[y_mask])
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
    best = [best_value(a, b) for a, b in zip(x, y, strict=True)]
    plain = match(x, y, matcher=BatchOptimal(32)).upper_bound
    tight = match(x, y, matcher=BatchOptimal(32), bound=DualBound(4)).upper_bound
    assert (tight < plain).all()
    assert (tight < 1.1 * np.array(best)).all()
    jitted = jax.jit(lambda x, y: match(x, y, matcher=Greedy(), bound=DualBound(4)))
    np.testing.assert_allclose(jitted(x, y).upper_bound, tight, rtol=1e-6)


@pytest.mark.parametrize("most", [7, 741_000, 5_000_001, 2**23])
def test_windows_of_many_tokens_have_their_share_of_the_smaller_side(rng, most):
    edges = np.append(rng.integers(0, most, 50), most)
    for count in (1, most // 3, most - 1, most):
        share = _windows._share(jnp.asarray(edges), jnp.array([count]), jnp.array(most))
        np.testing.assert_array_equal(share, edges.astype(np.int64) * count // most)


# What can be compiled for accelerators, where none is at hand

PLATFORMS = ("cuda", "rocm", "tpu")
X = jax.ShapeDtypeStruct((3, 16, 4), jnp.float32)


def lower(function, platform):
    return jax.jit(function).trace(X).lower(lowering_platforms=(platform,)).as_text()


@pytest.mark.parametrize("platform", PLATFORMS)
@pytest.mark.parametrize(
    "matcher",
    [
        Exact(solver="device"),
        Exact(solver="optax"),
        pytest.param(
            BatchOptimal(8, sweeps=1, solver="device"), marks=pytest.mark.slow
        ),
        TopKGreedy(4, solver="device"),
        Greedy(),
        pytest.param(Sinkhorn(), marks=pytest.mark.slow),
        Sinkhorn(block=8),
        CircularShift((4, 4)),
        Identity(),
    ],
    ids=repr,
)
def test_solved_on_the_device(matcher, platform):
    assert "callback" not in lower(lambda x: rsm(x, matcher=matcher), platform)


@pytest.mark.parametrize("solver", ["auction", "scipy", "ortools"])
def test_solvers_on_the_host_need_the_platform_they_run_on(solver):
    """A callback belongs to a process: it is compiled where it runs."""
    with pytest.raises(ValueError, match="platform"):
        lower(lambda x: match(x, x, matcher=Exact(solver=solver)).value, "cuda")


def test_the_dual_bound_is_solved_on_the_host():
    with pytest.raises(ValueError, match="platform"):
        lower(lambda x: DualBound(4)(x, x), "cuda")


@pytest.mark.slow
def test_steps_of_the_device_solver(rng):
    """A matrix whose best columns differ needs one round a block of rows."""
    easy = jnp.eye(16)
    hard = jnp.asarray(rng.normal(size=(16, 3)) @ rng.normal(size=(3, 16)))
    one, many = device_steps(jnp.stack([easy, hard]))
    assert one == 1 and many > one
