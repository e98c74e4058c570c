"""Properties that the matchers share."""

import dataclasses

import chex
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from assignment_checks import GRID, TOKENS, best_value, is_complete, tokens

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


@of_all
def test_matches_every_token_once_and_the_bound_holds(rng, matcher):
    x, y = tokens(rng, 2, TOKENS, 5)
    m = match(x, y, matcher=matcher)
    assert is_complete(m.permutation, TOKENS)
    matched = np.sum(x * y[m.permutation])
    np.testing.assert_allclose(m.value, matched, rtol=1e-5)
    assert m.value <= best_value(x, y) * (1 + 1e-6) <= m.upper_bound * (1 + 2e-6)


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
    assert is_complete(m.permutation, sizes[1])
    assert m.value <= best_value(x, y) * (1 + 1e-6) <= m.upper_bound * (1 + 2e-6)


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
    zero, one = np.zeros((TOKENS, 5), np.float32), np.ones((TOKENS, 5), np.float32)
    for x, y, value in ((zero, zero, 0), (zero, one, 0), (one, one, 5 * TOKENS)):
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
