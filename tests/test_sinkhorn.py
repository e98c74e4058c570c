"""Soft matching: OTT-JAX as the oracle, derivatives, limits and edges."""

import dataclasses
from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from jax.test_util import check_grads
from ott.geometry import geometry
from ott.problems.linear import linear_problem
from ott.solvers.linear import implicit_differentiation
from ott.solvers.linear import sinkhorn as ott_sinkhorn
from scipy.optimize import linear_sum_assignment

from semrsm_jax import (
    RBF,
    Cosine,
    Exact,
    Linear,
    Sinkhorn,
    linear_assignment,
    match,
    pair_statistics,
    round_plan,
    rsm,
    semantic_cka_loss,
)

# Both iterate until nothing but rounding is left.
TIGHT = 1e-12
# Derivatives take epsilon as given: finite differences must not move it.
FIXED = Sinkhorn(epsilon=0.7, tolerance=1e-12, max_iterations=20000)
SOFT = Sinkhorn(epsilon=0.2, relative=True)

SHAPES = {
    "square": (7, 7, None),
    "more in x": (9, 5, None),
    "more in y": (5, 8, None),
    "masked": (8, 7, 2),
}


def tokens(rng, *shape, dtype=np.float64):
    """Tokens of uneven norms, mostly of one direction, as features are."""
    norms = rng.lognormal(sigma=0.7, size=(*shape[:-1], 1))
    return (norms * (rng.normal(size=shape) + 0.5)).astype(dtype)


def problem(rng, shape):
    S, T, masked = SHAPES[shape]
    x, y = tokens(rng, S, 4), tokens(rng, T, 4)
    x_mask, y_mask = np.ones(S, bool), np.ones(T, bool)
    if masked:
        x_mask[:masked], y_mask[-1:] = False, False
    return x, y, x_mask, y_mask


def oracle(x, y, epsilon):
    """OTT's solution for the cost -affinity, and how many pairs ours counts."""
    cost = geometry.Geometry(cost_matrix=-(x @ y.T), epsilon=epsilon)
    exact = implicit_differentiation.ImplicitDiff(
        solver_kwargs={"ridge_identity": 0.0, "ridge_kernel": 1e-3, "rtol": 1e-13}
    )
    solver = ott_sinkhorn.Sinkhorn(
        threshold=TIGHT, max_iterations=50000, implicit_diff=exact
    )
    return solver(linear_problem.LinearProblem(cost)), min(len(x), len(y))


def oracle_value(x, y, epsilon):
    solution, mass = oracle(x, y, epsilon)
    return mass * jnp.sum(solution.matrix * (x @ y.T))


def oracle_cost(x, y, epsilon):
    solution, mass = oracle(x, y, epsilon)
    return mass * solution.reg_ot_cost


def soft(name, matcher, x_mask=None, y_mask=None):
    """A field of the soft matching, as a function of the tokens."""

    def field(x, y):
        found = match(x, y, matcher=matcher, x_mask=x_mask, y_mask=y_mask)
        return getattr(found, name)

    return field


def agree(found, expected, rtol):
    """To `rtol` of the largest entry."""
    expected = np.asarray(expected)
    scale = np.abs(expected).max()
    np.testing.assert_allclose(found, expected, rtol=rtol, atol=rtol * scale)


def _against_ott():
    """One by default; every shape, and uneven scales, with the slow tests."""
    quick = ("masked", "float64")
    uneven = [(1e-4, 1e-4), (1e4, 1e-4)]
    cases = [(shape, (1.0, 1.0)) for shape in SHAPES]
    for shape, scales in cases + [("masked", scales) for scales in uneven]:
        for dtype, rtol in (("float32", 1e-3), ("float64", 1e-6)):
            default = scales == (1.0, 1.0) and (shape, dtype) == quick
            marks = () if default else pytest.mark.slow
            name = f"{shape}-{scales}-{dtype}"
            yield pytest.param(dtype, rtol, shape, scales, marks=marks, id=name)


@pytest.mark.parametrize(("dtype", "rtol", "shape", "scales"), [*_against_ott()])
def test_values_potentials_and_gradients_are_those_of_ott(
    rng, x64, dtype, rtol, shape, scales
):
    x, y, x_mask, y_mask = problem(rng, shape)
    # What is given to both must be the same number.
    x, y = ((z * s).astype(dtype) for z, s in zip((x, y), scales, strict=True))
    # OTT's gradients of masked tokens are undefined: it is not given them.
    wide = x[x_mask].astype(np.float64), y[y_mask].astype(np.float64)
    epsilon = 0.1 * float((wide[0] @ wide[1].T).std())
    solution, mass = oracle(*wide, epsilon)
    assert solution.converged
    matcher = Sinkhorn(
        epsilon,
        tolerance=TIGHT if dtype == "float64" else 1e-6,
        max_iterations=20000,
    )
    found = match(x, y, matcher=matcher, x_mask=x_mask, y_mask=y_mask)
    assert found.converged and found.value.dtype == dtype
    agree(found.plan[x_mask][:, y_mask], mass * solution.matrix, rtol)
    agree(found.value, oracle_value(*wide, epsilon), rtol)
    agree(found.reg_ot_cost, oracle_cost(*wide, epsilon), rtol)
    for ours, theirs in (
        (found.f[x_mask], solution.f),
        (found.g[y_mask], solution.g),
    ):
        agree(ours - ours.mean(), theirs - theirs.mean(), rtol)
    for name, expected in (("value", oracle_value), ("reg_ot_cost", oracle_cost)):
        ours = jax.grad(soft(name, matcher, x_mask, y_mask), (0, 1))(x, y)
        theirs = jax.grad(expected, (0, 1))(*wide, epsilon)
        for a, b, mask in zip(ours, theirs, (x_mask, y_mask), strict=True):
            agree(a[mask], b, rtol)
            assert not a[~mask].any()


def test_default_epsilon_is_ott_s(rng, x64):
    x, y = tokens(rng, 2, 6, 3)
    cost = geometry.Geometry(cost_matrix=-(x @ y.T))
    found = match(x, y, matcher=Sinkhorn())
    np.testing.assert_allclose(found.epsilon, cost.epsilon, rtol=1e-9)


def test_the_plan_is_that_of_the_potentials(rng, x64):
    x, y, x_mask, y_mask = problem(rng, "masked")
    found = match(x, y, matcher=FIXED, x_mask=x_mask, y_mask=y_mask)
    logs = (found.f[:, None] + found.g + x @ y.T) / found.epsilon
    plan = np.where(x_mask[:, None] & y_mask, np.exp(logs), 0)
    np.testing.assert_allclose(found.plan, plan, rtol=1e-8)
    entropy = -np.sum(plan * np.log(np.where(plan > 0, plan, 1)))
    uniform = 6 * np.log(6 * 6 / 6)  # 6 tokens on either side
    cost = -found.value - found.epsilon * (entropy - uniform)
    np.testing.assert_allclose(found.reg_ot_cost, cost, rtol=1e-8)


@pytest.mark.parametrize("shape", SHAPES)
def test_rows_and_columns_share_the_mass(rng, shape):
    x, y, x_mask, y_mask = problem(rng, shape)
    plan = match(x, y, matcher=SOFT, x_mask=x_mask, y_mask=y_mask).plan
    mass = min(x_mask.sum(), y_mask.sum())
    np.testing.assert_allclose(plan.sum(1), x_mask * mass / x_mask.sum(), rtol=1e-5)
    error = np.abs(plan.sum(0) - y_mask * mass / y_mask.sum()).sum()
    assert error <= 1.01e-4 * mass


@pytest.mark.parametrize(
    "modes", [("rev",), pytest.param(("fwd",), marks=pytest.mark.slow)]
)
@pytest.mark.parametrize("name", ["plan", "value", "reg_ot_cost"])
@pytest.mark.parametrize("implicit", [True, False], ids=["implicit", "unrolled"])
def test_derivatives_of_a_matching(rng, x64, name, modes, implicit):
    matcher = FIXED if implicit else _unrolled(FIXED)
    x, y, x_mask, y_mask = problem(rng, "masked")
    field = soft(name, matcher, x_mask, y_mask)
    check_grads(field, (x, y), order=1, modes=modes, rtol=1e-5)


@pytest.mark.slow
@pytest.mark.parametrize("name", ["plan", "value", "reg_ot_cost"])
@pytest.mark.parametrize("implicit", [True, False], ids=["implicit", "unrolled"])
def test_second_derivatives_of_a_matching(rng, x64, name, implicit):
    matcher = FIXED if implicit else _unrolled(FIXED)
    x, y = tokens(rng, 4, 2), tokens(rng, 3, 2)
    check_grads(soft(name, matcher), (x, y), order=2, modes=["rev"], rtol=1e-4)


@pytest.mark.slow
def test_second_derivatives_with_masked_tokens_are_those_without_them(rng, x64):
    x, y = tokens(rng, 4, 2), tokens(rng, 5, 2)
    mask = jnp.array([True, True, False, True, True])

    def curvature(y, y_mask):
        value = soft("value", FIXED, y_mask=y_mask)
        return jax.jvp(jax.grad(lambda y: value(x, y)), (y,), (jnp.ones_like(y),))[1]

    agree(curvature(y, mask)[mask], curvature(y[mask], None), 1e-6)


@pytest.mark.slow
@pytest.mark.parametrize("kernel", [Linear(), Cosine(), RBF(2.0), RBF()], ids=str)
def test_derivatives_of_an_rsm(rng, x64, kernel):
    x, y = tokens(rng, 2, 4, 3), tokens(rng, 2, 5, 3)
    check_grads(
        lambda x, y: rsm(x, y, FIXED, kernel), (x, y), order=1, modes=["rev"], rtol=1e-4
    )


@pytest.mark.slow
@pytest.mark.parametrize("estimator", ["biased", "unbiased"])
def test_derivatives_of_the_cka_loss(rng, x64, estimator):
    x, y = tokens(rng, 4, 4, 3), tokens(rng, 4, 3, 2)
    loss = partial(semantic_cka_loss, matcher=FIXED, estimator=estimator)
    check_grads(loss, (x, y), order=1, modes=["rev"], rtol=1e-4)


def _unrolled(matcher):
    # Every cycle is laid out: no more of them than these small problems take.
    return dataclasses.replace(matcher, implicit_diff=False, max_iterations=600)


@pytest.mark.parametrize("name", ["plan", "value", "reg_ot_cost"])
def test_implicit_and_unrolled_gradients_agree(rng, x64, name):
    x, y, x_mask, y_mask = problem(rng, "masked")
    implicit = Sinkhorn(0.3, relative=True, tolerance=1e-10)
    weights = rng.normal(size=(8, 7)) if name == "plan" else 1.0
    found = [
        jax.grad(
            lambda x, y, m=m: jnp.sum(soft(name, m, x_mask, y_mask)(x, y) * weights),
            (0, 1),
        )(x, y)
        for m in (implicit, _unrolled(implicit))
    ]
    for a, b in zip(*found, strict=True):
        agree(a, b, 1e-4)


# From ten spreads to 1e-4 of one: from nearly uniform to nearly a permutation.
EPSILONS = [10.0, 1.0, 0.1, 1e-2, 1e-3, 1e-4]


@pytest.mark.parametrize(
    "dtype", ["float32", pytest.param("float64", marks=pytest.mark.slow)]
)
def test_the_value_rises_to_the_exact_one_as_epsilon_falls(rng, x64, dtype):
    x, y = tokens(rng, 2, 4, 24, 6, dtype=dtype)
    exact = match(x, y, matcher=Exact()).value
    values = []
    for epsilon in EPSILONS:
        matcher = Sinkhorn(epsilon, relative=True)
        found = match(x, y, matcher=matcher)
        gradients = jax.grad(
            lambda x, y, m=matcher: jnp.sum(
                soft("value", m)(x, y) + soft("plan", m)(x, y)[..., 0].sum(-1)
            ),
            (0, 1),
        )(x, y)
        for leaf in jax.tree.leaves((found, gradients)):
            assert np.isfinite(leaf).all(), epsilon
        values.append(found.value)
        assert (found.value <= found.upper_bound).all()
        assert (found.upper_bound >= exact * (1 - 1e-6)).all()
    values = np.stack(values)
    # The smallest two differ by less than their tolerance.
    assert (np.diff(values[:-1], axis=0) > 0).all()
    np.testing.assert_allclose(values[-1], exact, rtol=1e-3)


EDGES = {
    "zero": lambda x: np.zeros_like(x),
    "equal": lambda x: np.ones_like(x),
    "one": lambda x: x[..., :1, :],
    "repeated": lambda x: np.repeat(x[..., ::2, :], 2, axis=-2),
    "some zero": lambda x: x * (np.arange(6) < 3)[:, None],
    "tiny": lambda x: x * 1e-12,
    "huge": lambda x: x * 1e12,
}


@pytest.mark.parametrize("edge", EDGES)
@pytest.mark.parametrize(
    "implicit",
    [True, pytest.param(False, marks=pytest.mark.slow)],
    ids=["implicit", "unrolled"],
)
@pytest.mark.parametrize("epsilon", [None, 1e-4])
def test_gradients_stay_finite(rng, edge, implicit, epsilon):
    x, y = tokens(rng, 2, 6, 3, dtype=np.float32)
    x = EDGES[edge](x)
    matcher = Sinkhorn(
        epsilon, relative=True, implicit_diff=implicit, max_iterations=200
    )
    x_mask = np.arange(x.shape[0]) != 1
    for name in ("value", "plan", "reg_ot_cost", "partner"):
        found = jax.value_and_grad(
            lambda x, y, name=name: soft(name, matcher, x_mask)(x, y).sum(), (0, 1)
        )(x, y)
        for leaf in jax.tree.leaves(found):
            assert np.isfinite(leaf).all(), name


@pytest.mark.slow
def test_a_vanishing_cotangent_gives_a_vanishing_gradient(rng):
    x = tokens(rng, 3, 6, 4, dtype=np.float32)

    def scaled(x, by):
        return by * rsm(x, None, SOFT).sum()

    small, plain = jax.grad(scaled)(x, 1e-16), jax.grad(scaled)(x, 1.0)
    agree(small, 1e-16 * plain, 1e-3)


def _leaves_agree(found, expected, rtol):
    assert found.permutation.tolist() == expected.permutation.tolist()
    assert found.n_iters.tolist() == expected.n_iters.tolist()
    assert found.converged.tolist() == expected.converged.tolist()
    for name in ("value", "plan", "f", "g", "upper_bound", "reg_ot_cost", "partner"):
        agree(getattr(found, name), getattr(expected, name), rtol)


def test_jit_vmap_and_batch_equal_one_pair_each(rng):
    x, y = tokens(rng, 2, 4, 9, 5, dtype=np.float32)
    x[1] *= 30  # another epsilon
    y[2] = x[2] + 0.01 * y[2]  # soon done
    matcher = Sinkhorn(0.1, relative=True, tolerance=1e-5)
    whole = partial(match, matcher=matcher)
    alone = [whole(a, b) for a, b in zip(x, y, strict=True)]
    expected = jax.tree.map(lambda *a: jnp.stack(a), *alone)
    # A batch goes on until its last pair is done; each stops when it would alone.
    assert len(set(expected.n_iters.tolist())) > 1
    for found in (whole(x, y), jax.jit(whole)(x, y), jax.vmap(whole)(x, y)):
        _leaves_agree(found, expected, 1e-4)


def test_equal_settings_do_not_compile_again(rng):
    x = tokens(rng, 2, 5, 3, dtype=np.float32)
    compiled = jax.jit(
        lambda x, matcher: match(x[0], x[1], matcher=matcher).value,
        static_argnames="matcher",
    )
    for _ in range(2):
        compiled(x, matcher=Sinkhorn(np.float32(0.3), tolerance=1e-3))
    assert compiled._cache_size() == 1
    assert Sinkhorn(np.float64(0.5)) == Sinkhorn(0.5)


@pytest.mark.parametrize("dtype", [jnp.bfloat16, jnp.float16, jnp.int32])
def test_short_numbers_are_accumulated_in_float32(rng, dtype):
    x, y = (jnp.asarray(tokens(rng, 6, 4) * 3, dtype) for _ in range(2))
    found = match(x, y, matcher=SOFT)
    wide = match(*(z.astype(jnp.float32) for z in (x, y)), matcher=SOFT)
    assert found.value.dtype == found.plan.dtype == jnp.float32
    _leaves_agree(found, wide, 1e-6)
    if jnp.issubdtype(dtype, jnp.floating):
        gradient = jax.grad(soft("value", SOFT))(x, y)
        assert gradient.dtype == dtype and jnp.isfinite(gradient).all()


def test_one_token_goes_with_all_of_the_other_side(rng):
    x, y = tokens(rng, 1, 4, dtype=np.float32), tokens(rng, 3, 4, dtype=np.float32)
    found = match(x, y, matcher=SOFT)
    np.testing.assert_allclose(found.plan, np.full((1, 3), 1 / 3), rtol=1e-5)
    np.testing.assert_allclose(found.value, (x @ y.T).mean(), rtol=1e-5)
    assert found.converged
    alone = match(x, y[:1], matcher=SOFT)
    np.testing.assert_allclose(alone.value, (x @ y[:1].T)[0, 0], rtol=1e-5)


@pytest.mark.parametrize("bad", [np.nan, np.inf, -np.inf])
def test_what_is_not_finite_is_refused_or_gives_nan(rng, bad):
    x, y = tokens(rng, 2, 3, 6, 4, dtype=np.float32)
    x[1, 2, 3] = bad
    with pytest.raises(ValueError, match="x_i"):
        match(x, y, matcher=SOFT)
    found = jax.jit(partial(match, matcher=SOFT))(x, y)
    assert np.isnan(found.value).tolist() == [False, True, False]
    assert np.isnan(found.upper_bound).tolist() == [False, True, False]
    assert found.converged.tolist()[1] is False


def test_masked_tokens_do_not_matter_whatever_they_hold(rng):
    x, y, x_mask, y_mask = problem(rng, "masked")
    found = match(x, y, matcher=SOFT, x_mask=x_mask, y_mask=y_mask)
    bare = match(x[x_mask], y[y_mask], matcher=SOFT)
    np.testing.assert_allclose(found.value, bare.value, rtol=1e-5)
    agree(found.plan[x_mask][:, y_mask], bare.plan, 1e-4)
    assert not found.plan[~x_mask].any() and not found.plan[:, ~y_mask].any()
    assert not found.partner[~x_mask].any() and not found.f[~x_mask].any()
    assert (np.asarray(found.permutation)[~x_mask] == -1).all()


def test_a_permutation_of_the_tokens_changes_nothing_but_the_order(rng, x64):
    x, y = tokens(rng, 2, 7, 4)
    order = rng.permutation(7)
    found = match(x, y, matcher=FIXED)
    moved = match(x[order], y, matcher=FIXED)
    agree(moved.plan, found.plan[order], 1e-8)
    agree(moved.value, found.value, 1e-10)
    swapped = match(y, x, matcher=FIXED)
    agree(swapped.plan, found.plan.T, 1e-8)
    agree(swapped.value, found.value, 1e-10)
    agree(swapped.reg_ot_cost, found.reg_ot_cost, 1e-8)


def test_statistics_are_those_of_the_plan(rng, x64):
    x, y = tokens(rng, 2, 5, 4), tokens(rng, 3, 6, 4)
    found = pair_statistics(x, y, FIXED)
    for i, j in np.ndindex(2, 3):
        plan = np.asarray(match(x[i], y[j], matcher=FIXED).plan)
        distances = ((x[i][:, None] - y[j]) ** 2).sum(-1)
        np.testing.assert_allclose(found.inner[i, j], (plan * (x[i] @ y[j].T)).sum())
        np.testing.assert_allclose(found.sq_dist[i, j], (plan * distances).sum())
    own = pair_statistics(x, None, FIXED)
    np.testing.assert_allclose(own.inner, own.inner.T, rtol=1e-8)


def test_a_sharp_plan_rounds_to_the_exact_permutation(rng):
    x, y = tokens(rng, 2, 3, 12, 6, dtype=np.float32)
    found = match(x, y, matcher=Sinkhorn(1e-3, relative=True, max_iterations=10000))
    exact = match(x, y, matcher=Exact())
    np.testing.assert_array_equal(found.permutation, exact.permutation)
    np.testing.assert_array_equal(round_plan(found.plan), exact.permutation)
    assert match(x, y, matcher=Sinkhorn(1.0)).permutation.shape == (3, 12)


def test_rounding_takes_the_heaviest_matching(rng):
    plan = rng.random((2, 5, 7))
    expected = [linear_sum_assignment(p, maximize=True)[1] for p in plan]
    np.testing.assert_array_equal(round_plan(plan), expected)
    mask = np.array([True, True, False, True, True])
    assert (np.asarray(round_plan(plan, x_mask=np.stack([mask] * 2)))[:, 2] == -1).all()


@settings(max_examples=40, deadline=None)
@given(
    seed=st.integers(0, 2**32 - 1),
    scale=st.sampled_from([1e-4, 1.0, 1e4]),
    epsilon=st.sampled_from([1e-4, 1e-2, 0.3, 10.0]),
    iterations=st.sampled_from([1, 30]),
)
def test_the_bound_holds_whether_converged_or_not(seed, scale, epsilon, iterations):
    rng = np.random.default_rng(seed)
    x, y = scale * tokens(rng, 2, 6, 3, dtype=np.float32)
    y = y[:5]
    matcher = Sinkhorn(epsilon, relative=True, max_iterations=iterations)
    found = match(x, y, matcher=matcher)
    wide = np.asarray(x, np.float64) @ np.asarray(y, np.float64).T
    optimum = wide[linear_sum_assignment(wide, maximize=True)].sum()
    slack = 1e-6 * np.abs(wide).sum()
    assert found.upper_bound >= optimum - slack
    assert found.upper_bound >= found.value
    assert linear_assignment(wide).value <= found.upper_bound + slack


def _temporary_bytes(samples):
    """What forward and backward of an RSM hold beside inputs and outputs."""

    def loss(x):
        K = rsm(x, None, Sinkhorn(max_iterations=50), memory_budget=300_000)
        return jnp.sum(K * K)

    x = jax.ShapeDtypeStruct((samples, 32, 4), jnp.float32)
    compiled = jax.jit(jax.grad(loss)).lower(x).compile()
    return compiled.memory_analysis().temp_size_in_bytes


@pytest.mark.slow
def test_memory_of_a_gradient_is_that_of_a_tile():
    small, large = _temporary_bytes(6), _temporary_bytes(18)
    # 21 and 171 pairs: their affinities alone would take 614 kB more.
    pairs = 171 - 21
    # All that a pair leaves behind: its potentials, and some entries of an RSM.
    assert large - small < pairs * 4 * (32 + 64)


@pytest.mark.parametrize(
    ("options", "named"),
    [
        ({"epsilon": 0.0}, "epsilon"),
        ({"epsilon": np.nan}, "epsilon"),
        ({"tolerance": -1.0}, "tolerance"),
        ({"max_iterations": 0}, "max_iterations"),
        ({"anneal": -1.0}, "anneal"),
        ({"anneal": np.inf}, "anneal"),
    ],
)
def test_settings_out_of_range_are_refused(options, named):
    with pytest.raises(ValueError, match=named):
        Sinkhorn(**options)
