"""Losses: their definitions, their gradients, and what happens at their edges."""

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from jax.test_util import check_grads
from marks import slow, with_long

from semrsm_jax import (
    RBF,
    Cosine,
    Exact,
    Identity,
    Linear,
    Sinkhorn,
    cka,
    rsm,
    rsm_alignment_loss,
    semantic_cka_loss,
    semantic_triplet_loss,
)

SOFT = Sinkhorn(epsilon=0.2, relative=True)
# Derivatives take epsilon as given, so that finite differences must not move it.
FIXED = Sinkhorn(epsilon=0.7, tolerance=1e-10)


@pytest.fixture
def x(rng):
    return rng.normal(size=(5, 4, 3))


@pytest.fixture
def y(rng):
    return rng.normal(size=(5, 6, 2))


@pytest.fixture
def target(rng):
    K = rng.normal(size=(5, 5))
    return K + K.T


CURVE = np.cos(np.arange(25.0)).reshape(5, 5)
LOSSES = {
    "cka": lambda x, matcher: semantic_cka_loss(x, jnp.roll(x, 1, 2) ** 2, matcher),
    "unbiased cka": lambda x, matcher: semantic_cka_loss(
        x, jnp.roll(x, 1, 2) ** 2, matcher, Cosine(), estimator="unbiased"
    ),
    "alignment": lambda x, matcher: rsm_alignment_loss(x, CURVE, matcher),
    "triplet": lambda x, matcher: semantic_triplet_loss(
        x, jnp.roll(x, 1, 0), jnp.roll(x, 2, 0) ** 2, matcher, margin=2.0
    ),
}
of_every_loss = pytest.mark.parametrize(
    "loss", with_long(LOSSES.values(), LOSSES["unbiased cka"]), ids=LOSSES
)


@pytest.mark.slow
@pytest.mark.parametrize(
    ("matcher", "estimator"), [(Identity(), "biased"), (SOFT, "unbiased")]
)
def test_cka_loss_is_one_minus_the_cka_of_both_rsms(x, y, matcher, estimator):
    loss = semantic_cka_loss(x, y, matcher, Cosine(), estimator=estimator)
    K, L = (rsm(z, matcher=matcher, kernel=Cosine()) for z in (x, y))
    assert loss.shape == ()
    np.testing.assert_allclose(loss, 1 - cka(K, L, estimator), rtol=1e-5)


@pytest.mark.slow
@pytest.mark.parametrize("matcher", [Exact(), SOFT], ids=["Exact", "Sinkhorn"])
def test_losses_do_not_depend_on_where_tokens_stand(x, y, target, rng, matcher):
    moved = np.stack([z[rng.permutation(4)] for z in x])
    for loss in (
        lambda x: semantic_cka_loss(x, y, matcher),
        lambda x: rsm_alignment_loss(x, target, matcher),
        lambda x: semantic_triplet_loss(x, x[::-1], x[:1].repeat(5, 0), matcher),
    ):
        np.testing.assert_allclose(loss(moved), loss(x), atol=2e-4)
    # What the position-wise baseline is for: it does.
    moving = semantic_cka_loss(moved, y, Identity())
    assert abs(moving - semantic_cka_loss(x, y, Identity())) > 1e-3


def test_alignment_loss_is_pearsons_off_the_diagonal(x, target, no_x64):
    K = np.asarray(rsm(x, matcher=Exact()), np.float64)
    off = ~np.eye(5, dtype=bool)
    expected = 1 - np.corrcoef(K[off], target[off])[0, 1]
    moved = target + 1e9, 1e60 * target, 3 * target + 7 + 1e9 * np.eye(5)
    for other, value in ((-K, 2), *((t, expected) for t in (target, *moved))):
        np.testing.assert_allclose(rsm_alignment_loss(x, other, Exact()), value, 1e-5)


def test_alignment_loss_leaves_out_unknown_entries(x, target):
    known = np.ones((5, 5), bool)
    known[0, 3] = known[3, 0] = False
    hidden = np.where(known, target, np.nan)
    K, off = np.asarray(rsm(x, matcher=Exact())), known & ~np.eye(5, dtype=bool)
    expected = 1 - np.corrcoef(K[off], target[off])[0, 1]

    def evaluate(x):
        return rsm_alignment_loss(x, hidden, Exact(), known=known)

    loss, gradient = jax.jit(jax.value_and_grad(evaluate))(x)
    np.testing.assert_allclose(loss, expected, rtol=1e-5)
    assert np.isfinite(gradient).all()


@pytest.mark.slow
def test_constants_and_masks_may_be_closed_over(rng):
    x, teacher = jnp.asarray(rng.normal(size=(2, 5, 4, 3)), jnp.float32)
    mask = jnp.asarray(rng.random((5, 4)) < 0.7).at[:, 0].set(True)

    def loss(x):
        return semantic_cka_loss(x, teacher, Identity(), y_mask=mask)

    np.testing.assert_allclose(jax.jit(loss)(x), loss(x), rtol=1e-5)
    broken = teacher.at[0, 0, 0].set(jnp.nan)
    with pytest.raises(ValueError, match="y must be finite"):
        jax.jit(lambda x: semantic_cka_loss(x, broken, Identity()))(x)


@pytest.mark.slow
def test_triplet_loss_is_the_hinge_of_cosines(rng):
    sides = rng.normal(size=(3, 4, 5, 3))
    norms = np.linalg.norm(sides, axis=(2, 3), keepdims=True)
    a, p, n = (sides / norms).reshape(3, 4, -1)
    gaps = np.sum(a * n, 1) - np.sum(a * p, 1)
    expected = np.maximum(0.3 + gaps, 0).mean()
    loss = semantic_triplet_loss(*sides, Identity(), margin=0.3)
    np.testing.assert_allclose(loss, expected, rtol=1e-5)
    near, far = (np.diag(rsm(sides[0], z, SOFT, Cosine())) for z in sides[1:])
    loss = semantic_triplet_loss(*sides, SOFT, margin=0.3)
    np.testing.assert_allclose(loss, np.maximum(0.3 + far - near, 0).mean(), rtol=1e-5)
    assert semantic_triplet_loss(a[:, None], a[:, None], -a[:, None], SOFT) == 0


def test_triplets_may_differ_in_tokens_and_be_masked(rng):
    a, p, n = (rng.normal(size=(2, s, 3)) for s in (4, 5, 6))
    kept = np.arange(6) < 4
    options = {"matcher": Exact(), "kernel": Linear(), "margin": 9.0}
    masks = np.tile(kept, (2, 1))
    loss = semantic_triplet_loss(a, p, n, negative_mask=masks, **options)
    cut = semantic_triplet_loss(a, p, n[:, kept], **options)
    np.testing.assert_allclose(loss, cut, rtol=1e-5)


@pytest.mark.parametrize("matcher", [Exact(), slow(SOFT)], ids=["Exact", "Sinkhorn"])
def test_masked_tokens_change_nothing(x, y, target, rng, matcher):
    padded = np.concatenate([x, 7 * rng.normal(size=(5, 2, 3))], axis=1)
    masks = np.tile(np.arange(6) < 4, (5, 1))
    expected = semantic_cka_loss(x, y, matcher)
    for first, second, side in ((padded, y, "x_mask"), (y, padded, "y_mask")):
        loss = semantic_cka_loss(first, second, matcher, **{side: masks})
        np.testing.assert_allclose(loss, expected, rtol=1e-3)
    aligned = rsm_alignment_loss(padded, target, matcher, x_mask=masks)
    expected = rsm_alignment_loss(x, target, matcher)
    np.testing.assert_allclose(aligned, expected, rtol=1e-3)


@pytest.mark.slow
@of_every_loss
@pytest.mark.parametrize("matcher", [Exact(), FIXED], ids=["Exact", "Sinkhorn"])
def test_gradients(loss, matcher, x, x64):
    def evaluate(x):
        return loss(x, matcher)

    # Compiled, as finite differences evaluate it again and again; but the solver on the
    # host runs in a thread of its own, where float64 is not on for this test alone.
    if matcher is FIXED:
        evaluate = jax.jit(evaluate)
    check_grads(evaluate, (jnp.asarray(x),), 1, modes=["rev"], eps=1e-6)


@pytest.mark.slow
@pytest.mark.parametrize("loss", [LOSSES["alignment"], LOSSES["triplet"]])
def test_compiled_and_batched_agree_with_one_by_one(loss, rng):
    xs = jnp.asarray(rng.normal(size=(2, 5, 4, 3)), jnp.float32)
    one_by_one = [loss(x, SOFT) for x in xs]
    first = jax.jit(lambda x: loss(x, SOFT))(xs[0])
    batched = jax.vmap(lambda x: loss(x, SOFT))(xs)
    for values in ([first, batched[1]], batched):
        np.testing.assert_allclose(values, one_by_one, rtol=1e-4, atol=1e-5)


@pytest.mark.slow
@of_every_loss
@pytest.mark.parametrize("matcher", [Identity(), Sinkhorn()], ids=["hard", "soft"])
def test_gradients_are_finite_where_nothing_differs(loss, matcher):
    compiled = jax.jit(jax.value_and_grad(lambda x: loss(x, matcher)))
    for x in (jnp.zeros((5, 4, 3)), jnp.ones((5, 4, 3))):
        value, gradient = compiled(x)
        assert np.isfinite(value) and np.isfinite(gradient).all()


def test_constant_structure_has_loss_one_and_no_gradient(y, target):
    same = jnp.ones((5, 4, 3))
    for loss in (
        lambda x: semantic_cka_loss(x, y, Identity()),
        lambda x: rsm_alignment_loss(x, target, Identity()),
    ):
        value, gradient = jax.jit(jax.value_and_grad(loss))(same)
        assert value == 1 and not gradient.any()


@pytest.mark.slow
def test_a_vanishing_cotangent_gives_a_vanishing_gradient(rng):
    # The unbiased estimate leaves the diagonal a weight of rounding errors alone.
    x = jnp.float32(rng.normal(size=(8, 9, 6)))
    compiled = jax.jit(jax.grad(lambda x, s: s * rsm(x, matcher=SOFT).sum()))
    plain = np.asarray(compiled(x, 1.0))
    for scale in (1e-8, 1e-12, 1e-16, 1e-20):
        gradient = compiled(x, scale)
        atol = 1e-3 * scale * np.abs(plain).max()
        np.testing.assert_allclose(gradient, scale * plain, rtol=1e-3, atol=atol)


@pytest.mark.slow
def test_half_precision_is_summed_in_float32(rng):
    x = jnp.asarray(rng.normal(size=(5, 4, 3)), jnp.bfloat16)
    value, gradient = jax.value_and_grad(lambda x: LOSSES["cka"](x, SOFT))(x)
    assert value.dtype == jnp.float32 and gradient.dtype == jnp.bfloat16
    wide = LOSSES["cka"](x.astype(jnp.float32), SOFT)
    np.testing.assert_allclose(value, wide, rtol=2e-2, atol=1e-3)


@pytest.mark.slow
def test_optax_brings_a_student_to_its_teacher(rng):
    shapes = (8, 5, 4), (8, 5, 10), (10, 4)
    teacher, images, weights = (jnp.float32(rng.normal(size=s)) for s in shapes)
    optimizer = optax.adam(0.05)

    @jax.jit
    def step(weights, state):
        loss, gradient = jax.value_and_grad(
            lambda w: semantic_cka_loss(images @ w, teacher, SOFT)
        )(weights)
        updates, state = optimizer.update(gradient, state)
        return optax.apply_updates(weights, updates), state, loss

    state, losses = optimizer.init(weights), []
    for _ in range(30):
        weights, state, loss = step(weights, state)
        losses.append(float(loss))
    assert losses[-1] < 0.7 * losses[0]


EYE = np.eye(5)
CKA_LOSS = semantic_cka_loss
ALIGNMENT, TRIPLET = rsm_alignment_loss, semantic_triplet_loss


@pytest.mark.parametrize(
    ("call", "error", "message"),
    [
        (lambda x: CKA_LOSS(x, x[:3]), ValueError, "same samples, got 5 and 3"),
        (lambda x: CKA_LOSS(x, x[0]), ValueError, "y must have 3 axes"),
        (lambda x: CKA_LOSS(x * np.nan, x), ValueError, "x must be finite"),
        (lambda x: CKA_LOSS(x, x, Exact), TypeError, "matcher must be"),
        (lambda x: CKA_LOSS(x, x, estimator="b"), ValueError, "estimator"),
        (lambda x: ALIGNMENT(x[:2], np.eye(2)), ValueError, "at least 3"),
        (lambda x: ALIGNMENT(x, np.eye(4)), ValueError, r"\(5, 5\).*\(4, 4\)"),
        (lambda x: ALIGNMENT(x, EYE * np.nan), ValueError, "target must be finite"),
        (lambda x: ALIGNMENT(x, EYE, known=EYE), TypeError, "known must be boolean"),
        (lambda x: ALIGNMENT(x, EYE, known=EYE[1:] > 0), ValueError, "known must have"),
        (lambda x: TRIPLET(x, x[:2], x), ValueError, "as many samples"),
        (
            lambda x: TRIPLET(x, x, x, margin=-1.0),
            ValueError,
            "margin must be a finite number",
        ),
        (lambda x: TRIPLET(x, x, x, kernel=RBF()), ValueError, r"RBF\(band.*got None"),
    ],
)
def test_bad_arguments_are_named(call, error, message, x):
    with pytest.raises(error, match=message):
        call(x)


def test_triplets_take_an_rbf_of_given_bandwidth(rng):
    sides = rng.normal(size=(3, 2, 4, 3))
    loss = semantic_triplet_loss(*sides, Identity(), RBF(2.0), margin=1.0)
    near, far = np.exp(-np.sum((sides[0] - sides[1:]) ** 2, (2, 3)) / 8)
    np.testing.assert_allclose(loss, np.mean(1 + far - near), rtol=1e-5)
