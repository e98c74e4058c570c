"""Derivatives of soft matching: finite differences, both orders, and edges."""

import dataclasses
from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax.test_util import check_grads
from soft_matchings import FIXED, assert_close, compiled_fields, draw_pair, draw_tokens

from semrsm_jax import RBF, Cosine, Linear, Sinkhorn, rsm

BLOCKED = dataclasses.replace(FIXED, block=3)


def unrolled(matcher):
    # Every cycle is laid out: no more of them than these small problems take.
    return dataclasses.replace(matcher, implicit_diff=False, max_iterations=600)


def fields_of(matcher):
    """The differentiable fields; a plan that is not held is left out."""
    plan = () if matcher.block else ("plan",)
    return ("value", "reg_ot_cost", "partner", "f", "g", *plan)


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
    [BLOCKED, dataclasses.replace(BLOCKED, block=64), unrolled(BLOCKED)],
    ids=["blocks", "one block", "loop"],
)
def test_blocks_give_the_matching_and_gradients_of_the_held_plan(rng, x64, matcher):
    """In a batch: the last block is not full, and pairs have masks of their own."""
    x, y = rng.normal(size=(2, 13, 4)), rng.normal(size=(2, 9, 4)) + 1
    x_mask, y_mask = np.ones((2, 13), bool), np.ones((2, 9), bool)
    x_mask[0, [0, 7]] = y_mask[1, 4:] = False
    names = fields_of(BLOCKED)

    def solve(matcher):
        extra = ("upper_bound", "epsilon", "converged", "n_iters")
        fields = compiled_fields(matcher, names + extra, x_mask, y_mask)

        def total(x, y):
            outputs = fields(x, y)
            smooth = outputs[: len(names)]
            return sum(jnp.sum(jnp.sin(1.3 * z)) for z in smooth), outputs

        gradients, outputs = jax.grad(total, (0, 1), has_aux=True)(x, y)
        return gradients, outputs[:-2], *outputs[-2:]

    gradients, outputs, converged, n_iters = solve(matcher)
    expected_gradients, expected, _, most = solve(FIXED)
    assert converged.all()
    if matcher.implicit_diff:
        assert (n_iters <= most).all()
    for ours, theirs in zip(outputs, expected, strict=True):
        np.testing.assert_allclose(ours, theirs, 1e-7, 1e-7)
    for ours, theirs, mask in zip(
        gradients, expected_gradients, (x_mask, y_mask), strict=True
    ):
        np.testing.assert_allclose(ours, theirs, 1e-6, 1e-7)
        assert not np.asarray(ours)[~mask].any()


@pytest.mark.slow
@pytest.mark.parametrize(
    "matcher", [FIXED, unrolled(FIXED), BLOCKED], ids=["implicit", "loop", "blocks"]
)
def test_second_derivatives(rng, x64, matcher):
    x, y = draw_tokens(rng, 4, 2), draw_tokens(rng, 3, 2)
    matcher = dataclasses.replace(matcher, tolerance=1e-13)
    fields = compiled_fields(matcher, fields_of(matcher))
    check_grads(fields, (x, y), order=2, modes=["rev"], rtol=1e-4, atol=1e-5)


@pytest.mark.slow
def test_second_derivatives_with_masked_tokens_are_those_without_them(rng, x64):
    x, y = draw_tokens(rng, 4, 2), draw_tokens(rng, 5, 2)
    mask = jnp.array([True, True, False, True, True])

    def curvature(y, y_mask):
        value = compiled_fields(FIXED, ("value",), y_mask=y_mask)
        return jax.jvp(jax.grad(lambda y: value(x, y)[0]), (y,), (jnp.ones_like(y),))[1]

    assert_close(curvature(y, mask)[mask], curvature(y[mask], None), 1e-6)


@pytest.mark.slow
@pytest.mark.parametrize("kernel", [Linear(), Cosine(), RBF(2.0), RBF()], ids=str)
def test_derivatives_of_an_rsm(rng, x64, kernel):
    x, y = draw_tokens(rng, 2, 4, 3), draw_tokens(rng, 2, 5, 3)
    similarity = partial(rsm, matcher=FIXED, kernel=kernel)
    check_grads(similarity, (x, y), order=1, modes=["rev"], rtol=1e-4)


@pytest.mark.slow
def test_implicit_and_unrolled_gradients_agree(rng, x64):
    x, y, x_mask, y_mask = draw_pair(rng, "masked")
    implicit = Sinkhorn(0.3, relative=True, tolerance=1e-10)
    names = ("plan", "value", "reg_ot_cost")
    gradients = []
    for matcher in (implicit, unrolled(implicit)):
        fields, pull = jax.vjp(compiled_fields(matcher, names, x_mask, y_mask), x, y)
        weights = np.random.default_rng(1).normal(size=(3, 8, 7))
        for chosen in range(3):
            cotangents = [
                jnp.asarray(w if z.ndim else 1.0) * (k == chosen)
                for k, (w, z) in enumerate(zip(weights, fields, strict=True))
            ]
            gradients.append(pull(cotangents))
    for ours, theirs in zip(gradients[:3], gradients[3:], strict=True):
        for a, b in zip(ours, theirs, strict=True):
            assert_close(a, b, 1e-4)


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
@pytest.mark.parametrize("epsilon", [None, 1e-4])
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
