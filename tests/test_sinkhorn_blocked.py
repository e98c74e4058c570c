"""Plans that are not held: memory linear in the tokens, and the same results."""

import dataclasses

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax.extend.core import jaxprs_in_params
from soft_matchings import FIXED

from semrsm_jax import Cosine, Exact, Sinkhorn, match, pair_statistics, rsm
from semrsm_jax.matching import sinkhorn
from semrsm_jax.pairs.chunk_size import pair_bytes
from semrsm_jax.pairs.executor import Rule

HELD = dataclasses.replace(FIXED, tolerance=1e-10)
BLOCKED = dataclasses.replace(HELD, block=5)
MASK = np.ones((3, 13), bool)
MASK[0, [0, 7]] = False


@pytest.fixture
def x(rng):
    return rng.normal(size=(3, 13, 4))


@pytest.mark.long
def test_statistics_and_their_gradient_are_those_of_the_held_plan(x, x64):
    def loss(x, y, matcher):
        statistics = pair_statistics(x, y, matcher, x_mask=MASK[:2])
        return jnp.sum(jnp.sin(Cosine()(statistics))), statistics

    compiled = jax.jit(jax.grad(loss, (0, 1), has_aux=True), static_argnums=2)
    tokens = x[:2], x[1:, :9] + 1
    (held, expected), (blocked, statistics) = (
        compiled(*tokens, matcher) for matcher in (HELD, BLOCKED)
    )
    for ours, theirs in zip(statistics, expected, strict=True):
        np.testing.assert_allclose(ours, theirs, 1e-7, 1e-9)
    for ours, theirs in zip(blocked, held, strict=True):
        np.testing.assert_allclose(ours, theirs, 1e-6, 1e-8)
    np.testing.assert_allclose(loss(*tokens, BLOCKED)[1].inner, statistics.inner)


@pytest.mark.slow
@pytest.mark.parametrize("dtype", [np.float32, jnp.bfloat16])
def test_matching_in_float32(x, dtype):
    x, y = jnp.asarray(x[:2], dtype), jnp.asarray(x[1:, :9] + 1, dtype)
    matcher = Sinkhorn(tolerance=1e-6, max_iterations=500)
    held, blocked = (
        match(x, y, matcher=m, x_mask=MASK[:2])
        for m in (matcher, dataclasses.replace(matcher, block=5))
    )
    assert blocked.value.dtype == blocked.partner.dtype == np.float32
    for name in ("value", "upper_bound", "partner", "f", "g", "reg_ot_cost"):
        ours, theirs = getattr(blocked, name), getattr(held, name)
        np.testing.assert_allclose(ours, theirs, 2e-3, 2e-3, err_msg=name)


@pytest.mark.slow
def test_sq_dist_of_a_sample_with_itself_in_float32(x):
    matcher = Sinkhorn(epsilon=1e-3, block=5)
    statistics = pair_statistics(jnp.asarray(x + 10, jnp.float32), matcher=matcher)
    assert np.diag(statistics.sq_dist).max() < 1e-6


@pytest.mark.slow
def test_rounding_gives_the_matching_of_a_hard_plan(rng):
    x = rng.normal(size=(2, 700, 8))
    y = x[:, rng.permutation(700)] + 1e-3 * rng.normal(size=x.shape)
    matcher = Sinkhorn(epsilon=0.01, relative=True, block=256)
    rounded, exact = (match(x, y, matcher=m).permutation for m in (matcher, Exact()))
    np.testing.assert_array_equal(rounded, exact)


@pytest.mark.slow
def test_rounding_leaves_masked_tokens_out(x):
    y_mask = np.ones((3, 9), bool)
    y_mask[1, 4:] = False
    matching = match(
        x, x[:, :9] + 1, matcher=Sinkhorn(block=5), x_mask=MASK, y_mask=y_mask
    )
    permutation = np.asarray(matching.permutation)
    assert (permutation[~MASK] == -1).all()
    for chosen, mask in zip(permutation, y_mask, strict=True):
        chosen = chosen[chosen >= 0]
        assert len(set(chosen)) == len(chosen) == mask.sum()
        assert mask[chosen].all()


def array_sizes(jaxpr):
    """The sizes of all arrays that a program makes, in its loops too."""
    for equation in jaxpr.eqns:
        yield from (variable.aval.size for variable in equation.outvars)
        for inner in jaxprs_in_params(equation.params):
            yield from array_sizes(inner)


@pytest.mark.slow
def test_no_array_is_as_large_as_the_plan_forward_and_backward():
    tokens, channels = 8192, 4
    x = jnp.zeros((1, tokens, channels))

    def loss(x, y):
        return jnp.sum(rsm(x, y, matcher=Sinkhorn(), kernel=Cosine()))

    program = jax.make_jaxpr(jax.value_and_grad(loss, argnums=(0, 1)))(x, x)
    largest = max(array_sizes(program.jaxpr))
    # A block, and the same rows of tokens padded: far from 8192 x 8192.
    assert sinkhorn._BLOCK_ENTRIES <= largest <= tokens**2 / 16


def test_large_plans_are_not_held_unless_small():
    matcher = Sinkhorn()
    assert matcher._rows_at_once(4096, 4096) is None
    assert matcher._rows_at_once(4097, 4096) == 512
    assert Sinkhorn(block=7)._rows_at_once(4096, 4096) == 7


def test_workspace_is_linear_in_the_tokens():
    def needed(tokens):
        shape = (1, tokens, 64)
        return pair_bytes(shape, shape, np.dtype("float32"), Rule(Sinkhorn(), None))

    assert needed(16384) < 2**28
    assert needed(65536) < 4.5 * needed(16384)


def gradient_bytes(samples):
    """What forward and backward of an RSM hold beside inputs and outputs."""

    def loss(x):
        K = rsm(x, None, Sinkhorn(max_iterations=50), memory_budget=300_000)
        return jnp.sum(K * K)

    x = jax.ShapeDtypeStruct((samples, 32, 4), jnp.float32)
    compiled = jax.jit(jax.grad(loss)).lower(x).compile()
    return compiled.memory_analysis().temp_size_in_bytes


@pytest.mark.slow
def test_memory_of_a_gradient_is_that_of_a_tile(optimized):
    small, large = gradient_bytes(6), gradient_bytes(18)
    # 21 and 171 pairs: their affinities alone would take 614 kB more.
    pairs = 171 - 21
    # All that a pair leaves behind: its potentials, and some entries of an RSM.
    assert large - small < pairs * 4 * (32 + 64)
