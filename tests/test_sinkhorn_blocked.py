"""Plans that are not held: the same as the plan that is, and no array of its size."""

import dataclasses

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax.extend.core import jaxprs_in_params
from jax.test_util import check_grads

from semrsm_jax import Cosine, Exact, Sinkhorn, match, pair_statistics, rsm
from semrsm_jax.matching import sinkhorn
from semrsm_jax.pairs.executor import Rule, pair_bytes

WHOLE = Sinkhorn(epsilon=0.5, tolerance=1e-10)
# The last block is not full; one block takes all.
BLOCKS = [5, 64]
X_MASK = np.ones((2, 13), bool)
Y_MASK = np.ones((2, 9), bool)
X_MASK[0, [0, 7]] = False
Y_MASK[1, 4:] = False
MASKS = {"x_mask": X_MASK, "y_mask": Y_MASK}


def blocked(matcher, block=5):
    return dataclasses.replace(matcher, block=block)


@pytest.fixture
def tokens(rng):
    return rng.normal(size=(2, 13, 4)), rng.normal(size=(2, 9, 4)) + 1


def assert_same(found, expected, rtol):
    for name in expected._fields:
        if name in ("permutation", "plan", "n_iters"):
            continue
        np.testing.assert_allclose(
            getattr(found, name), getattr(expected, name), rtol, rtol, err_msg=name
        )


@pytest.mark.parametrize("masks", [{}, MASKS], ids=["all", "masked"])
@pytest.mark.parametrize("block", BLOCKS)
def test_matching_is_that_of_the_whole_plan(tokens, block, masks, x64):
    expected = match(*tokens, matcher=WHOLE, **masks)
    found = match(*tokens, matcher=blocked(WHOLE, block), **masks)
    assert found.plan is None
    assert found.converged.all()
    assert (found.n_iters <= expected.n_iters).all()
    assert_same(found, expected, 1e-7)


@pytest.mark.slow
@pytest.mark.parametrize("dtype", [np.float32, jnp.bfloat16])
def test_matching_in_float32(tokens, dtype):
    tokens = [jnp.asarray(a, dtype) for a in tokens]
    matcher = Sinkhorn(tolerance=1e-6, max_iterations=500)
    expected = match(*tokens, matcher=matcher, **MASKS)
    found = match(*tokens, matcher=blocked(matcher), **MASKS)
    assert found.value.dtype == found.partner.dtype == np.float32
    assert_same(found, expected, 2e-3)


def test_statistics_are_those_of_the_whole_plan(tokens, x64):
    x = tokens[0]
    # Three samples, the first of which meets itself.
    x = np.concatenate([x, x[:1, ::-1]])
    mask = np.concatenate([X_MASK, X_MASK[:1, ::-1]])
    expected = pair_statistics(x, matcher=WHOLE, x_mask=mask)
    found = pair_statistics(x, matcher=blocked(WHOLE), x_mask=mask)
    for ours, theirs in zip(found, expected, strict=True):
        np.testing.assert_allclose(ours, theirs, 1e-7, 1e-9)


def test_sq_dist_of_a_sample_with_itself_in_float32(tokens):
    x = jnp.asarray(tokens[0] + 100, jnp.float32)
    matcher = Sinkhorn(epsilon=1e-3, block=5)
    found = pair_statistics(x, matcher=matcher).sq_dist
    assert np.diag(found).max() < 1e-6


@pytest.mark.parametrize(
    "implicit_diff", [True, pytest.param(False, marks=pytest.mark.slow)]
)
def test_gradients_are_those_of_the_whole_plan(tokens, implicit_diff, x64):
    def loss(x, y, matcher):
        found = match(x, y, matcher=matcher, **MASKS)
        outputs = found.value, found.partner, found.f, found.g, found.reg_ot_cost
        return sum(jnp.sum(jnp.sin(1.3 * output)) for output in outputs)

    gradient = jax.jit(jax.grad(loss, argnums=(0, 1)), static_argnums=2)
    expected = gradient(*tokens, WHOLE)
    matcher = dataclasses.replace(
        blocked(WHOLE), implicit_diff=implicit_diff, max_iterations=300
    )
    for ours, theirs in zip(gradient(*tokens, matcher), expected, strict=True):
        np.testing.assert_allclose(ours, theirs, 1e-6, 1e-7)
    assert not np.asarray(expected[0])[~X_MASK].any()


@pytest.mark.slow
@pytest.mark.parametrize("name", ["value", "partner", "reg_ot_cost"])
def test_derivatives_of_first_and_second_order(rng, name, x64):
    x, y = rng.normal(size=(5, 2)), rng.normal(size=(4, 2))
    matcher = Sinkhorn(epsilon=0.7, tolerance=1e-13, block=2)

    @jax.jit
    def loss(x, y):
        return jnp.sum(getattr(match(x, y, matcher=matcher), name) ** 2)

    check_grads(loss, (x, y), order=2, eps=1e-5, rtol=1e-5, atol=1e-5)


@pytest.mark.slow
def test_rsm_and_its_gradient(tokens, x64):
    def loss(x, y, matcher):
        return jnp.sum(jnp.sin(rsm(x, y, matcher=matcher, kernel=Cosine())))

    gradient = jax.jit(jax.value_and_grad(loss, argnums=(0, 1)), static_argnums=2)
    expected = gradient(*tokens, WHOLE)
    found = gradient(*tokens, blocked(WHOLE))
    for ours, theirs in zip(
        jax.tree.leaves(found), jax.tree.leaves(expected), strict=True
    ):
        np.testing.assert_allclose(ours, theirs, 1e-6, 1e-8)
    eager = rsm(*tokens, matcher=blocked(WHOLE), kernel=Cosine())
    np.testing.assert_allclose(jnp.sum(jnp.sin(eager)), found[0])


def test_jit_and_vmap_are_the_loop(tokens):
    x, y = (jnp.asarray(a, jnp.float32) for a in tokens)
    matcher = Sinkhorn(epsilon=0.5, block=4)

    def value(x, y):
        found = match(x, y, matcher=matcher)
        return found.value, found.partner, found.permutation, found.n_iters

    loop = [value(*pair) for pair in zip(x, y, strict=True)]
    for call in (jax.vmap(value), jax.jit(value)):
        for ours, theirs in zip(call(x, y), zip(*loop, strict=True), strict=True):
            np.testing.assert_allclose(ours, np.stack(theirs), 1e-4, 1e-5)


def test_upper_bound_bounds_the_exact_matching(tokens):
    exact = match(*tokens, matcher=Exact(tolerance=0.0), **MASKS).value
    # Far from converged, too.
    for matcher in (Sinkhorn(block=4), Sinkhorn(max_iterations=1, block=4)):
        assert (match(*tokens, matcher=matcher, **MASKS).upper_bound >= exact).all()


@pytest.mark.slow
def test_rounding_finds_the_matching_of_a_hard_plan(rng):
    x = rng.normal(size=(2, 700, 8))
    y = x[:, rng.permutation(700)] + 1e-3 * rng.normal(size=x.shape)
    matcher = Sinkhorn(epsilon=0.01, relative=True, block=256)
    found = match(x, y, matcher=matcher)
    expected = match(x, y, matcher=Exact()).permutation
    np.testing.assert_array_equal(found.permutation, expected)


def test_rounding_leaves_out_what_is_masked(tokens):
    permutation = match(*tokens, matcher=Sinkhorn(block=4), **MASKS).permutation
    permutation = np.asarray(permutation)
    assert (permutation[~X_MASK] == -1).all()
    for chosen, mask in zip(permutation, Y_MASK, strict=True):
        chosen = chosen[chosen >= 0]
        assert len(set(chosen)) == len(chosen) == mask.sum()
        assert mask[chosen].all()


@pytest.mark.parametrize("shape", [(1, 1), (1, 6), (6, 1)], ids=str)
def test_one_token(rng, shape):
    x, y = (rng.normal(size=(size, 3)) for size in shape)
    expected, found = (
        match(x, y, matcher=matcher) for matcher in (Sinkhorn(), Sinkhorn(block=4))
    )
    assert_same(found, expected, 1e-5)


@pytest.mark.slow
@pytest.mark.parametrize("scale", [0.0, 1.0], ids=["zero", "equal"])
def test_gradient_of_equal_tokens_is_finite(scale):
    x = jnp.full((1, 6, 3), scale)

    def loss(x):
        return jnp.sum(rsm(x, x + 0, matcher=Sinkhorn(block=4), kernel=Cosine()))

    assert np.isfinite(jax.grad(loss)(x)).all()


def arrays_of(jaxpr):
    """The sizes of all arrays that a program makes, in its loops too."""
    for equation in jaxpr.eqns:
        yield from (variable.aval.size for variable in equation.outvars)
        for inner in jaxprs_in_params(equation.params):
            yield from arrays_of(inner)


def test_no_array_is_as_large_as_the_plan_forward_and_backward():
    tokens, channels = 8192, 4
    x = jnp.zeros((1, tokens, channels))

    def loss(x, y):
        return jnp.sum(rsm(x, y, matcher=Sinkhorn(), kernel=Cosine()))

    program = jax.make_jaxpr(jax.value_and_grad(loss, argnums=(0, 1)))(x, x)
    largest = max(arrays_of(program.jaxpr))
    # A block, and the same rows of tokens padded: far from 8192 x 8192.
    assert sinkhorn._BLOCK_ENTRIES <= largest <= tokens**2 / 16


def test_large_plans_are_not_held_unless_small():
    matcher = Sinkhorn()
    assert matcher._rows_at_once(4096, 4096) is None
    assert matcher._rows_at_once(4097, 4096) == 512
    assert Sinkhorn(block=7)._rows_at_once(4096, 4096) == 7


def test_memory_said_to_be_needed_is_linear_in_the_tokens():
    def needed(tokens):
        shape = (1, tokens, 64)
        return pair_bytes(shape, shape, np.dtype("float32"), Rule(Sinkhorn(), None))

    assert needed(16384) < 2**28
    assert needed(65536) < 4.5 * needed(16384)


@pytest.mark.parametrize("block", [0, -3])
def test_block_out_of_range(block):
    with pytest.raises(ValueError, match="block"):
        Sinkhorn(block=block)


@pytest.mark.parametrize("block", [2.0, "8", True])
def test_block_of_another_type(block):
    with pytest.raises(TypeError, match="block"):
        Sinkhorn(block=block)
