"""Derivatives of soft matching: finite differences, both orders, edges, and OTT-JAX."""

import dataclasses
from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax.test_util import check_grads
from marks import long
from ott.geometry import geometry
from ott.problems.linear import linear_problem
from ott.solvers.linear import implicit_differentiation
from ott.solvers.linear import sinkhorn as ott_sinkhorn
from soft_matchings import (
    FIXED,
    SHAPES,
    assert_close,
    compiled_fields,
    draw_pair,
    draw_tokens,
)

from semrsm_jax import RBF, Cosine, Sinkhorn, match, rsm

BLOCKED = dataclasses.replace(FIXED, block=3)


def unrolled(matcher):
    # Every cycle is laid out: no more of them than these small problems take.
    return dataclasses.replace(matcher, implicit_diff=False, max_iterations=600)


def fields_of(matcher):
    """The differentiable fields; a plan that is not held is left out."""
    plan = () if matcher.block else ("plan",)
    return ("value", "reg_ot_cost", "partner", "f", "g", *plan)


def gradients(matcher, names, x, y, x_mask, y_mask, extra=()):
    """Of a smooth function of the named fields; then these fields and others."""
    fields = compiled_fields(matcher, (*names, *extra), x_mask, y_mask)

    def total(x, y):
        outputs = fields(x, y)
        smooth = outputs[: len(names)]
        return sum(jnp.sum(jnp.sin(1.3 * z)) for z in smooth), outputs

    return jax.grad(total, (0, 1), has_aux=True)(x, y)


# Of one pair with masked tokens; the gradients of all fields are compared at once.
@pytest.mark.parametrize(
    ("matcher", "modes"),
    [
        pytest.param(FIXED, ("rev",), id="implicit"),
        pytest.param(FIXED, ("fwd",), id="implicit, forward", marks=pytest.mark.slow),
        pytest.param(
            unrolled(FIXED), ("rev", "fwd"), id="loop", marks=pytest.mark.slow
        ),
    ],
)
def test_first_derivatives(rng, x64, modes, matcher):
    x, y, x_mask, y_mask = draw_pair(rng, "masked")
    fields = compiled_fields(matcher, fields_of(matcher), x_mask, y_mask)
    check_grads(fields, (x, y), order=1, modes=modes, rtol=1e-5)


@pytest.mark.slow
@pytest.mark.parametrize(
    "matcher",
    [
        BLOCKED,
        long(dataclasses.replace(BLOCKED, block=64)),
        long(unrolled(BLOCKED)),
    ],
    ids=["blocks", "one block", "loop"],
)
def test_blocks_give_the_matching_and_gradients_of_the_held_plan(rng, x64, matcher):
    """In a batch: the last block is not full, and pairs have masks of their own."""
    x, y = rng.normal(size=(2, 13, 4)), rng.normal(size=(2, 9, 4)) + 1
    x_mask, y_mask = np.ones((2, 13), bool), np.ones((2, 9), bool)
    x_mask[0, [0, 7]] = y_mask[1, 4:] = False
    extra = "upper_bound", "epsilon", "converged", "n_iters"
    (slopes, outputs), (expected_slopes, expected) = (
        gradients(m, fields_of(BLOCKED), x, y, x_mask, y_mask, extra)
        for m in (matcher, FIXED)
    )
    *outputs, converged, n_iters = outputs
    *expected, _, most = expected
    assert converged.all()
    if matcher.implicit_diff:
        assert (n_iters <= most).all()
    for ours, theirs in zip(outputs, expected, strict=True):
        np.testing.assert_allclose(ours, theirs, 1e-7, 1e-7)
    for ours, theirs, mask in zip(
        slopes, expected_slopes, (x_mask, y_mask), strict=True
    ):
        np.testing.assert_allclose(ours, theirs, 1e-6, 1e-7)
        assert not np.asarray(ours)[~mask].any()


@pytest.mark.slow
@pytest.mark.parametrize(
    "matcher",
    [FIXED, long(unrolled(FIXED)), long(BLOCKED)],
    ids=["implicit", "loop", "blocks"],
)
def test_second_derivatives(rng, x64, matcher):
    x, y = draw_tokens(rng, 4, 2), draw_tokens(rng, 3, 2)
    matcher = dataclasses.replace(matcher, tolerance=1e-13)
    fields = compiled_fields(matcher, fields_of(matcher))
    check_grads(fields, (x, y), order=2, modes=["rev"], rtol=1e-4, atol=1e-5)


@pytest.mark.long
def test_second_derivatives_with_masked_tokens_are_those_without_them(rng, x64):
    x, y = draw_tokens(rng, 4, 2), draw_tokens(rng, 5, 2)
    mask = jnp.array([True, True, False, True, True])

    def curvature(y, y_mask):
        value = compiled_fields(FIXED, ("value",), y_mask=y_mask)
        return jax.jvp(jax.grad(lambda y: value(x, y)[0]), (y,), (jnp.ones_like(y),))[1]

    assert_close(curvature(y, mask)[mask], curvature(y[mask], None), 1e-6)


@pytest.mark.slow
@pytest.mark.parametrize("kernel", [long(Cosine()), RBF()], ids=str)
@pytest.mark.parametrize(
    "matcher", [FIXED, long(unrolled(FIXED))], ids=["implicit", "loop"]
)
def test_derivatives_of_an_rsm(rng, x64, kernel, matcher):
    x, y = draw_tokens(rng, 2, 4, 3), draw_tokens(rng, 2, 5, 3)
    similarity = partial(rsm, matcher=matcher, kernel=kernel)
    check_grads(similarity, (x, y), order=1, modes=["rev"], rtol=1e-4)


@pytest.mark.long
def test_implicit_and_unrolled_gradients_agree(rng, x64):
    pair = draw_pair(rng, "masked")
    implicit = Sinkhorn(0.3, relative=True, tolerance=1e-10)
    names = "plan", "value", "reg_ot_cost"
    both = (gradients(m, names, *pair)[0] for m in (implicit, unrolled(implicit)))
    for ours, theirs in zip(*both, strict=True):
        assert_close(ours, theirs, 1e-4)


EDGES = {
    "zero": lambda x: np.zeros_like(x),
    "equal": lambda x: np.ones_like(x),
    "one": lambda x: x,  # all tokens but one are masked
    "repeated": lambda x: np.repeat(x[::2], 2, axis=0),
    "some zero": lambda x: x * (np.arange(6) < 3)[:, None],
    "tiny": lambda x: x * 1e-12,
    "huge": lambda x: x * 1e12,
}


@pytest.mark.slow
@pytest.mark.parametrize(
    "options",
    [{}, {"implicit_diff": False}, {"block": 4}],
    ids=["implicit", "unrolled", "blocks"],
)
@pytest.mark.parametrize("epsilon", [None, long(1e-4)])
def test_gradients_stay_finite(rng, options, epsilon):
    """Of a batch of edges, none of which may spoil another."""
    x, y = draw_tokens(rng, 2, 6, 3, dtype=np.float32)
    xs = np.stack([edge(x) for edge in EDGES.values()])
    x_mask = np.array(
        [np.arange(6) == 0 if name == "one" else np.arange(6) != 1 for name in EDGES]
    )
    ys = np.stack([y] * len(EDGES))
    matcher = Sinkhorn(epsilon, relative=True, max_iterations=200, **options)
    names = fields_of(matcher)
    fields, pull = jax.vjp(compiled_fields(matcher, names, x_mask), xs, ys)
    pull = jax.jit(pull)
    for name, value in zip(names, fields, strict=True):
        cotangents = [jnp.full_like(z, z is value) for z in fields]
        for leaf in (value, *pull(cotangents)):
            finite = np.isfinite(leaf).reshape(len(EDGES), -1).all(1)
            assert finite.all(), (name, [*EDGES][int(np.argmin(finite))])


@pytest.mark.slow
@pytest.mark.parametrize("scale", [0.0, 1.0], ids=["zero", "equal"])
def test_gradient_of_an_rsm_of_equal_tokens_is_finite(scale):
    x = jnp.full((1, 6, 3), scale)

    def loss(x):
        return jnp.sum(rsm(x, x + 0, matcher=Sinkhorn(block=4), kernel=Cosine()))

    assert np.isfinite(jax.jit(jax.grad(loss))(x)).all()


# OTT-JAX: values, potentials, gradients, default epsilon

# Both iterate until nothing but rounding is left.
TIGHT = 1e-12


def solve_by_ott(x, y, epsilon):
    """OTT's solution for the cost -affinity."""
    cost = geometry.Geometry(cost_matrix=-(x @ y.T), epsilon=epsilon)
    exact = implicit_differentiation.ImplicitDiff(
        solver_kwargs={"ridge_identity": 0.0, "ridge_kernel": 1e-3, "rtol": 1e-13}
    )
    solver = ott_sinkhorn.Sinkhorn(
        threshold=TIGHT, max_iterations=50000, implicit_diff=exact
    )
    return solver(linear_problem.LinearProblem(cost))


@pytest.mark.slow
@pytest.mark.parametrize(
    ("shape", "scales"),
    [
        *(long(shape, (1.0, 1.0)) for shape in SHAPES if shape != "masked"),
        ("masked", (1.0, 1.0)),
        long("masked", (1e-4, 1e-4)),
        long("masked", (1e4, 1e-4)),
    ],
    ids=str,
)
def test_values_potentials_and_gradients_are_those_of_ott(rng, x64, shape, scales):
    x, y, x_mask, y_mask = draw_pair(rng, shape)
    # What is given to both must be the same number.
    x, y = (np.float32(z * s) for z, s in zip((x, y), scales, strict=True))
    # OTT's gradients of masked tokens are undefined: it is not given them.
    wide = x[x_mask].astype(np.float64), y[y_mask].astype(np.float64)
    epsilon = 0.1 * float((wide[0] @ wide[1].T).std())
    mass = min(map(len, wide))

    @jax.jit
    def oracle(x, y):
        solution = solve_by_ott(x, y, epsilon)
        value = mass * jnp.sum(solution.matrix * (x @ y.T))
        return (value, mass * solution.reg_ot_cost), solution

    expected, pull_expected, solution = jax.vjp(oracle, *wide, has_aux=True)
    assert solution.converged
    weights = (1.0, 0.0), (0.0, 1.0)
    slopes = [pull_expected(tuple(map(jnp.asarray, each))) for each in weights]
    for dtype, tolerance, rtol in (("f4", 1e-6, 1e-3), ("f8", TIGHT, 1e-6)):
        x, y = x.astype(dtype), y.astype(dtype)
        matcher = Sinkhorn(epsilon, tolerance=tolerance, max_iterations=20000)
        matching = match(x, y, matcher=matcher, x_mask=x_mask, y_mask=y_mask)
        assert matching.converged and matching.value.dtype == dtype
        assert_close(matching.plan[x_mask][:, y_mask], mass * solution.matrix, rtol)
        for ours, theirs in (
            (matching.f[x_mask], solution.f),
            (matching.g[y_mask], solution.g),
        ):
            assert_close(ours - ours.mean(), theirs - theirs.mean(), rtol)
        fields = compiled_fields(matcher, ("value", "reg_ot_cost"), x_mask, y_mask)
        values, pull = jax.vjp(fields, jnp.asarray(x), jnp.asarray(y))
        assert_close(values, expected, rtol)
        for each, theirs in zip(weights, slopes, strict=True):
            ours = pull([jnp.asarray(w, dtype) for w in each])
            for a, b, mask in zip(ours, theirs, (x_mask, y_mask), strict=True):
                assert_close(a[mask], b, rtol)
                assert not a[~mask].any()


@pytest.mark.slow
def test_default_epsilon_is_that_of_ott(rng, x64):
    x, y = draw_tokens(rng, 2, 7, 4)
    cost = geometry.Geometry(cost_matrix=-(x @ y.T))
    epsilon = match(x, y, matcher=Sinkhorn()).epsilon
    np.testing.assert_allclose(epsilon, cost.epsilon, rtol=1e-9)
