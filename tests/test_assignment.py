import functools
import itertools

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from assignment_checks import is_complete, optimum
from hypothesis import given, settings
from hypothesis import strategies as st
from jax.test_util import check_grads
from marks import long, slow

from semrsm_jax import linear_assignment

SOLVERS = ["auction", "scipy", "ortools", "optax", "device"]
SHAPES = [(1, 1), (5, 5), (1, 7), (7, 1), (6, 9), (9, 6), (33, 33)]


def with_every_solver(values, *first):
    """Cases; those that XLA compiles are slow for all values but `first`, and long for
    those between the ends.
    """

    def case(value, solver):
        if solver not in SOLVERS[3:] or value in first:
            return value, solver
        return (slow if value in (values[0], values[-1]) else long)(value, solver)

    return [case(*each) for each in itertools.product(values, SOLVERS)]


@pytest.mark.parametrize(
    ("shape", "solver"),
    with_every_solver(SHAPES, (9, 6)) + [slow((256, 256), s) for s in SOLVERS],
)
def test_value_is_scipys_optimum_and_the_bound_proves_it(rng, solver, shape):
    batch = rng.normal(size=(3, *shape)).astype(np.float32)
    result = linear_assignment(batch, solver=solver)
    assert result.permutation.dtype == jnp.int32
    for matrix, permutation, value, bound in zip(
        batch, *map(np.asarray, result), strict=True
    ):
        assert is_complete(permutation, shape[1])
        chosen = matrix[permutation >= 0, permutation[permutation >= 0]].sum()
        # float32 sums of normal numbers: an error of 1e-6 of their total size.
        slack = 2e-6 * np.abs(matrix).max() * min(shape)
        np.testing.assert_allclose(value, optimum(matrix), rtol=1e-5, atol=slack)
        np.testing.assert_allclose(value, chosen, rtol=1e-5, atol=slack)
        assert optimum(matrix) - slack <= bound <= value + 1e-6 * abs(value) + slack


@pytest.mark.parametrize(
    ("scale", "solver"), with_every_solver([1e-30, 1e-4, 1.0, 1e4, 1e30])
)
def test_any_scale_and_offset(rng, solver, scale):
    batch = ((rng.random((3, 33, 33)) + 3) * scale).astype(np.float32)
    result = linear_assignment(batch, solver=solver)
    np.testing.assert_allclose(result.value, [*map(optimum, batch)], rtol=1e-5)
    assert (result.upper_bound <= result.value * (1 + 3e-6)).all()


@pytest.mark.slow
@pytest.mark.parametrize("solver", SOLVERS)
def test_float64_meets_the_optimum_to_twelve_digits(rng, x64, solver):
    for shape in [(1, 1), (20, 20), (12, 30)]:
        batch = rng.normal(size=(2, *shape))
        result = linear_assignment(batch, solver=solver, tolerance=0.0)
        for matrix, value, bound in zip(
            batch, result.value, result.upper_bound, strict=True
        ):
            np.testing.assert_allclose(value, optimum(matrix), rtol=1e-12)
            np.testing.assert_allclose(bound, value, rtol=1e-12)


@pytest.mark.parametrize("solver", ["scipy", slow("auction"), slow("ortools")])
def test_float64_keeps_its_bits_where_x64_is_a_context(rng, no_x64, solver):
    """JAX calls back in a thread in which the context does not hold; here, neither."""

    def solve(batch, mask):
        return linear_assignment(batch, solver=solver, tolerance=0.0, row_mask=mask)[1:]

    batch = 1 + 1e-10 * rng.normal(size=(2, 8, 8))
    with jax.enable_x64(True):
        arguments = jnp.asarray(batch), np.ones((2, 8), bool)
        compiled = jax.jit(solve).lower(*arguments).compile()
    for values in compiled(*arguments)[:2]:
        np.testing.assert_allclose(values, [*map(optimum, batch)], rtol=1e-14)


@pytest.mark.slow
@pytest.mark.parametrize("solver", SOLVERS)
@pytest.mark.parametrize(
    "matrix",
    [
        np.zeros((6, 6)),
        np.full((6, 6), -3.0),
        np.full((3, 6), -3.0),
        np.full((6, 3), 5.0),
        -np.arange(36.0).reshape(6, 6),
        np.outer(np.arange(6.0), np.arange(6.0)),
        np.eye(6)[::-1] * 1e6,
        np.random.default_rng(0).integers(0, 4, (16, 16)),
    ],
    ids="zero constant wide tall negative product outlier ties".split(),
)
def test_degenerate_matrices(solver, matrix):
    result = linear_assignment(matrix, solver=solver)
    assert is_complete(result.permutation, matrix.shape[1])
    np.testing.assert_allclose(result.value, optimum(matrix), rtol=1e-6)
    np.testing.assert_allclose(result.upper_bound, result.value, rtol=2e-6)


# The totals that SciPy's own tests of linear_sum_assignment publish.
SCIPY_CASES = [
    ([[400, 150, 400], [400, 450, 600], [300, 225, 300]], 150 + 400 + 300),
    ([[400, 150, 400, 1], [400, 450, 600, 2], [300, 225, 300, 3]], 150 + 2 + 300),
    ([[10, 10, 8], [9, 8, 1], [9, 7, 4]], 10 + 1 + 7),
    ([[10, 10, 8, 11], [9, 8, 1, 1], [9, 7, 4, 10]], 10 + 1 + 4),
    (np.zeros((0, 0)), 0),
    (np.zeros((2, 0)), 0),
    (np.zeros((0, 2)), 0),
    (np.identity(3, dtype=bool), 0),
]


@pytest.mark.slow
@pytest.mark.parametrize("solver", SOLVERS)
@pytest.mark.parametrize(("cost", "total"), SCIPY_CASES)
@pytest.mark.parametrize("transposed", [False, True])
def test_scipys_cases_give_the_published_totals(solver, cost, total, transposed):
    cost = np.asarray(cost).T if transposed else np.asarray(cost)
    result = linear_assignment(cost, maximize=False, solver=solver, tolerance=0.0)
    assert result.value == total
    assert result.upper_bound <= result.value
    if cost.dtype != bool:
        mirrored = linear_assignment(-cost, solver=solver, tolerance=0.0)
        assert mirrored.value == -total
    assert (np.asarray(result.permutation) >= 0).sum() == min(cost.shape)


@pytest.mark.slow
@settings(max_examples=25)
@given(st.integers(0, 2**31 - 1), st.sampled_from(SOLVERS))
def test_masks_are_the_matrix_without_the_absent(seed, solver):
    rng = np.random.default_rng(seed)
    matrix = rng.normal(size=(9, 7)).astype(np.float32)
    rows, columns = rng.random(9) > 0.4, rng.random(7) > 0.4
    rows[0] = columns[0] = True
    result = linear_assignment(
        matrix, solver=solver, row_mask=rows, column_mask=columns
    )
    permutation = np.asarray(result.permutation)
    part = matrix[rows][:, columns]
    assert (permutation[~rows] == -1).all()
    assert columns[permutation[permutation >= 0]].all()
    assert (permutation >= 0).sum() == min(part.shape)
    np.testing.assert_allclose(result.value, optimum(part), rtol=1e-5, atol=1e-5)
    assert result.value <= result.upper_bound <= result.value + 1e-4


@pytest.mark.slow
@pytest.mark.parametrize("solver", SOLVERS)
@pytest.mark.parametrize("value", [0.0, 1e30, -1e30, 1e-30, -3.0])
def test_masked_constants_are_matched_completely(solver, value):
    matrix = np.full((5, 4), value, np.float32)
    rows = np.array([True, False, True, False, False])
    columns = np.array([False, True, True, True])
    result = linear_assignment(
        matrix, solver=solver, row_mask=rows, column_mask=columns
    )
    permutation = np.asarray(result.permutation)
    assert is_complete(permutation[rows], 4)
    assert columns[permutation[rows]].all()
    np.testing.assert_allclose(result.value, np.float32(2 * value), rtol=1e-6)


@pytest.mark.slow
@pytest.mark.parametrize("solver", SOLVERS)
def test_jit_and_vmap_equal_eager_and_nan_stays_with_its_matrix(rng, solver):
    batch = rng.normal(size=(4, 5, 5)).astype(np.float32)
    eager = linear_assignment(batch, solver=solver)
    solve = functools.partial(linear_assignment, solver=solver)
    compiled = jax.jit(solve)
    for result in (compiled(batch), jax.vmap(solve)(batch)):
        np.testing.assert_array_equal(result.permutation, eager.permutation)
        np.testing.assert_allclose(result.value, eager.value, rtol=1e-6)
        np.testing.assert_allclose(result.upper_bound, eager.upper_bound, rtol=1e-6)
    batch[1, 2, 3], batch[2, 0, 0] = np.nan, np.inf
    result = compiled(batch)
    for field in (result.value, result.upper_bound):
        assert np.isnan(field).tolist() == [False, True, True, False]


@pytest.mark.slow
@pytest.mark.parametrize("solver", SOLVERS)
def test_gradient_is_that_of_the_fixed_matching(rng, x64, solver):
    matrix = jnp.asarray(rng.normal(size=(5, 6)))

    def value(a):
        return linear_assignment(a, solver=solver, tolerance=0.0).value

    check_grads(value, (matrix,), 1)
    permutation = linear_assignment(matrix, solver=solver).permutation
    expected = np.zeros((5, 6))
    expected[np.arange(5), permutation] = 1
    np.testing.assert_array_equal(jax.grad(value)(matrix), expected)


def test_half_precision_is_solved_in_float32(rng):
    matrix = jnp.asarray(rng.normal(size=(6, 6)), jnp.bfloat16)
    result = linear_assignment(matrix)
    assert result.value.dtype == jnp.float32
    np.testing.assert_allclose(result.value, optimum(matrix), rtol=1e-6)


def test_numpy_in_gives_numpy_out_and_jax_in_gives_jax_out(rng):
    matrix = rng.normal(size=(2, 5, 6)).astype(np.float32)
    for affinity, kind in ((matrix, np.ndarray), (jnp.asarray(matrix), jax.Array)):
        for maximize in (True, False):
            result = linear_assignment(affinity, maximize)
            assert all(isinstance(values, kind) for values in result)
            best = [optimum(m if maximize else -m) for m in matrix]
            np.testing.assert_allclose(
                result.value, np.abs(best) * (2 * maximize - 1), rtol=1e-5
            )
    assert linear_assignment(matrix[0]).value.dtype == np.float32
    assert isinstance(linear_assignment(matrix[:, :0]).value, np.ndarray)


@pytest.mark.parametrize(
    ("arguments", "error", "words"),
    [
        ({"affinity": np.zeros(3)}, ValueError, "at least 2 axes"),
        ({"affinity": [["a", "b"]]}, TypeError, "affinity must be a real array"),
        ({"affinity": np.full((2, 2), np.nan)}, ValueError, "affinity must be finite"),
        ({"affinity": np.full((2, 2), np.inf)}, ValueError, "affinity must be finite"),
        ({"affinity": np.zeros((2, 2), complex)}, TypeError, "complex"),
        ({"solver": "hungarian"}, ValueError, "solver must be one of"),
        ({"tolerance": -1.0}, ValueError, "tolerance must be"),
        ({"tolerance": np.nan}, ValueError, "tolerance must be"),
        ({"tolerance": "0"}, TypeError, "tolerance must be a number"),
        ({"tolerance": True}, TypeError, "tolerance must be a number"),
        ({"row_mask": np.ones(3, bool)}, ValueError, "row_mask must have shape"),
        ({"column_mask": np.ones(2)}, TypeError, "column_mask must be boolean"),
        ({"row_mask": np.zeros(2, bool)}, ValueError, "at least one token"),
    ],
)
def test_arguments_out_of_range_are_rejected(arguments, error, words):
    with pytest.raises(error, match=words):
        linear_assignment(**({"affinity": np.zeros((2, 2))} | arguments))
