"""Soft matching: plans, limits, edges, batches, rounding and settings."""

from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from assignment_checks import optimum
from hypothesis import given, settings
from hypothesis import strategies as st
from marks import long, with_long
from scipy.optimize import linear_sum_assignment
from soft_matchings import FIXED, SHAPES, SOFT, assert_close, draw_pair, draw_tokens

from semrsm_jax import (
    Exact,
    Sinkhorn,
    linear_assignment,
    match,
    pair_statistics,
    round_plan,
)
from semrsm_jax.matching._scores import ScoreRows

# That blocks give what the held plan gives is tested with the derivatives, too.
blocks = pytest.mark.parametrize("block", [None, long(4)])


@pytest.mark.slow
@pytest.mark.parametrize("shape", with_long(SHAPES, "square", "more in y"))
def test_the_plan_is_that_of_the_potentials_and_shares_the_mass(rng, x64, shape):
    x, y, x_mask, y_mask = draw_pair(rng, shape)
    matching = match(x, y, matcher=FIXED, x_mask=x_mask, y_mask=y_mask)
    logs = (matching.f[:, None] + matching.g + x @ y.T) / matching.epsilon
    plan = np.where(x_mask[:, None] & y_mask, np.exp(logs), 0)
    np.testing.assert_allclose(matching.plan, plan, rtol=1e-8)
    rows, columns = x_mask.sum(), y_mask.sum()
    mass = min(rows, columns)
    np.testing.assert_allclose(plan.sum(1), x_mask * mass / rows, rtol=1e-8)
    np.testing.assert_allclose(plan.sum(0), y_mask * mass / columns, rtol=1e-8)
    entropy = -np.sum(plan * np.log(np.where(plan > 0, plan, 1)))
    uniform = mass * np.log(rows * columns / mass)
    cost = -matching.value - matching.epsilon * (entropy - uniform)
    np.testing.assert_allclose(matching.reg_ot_cost, cost, rtol=1e-8)


# From ten spreads to 1e-4 of one: from nearly uniform to nearly a permutation.
EPSILONS = [10.0, 1.0, 0.1, 1e-2, 1e-4]


@pytest.mark.slow
@pytest.mark.parametrize("dtype", ["float32", long("float64")])
def test_the_value_rises_to_the_exact_one_as_epsilon_falls(rng, x64, dtype):
    x, y = draw_tokens(rng, 2, 4, 24, 6, dtype=dtype)
    exact = match(x, y, matcher=Exact()).value

    def total(x, y, matcher):
        matching = match(x, y, matcher=matcher)
        return jnp.sum(matching.value) + matching.plan[..., 0].sum(), matching

    values = []
    for epsilon in EPSILONS:
        matcher = Sinkhorn(epsilon, relative=True)
        gradients, matching = jax.grad(total, (0, 1), has_aux=True)(x, y, matcher)
        for leaf in jax.tree.leaves((matching, gradients)):
            assert np.isfinite(leaf).all(), epsilon
        values.append(matching.value)
        assert (matching.value <= matching.upper_bound).all()
        assert (matching.upper_bound >= exact * (1 - 1e-6)).all()
    values = np.stack(values)
    assert (np.diff(values[:-1], axis=0) > 0).all()
    np.testing.assert_allclose(values[-1], exact, rtol=1e-3)


def assert_same_matching(result, expected, rtol):
    for name, value in expected._asdict().items():
        if name in ("permutation", "n_iters", "converged"):
            np.testing.assert_array_equal(getattr(result, name), value)
        elif name == "plan" and value is None:
            assert result.plan is None
        elif name != "column_error":
            assert_close(getattr(result, name), value, rtol)


@pytest.mark.slow
@blocks
def test_jit_vmap_and_batch_equal_one_pair_each(rng, block):
    x, y = draw_tokens(rng, 2, 4, 9, 5, dtype=np.float32)
    x[1] *= 30  # another epsilon
    y[2] = x[2] + 0.01 * y[2]  # soon done
    matcher = Sinkhorn(0.1, relative=True, tolerance=1e-5, block=block)
    matched = partial(match, matcher=matcher)
    alone = [matched(a, b) for a, b in zip(x, y, strict=True)]
    expected = jax.tree.map(lambda *a: jnp.stack(a), *alone)
    # A batch goes on until its last pair is done; each stops when it would alone.
    assert len(set(expected.n_iters.tolist())) > 1
    for result in (matched(x, y), jax.jit(matched)(x, y), jax.vmap(matched)(x, y)):
        assert_same_matching(result, expected, 1e-4)


@pytest.mark.slow
def test_equal_settings_do_not_compile_again(rng):
    x = draw_tokens(rng, 2, 7, 4, dtype=np.float32)
    compiled = jax.jit(
        lambda x, matcher: match(x[0], x[1], matcher=matcher).value,
        static_argnames="matcher",
    )
    for _ in range(2):
        compiled(x, matcher=Sinkhorn(np.float32(0.3), tolerance=1e-3))
    assert compiled._cache_size() == 1
    assert Sinkhorn(np.float64(0.5)) == Sinkhorn(0.5)


@pytest.mark.slow
@pytest.mark.parametrize("dtype", [jnp.bfloat16, long(jnp.float16), jnp.int32])
def test_short_numbers_are_accumulated_in_float32(rng, dtype):
    x, y = (jnp.asarray(draw_tokens(rng, 7, 4) * 3, dtype) for _ in range(2))
    matching = match(x, y, matcher=SOFT)
    wide = match(*(z.astype(jnp.float32) for z in (x, y)), matcher=SOFT)
    assert matching.value.dtype == matching.plan.dtype == jnp.float32
    assert_same_matching(matching, wide, 1e-6)
    if jnp.issubdtype(dtype, jnp.floating):
        gradient = jax.grad(lambda x: match(x, y, matcher=SOFT).value)(x)
        assert gradient.dtype == dtype and jnp.isfinite(gradient).all()


@pytest.mark.slow
@pytest.mark.parametrize("options", [{"block": 2}, {"implicit_diff": False}])
def test_float32_tokens_while_x64_is_on(rng, x64, options):
    x, y = draw_tokens(rng, 2, 7, 4, dtype=np.float32)
    matching = match(x, y, matcher=Sinkhorn(0.7, max_iterations=200, **options))
    expected = match(*(z.astype(np.float64) for z in (x, y)), matcher=FIXED)
    assert matching.value.dtype == np.float32
    assert_close(matching.value, expected.value, 1e-3)


@pytest.mark.slow
@blocks
def test_one_token_goes_with_all_of_the_other_side(rng, block):
    x, y = draw_tokens(rng, 1, 4, dtype=np.float32), draw_tokens(rng, 3, 4)
    y = y.astype(np.float32)
    matcher = Sinkhorn(0.2, relative=True, block=block)
    for a, b in ((x, y), (y, x), (x, y[:1])):
        matching = match(a, b, matcher=matcher)
        np.testing.assert_allclose(matching.value, (a @ b.T).mean(), rtol=1e-5)
        shape = (len(a), a.shape[-1])
        partner = np.broadcast_to(b.mean(0), shape)
        np.testing.assert_allclose(matching.partner, partner, rtol=1e-5)
        assert matching.converged
        if block is None:
            uniform = np.full((len(a), len(b)), 1 / max(len(a), len(b)))
            np.testing.assert_allclose(matching.plan, uniform, rtol=1e-5)


@pytest.mark.slow
@pytest.mark.parametrize("bad", [np.nan, np.inf, -np.inf])
def test_values_that_are_not_finite_are_rejected_or_give_nan(rng, bad):
    x, y = draw_tokens(rng, 2, 3, 6, 4, dtype=np.float32)
    x[1, 2, 3] = bad
    with pytest.raises(ValueError, match="x_i"):
        match(x, y, matcher=SOFT)
    matching = jax.jit(partial(match, matcher=SOFT))(x, y)
    assert np.isnan(matching.value).tolist() == [False, True, False]
    assert np.isnan(matching.upper_bound).tolist() == [False, True, False]
    assert matching.converged.tolist()[1] is False


@pytest.mark.slow
def test_masked_tokens_do_not_matter_whatever_they_hold(rng):
    x, y, x_mask, y_mask = draw_pair(rng, "masked")
    x, y = np.float32(x + 2), np.float32(y)
    x[~x_mask], y[~y_mask] = 3e38, 3e38  # whose products overflow
    for epsilon in (0.2, 3.0):  # a uniform plan leaves prices far below their limit
        matcher = Sinkhorn(epsilon, relative=True)
        matching = match(x, y, matcher=matcher, x_mask=x_mask, y_mask=y_mask)
        bare = match(x[x_mask], y[y_mask], matcher=matcher)
        np.testing.assert_allclose(matching.value, bare.value, rtol=1e-5)
        np.testing.assert_allclose(matching.upper_bound, bare.upper_bound, rtol=1e-5)
        assert_close(matching.plan[x_mask][:, y_mask], bare.plan, 1e-4)
        assert not matching.plan[~x_mask].any() and not matching.plan[:, ~y_mask].any()
        assert not matching.partner[~x_mask].any() and not matching.f[~x_mask].any()
        assert (np.asarray(matching.permutation)[~x_mask] == -1).all()
    sides = jnp.ones(1), jnp.array([1.0, 0.0]), jnp.zeros(2)
    rows = ScoreRows(jnp.array([[1.0, 5.0]]), *sides)
    assert rows.best(jnp.zeros(2)) == 1


@pytest.mark.slow
def test_a_permutation_of_the_tokens_changes_nothing_but_the_order(rng, x64):
    x, y = draw_tokens(rng, 2, 7, 4)
    order = rng.permutation(7)
    matching, moved, swapped = (
        match(*pair, matcher=FIXED) for pair in ((x, y), (x[order], y), (y, x))
    )
    assert_close(moved.plan, matching.plan[order], 1e-8)
    assert_close(swapped.plan, matching.plan.T, 1e-8)
    for other in (moved, swapped):
        assert_close(other.value, matching.value, 1e-10)
        assert_close(other.reg_ot_cost, matching.reg_ot_cost, 1e-8)


@pytest.mark.slow
def test_statistics_are_those_of_the_plan(rng, x64):
    x, y = draw_tokens(rng, 2, 7, 4), draw_tokens(rng, 3, 7, 4)
    statistics = pair_statistics(x, y, FIXED)
    for i, j in np.ndindex(2, 3):
        plan = np.asarray(match(x[i], y[j], matcher=FIXED).plan)
        distances = ((x[i][:, None] - y[j]) ** 2).sum(-1)
        inner = (plan * (x[i] @ y[j].T)).sum()
        np.testing.assert_allclose(statistics.inner[i, j], inner)
        np.testing.assert_allclose(statistics.sq_dist[i, j], (plan * distances).sum())
    own = pair_statistics(x, None, FIXED)
    np.testing.assert_allclose(own.inner, own.inner.T, rtol=1e-8)


@pytest.mark.slow
def test_a_sharp_plan_rounds_to_the_exact_permutation(rng):
    x, y = draw_tokens(rng, 2, 3, 12, 6, dtype=np.float32)
    matcher = Sinkhorn(1e-3, relative=True, max_iterations=10000)
    matching, exact = (match(x, y, matcher=m) for m in (matcher, Exact()))
    np.testing.assert_array_equal(matching.permutation, exact.permutation)
    np.testing.assert_array_equal(round_plan(matching.plan), exact.permutation)


def test_rounding_takes_the_heaviest_matching(rng):
    plan = rng.random((2, 5, 7))
    expected = [linear_sum_assignment(p, maximize=True)[1] for p in plan]
    np.testing.assert_array_equal(round_plan(plan), expected)
    mask = np.arange(7) != 2
    rounded = np.asarray(round_plan(plan, x_mask=np.stack([mask[:5]] * 2)))
    assert (rounded[:, 2] == -1).all()
    for each, p in zip(
        round_plan(plan, y_mask=np.stack([mask] * 2)), plan, strict=True
    ):
        columns = linear_sum_assignment(p[:, mask], maximize=True)[1]
        np.testing.assert_array_equal(each, np.flatnonzero(mask)[columns])


@pytest.mark.slow
@settings(max_examples=40)
@given(
    seed=st.integers(0, 2**32 - 1),
    scale=st.sampled_from([1e-4, 1.0, 1e4]),
    epsilon=st.sampled_from([1e-4, 1e-2, 0.3, 10.0]),
    block=st.sampled_from([None, 4]),
)
@pytest.mark.filterwarnings("ignore:the soft matching:RuntimeWarning")
def test_the_bound_holds_whether_converged_or_not(seed, scale, epsilon, block):
    rng = np.random.default_rng(seed)
    x, y = scale * draw_tokens(rng, 2, 7, 4, dtype=np.float32)
    y = y[:5]
    matcher = Sinkhorn(epsilon, True, max_iterations=20, block=block)
    matching = match(x, y, matcher=matcher)
    wide = np.asarray(x, np.float64) @ np.asarray(y, np.float64).T
    slack = 1e-6 * np.abs(wide).sum()
    assert matching.upper_bound >= optimum(wide) - slack
    assert matching.upper_bound >= matching.value
    assert linear_assignment(wide).value <= matching.upper_bound + slack


def test_pairs_that_did_not_converge_are_reported_once(rng):
    x, y = draw_tokens(rng, 2, 3, 12, 6, dtype=np.float32)
    y[0] = x[0] = 0  # one pair is done at once
    matcher = Sinkhorn(0.01, relative=True, max_iterations=10)
    with pytest.warns(RuntimeWarning, match="2 of 3 pairs did not conv") as record:
        matching = match(x, y, matcher=matcher)
    assert len(record) == 1 and record[0].filename == __file__
    errors = np.abs(matching.plan.sum(-2) - 1).mean(-1)
    np.testing.assert_allclose(matching.column_error, errors, rtol=1e-3, atol=1e-6)
    assert f"{matching.column_error.max():.2g}" in str(record[0].message)


@pytest.mark.parametrize(
    ("name", "error", "values"),
    [
        ("epsilon", ValueError, (0.0, np.nan)),
        ("epsilon", TypeError, ("0.1", True)),
        ("tolerance", ValueError, (-1.0,)),
        ("max_iterations", ValueError, (0,)),
        ("anneal", ValueError, (-1.0, np.inf)),
        ("block", ValueError, (0,)),
        ("block", TypeError, (2.0, "8", True)),
    ],
)
def test_settings_out_of_range_are_rejected(name, error, values):
    for value in values:
        with pytest.raises(error, match=rf"{name} must be .*{value}"):
            Sinkhorn(**{name: value})


def test_an_epsilon_that_float32_cannot_hold_is_rejected():
    x = np.ones((7, 4), np.float32)
    with pytest.raises(ValueError, match="epsilon must be at least 1.18e-38"):
        match(x, x, matcher=Sinkhorn(1e-300))
    assert np.isfinite(match(x, x, matcher=Sinkhorn(1e-30)).value)
