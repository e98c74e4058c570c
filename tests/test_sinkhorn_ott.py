"""Soft matching against OTT-JAX: values, potentials, gradients, default epsilon."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from ott.geometry import geometry
from ott.problems.linear import linear_problem
from ott.solvers.linear import implicit_differentiation
from ott.solvers.linear import sinkhorn as ott_sinkhorn
from soft_matchings import SHAPES, assert_close, compiled_fields, draw_pair, draw_tokens

from semrsm_jax import Sinkhorn, match

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
@pytest.mark.parametrize(("dtype", "rtol"), [("float32", 1e-3), ("float64", 1e-6)])
@pytest.mark.parametrize(
    ("shape", "scales"),
    [
        *((shape, (1.0, 1.0)) for shape in SHAPES),
        ("masked", (1e-4, 1e-4)),
        ("masked", (1e4, 1e-4)),
    ],
    ids=str,
)
def test_values_potentials_and_gradients_are_those_of_ott(
    rng, x64, dtype, rtol, shape, scales
):
    x, y, x_mask, y_mask = draw_pair(rng, shape)
    # What is given to both must be the same number.
    x, y = ((z * s).astype(dtype) for z, s in zip((x, y), scales, strict=True))
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
    tolerance = TIGHT if dtype == "float64" else 1e-6
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
    for weights in ((1.0, 0.0), (0.0, 1.0)):
        ours = pull([jnp.asarray(w, dtype) for w in weights])
        theirs = pull_expected(tuple(map(jnp.asarray, weights)))
        for a, b, mask in zip(ours, theirs, (x_mask, y_mask), strict=True):
            assert_close(a[mask], b, rtol)
            assert not a[~mask].any()


def test_default_epsilon_is_that_of_ott(rng, x64):
    x, y = draw_tokens(rng, 2, 7, 4)
    cost = geometry.Geometry(cost_matrix=-(x @ y.T))
    epsilon = match(x, y, matcher=Sinkhorn()).epsilon
    np.testing.assert_allclose(epsilon, cost.epsilon, rtol=1e-9)
