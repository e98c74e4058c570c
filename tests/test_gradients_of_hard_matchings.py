"""Gradients of hard matchings: straight-through estimates and perturbations."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from marks import long

import semrsm_jax as sj
from semrsm_jax.store.manifest import described

SOFT = sj.Sinkhorn(epsilon=0.2, relative=True)
BOTH = sj.StraightThrough(sj.Exact(), SOFT)
KEY = jax.random.key(0)


@pytest.fixture
def x(rng):
    return rng.normal(size=(4, 6, 3)).astype(np.float32)


# Straight through


@pytest.mark.slow
@pytest.mark.parametrize("mask", [long(None), np.arange(6) != 2], ids=["all", "masked"])
def test_values_are_exact_and_gradients_soft(x, mask):
    def matched(x, y, matcher):
        return sj.match(x, y, matcher=matcher, x_mask=mask)

    slopes = jax.grad(lambda *arguments: matched(*arguments).value, (0, 1))
    both, exact = (matched(x[0], x[1], m) for m in (BOTH, sj.Exact()))
    for a, b in zip(both, exact, strict=True):
        np.testing.assert_array_equal(a, b)
    for call in (slopes, jax.jit(slopes, static_argnums=2)):
        both, soft, hard = (call(*x[:2], m) for m in (BOTH, SOFT, sj.Exact()))
        np.testing.assert_allclose(both, soft, rtol=1e-5, atol=1e-6)
        assert not np.allclose(both, hard, rtol=1e-2)


def test_values_alone_cost_no_second_matching(x):
    class NeverCalled(sj.Identity):
        def statistics(self, *arguments):
            raise AssertionError

    matcher = sj.StraightThrough(sj.Identity(), NeverCalled())
    expected = sj.rsm(x, matcher=sj.Identity())
    np.testing.assert_array_equal(sj.rsm(x, matcher=matcher), expected)


@pytest.mark.slow
def test_rsms_and_losses_take_it(x):
    weights = jnp.arange(16.0).reshape(4, 4)

    def total(x, matcher):
        return jnp.sum(weights * sj.rsm(x, None, matcher, sj.Cosine()))

    np.testing.assert_allclose(total(x, BOTH), total(x, sj.Exact()), rtol=1e-6)
    # The kernel's own derivative is taken at the exact values, so gradients compare
    # where it is linear.
    both, soft = (
        jax.jit(jax.grad(lambda x, m=m: jnp.sum(weights * sj.rsm(x, None, m))))(x)
        for m in (BOTH, SOFT)
    )
    np.testing.assert_allclose(both, soft, rtol=1e-4, atol=1e-4)
    y = x[:, ::-1] ** 2
    loss = sj.semantic_cka_loss(x, y, BOTH)
    np.testing.assert_allclose(loss, sj.semantic_cka_loss(x, y, sj.Exact()), rtol=1e-5)
    assert np.isfinite(jax.grad(sj.semantic_cka_loss)(x, y, BOTH)).all()


@pytest.mark.long
def test_second_derivatives_are_the_soft_ones(x):
    def curvature(matcher):
        def along(t):
            return sj.match(x[0] + t * x[2], x[1], matcher=matcher).value

        return jax.grad(jax.grad(along))(0.0)

    np.testing.assert_allclose(curvature(BOTH), curvature(SOFT), rtol=1e-4)


def test_it_is_what_both_of_its_parts_are(x):
    assert BOTH.symmetric and not BOTH.self_is_identity
    assert not sj.StraightThrough(sj.Greedy(), SOFT).symmetric
    assert sj.StraightThrough(sj.Exact(), sj.Identity()).self_is_identity
    assert sj.StraightThrough(sj.Exact(), SOFT) == BOTH
    with pytest.raises(ValueError, match="same number of tokens"):
        sj.match(x[0], x[1, :4], matcher=sj.StraightThrough(sj.Exact(), sj.Identity()))
    with pytest.raises(TypeError, match="matcher"):
        sj.StraightThrough(sj.Exact)  # pyright: ignore
    other = sj.StraightThrough(sj.Identity(), SOFT)
    assert described(other) != described(sj.StraightThrough(sj.Greedy(), SOFT))
    assert described(BOTH)["backward"]["epsilon"] == 0.2


# Perturbed


# One program for one shape and these options, whichever test runs it.
perturbed = jax.jit(sj.perturbed_permutation, static_argnames=("num_samples", "sigma"))


def test_without_noise_it_is_the_exact_permutation(rng):
    affinity = rng.normal(size=(2, 5, 7))
    mean = perturbed(affinity, KEY, sigma=1e-6, num_samples=4)
    exact = sj.linear_assignment(affinity).permutation
    np.testing.assert_array_equal(mean, jax.nn.one_hot(exact, 7))


@pytest.mark.slow
def test_rows_and_columns_sum_to_one(rng):
    affinity = rng.normal(size=(2, 4, 4)).astype(np.float32)
    mean = np.asarray(perturbed(affinity, KEY, sigma=0.5))
    np.testing.assert_allclose(mean.sum(-1), 1, rtol=1e-6)
    np.testing.assert_allclose(mean.sum(-2), 1, rtol=1e-6)
    assert ((mean > 0) & (mean < 1)).any()
    # Units of the affinity do not matter, nor does compilation.
    scaled = perturbed(1e6 * affinity, KEY, sigma=0.5)
    np.testing.assert_allclose(scaled, mean, atol=1e-6)
    eager = sj.perturbed_permutation(affinity, KEY, sigma=0.5)
    np.testing.assert_allclose(eager, mean, atol=1e-6)
    assert np.isnan(perturbed(affinity * np.nan, KEY, sigma=0.5)).all()


def test_masked_entries_are_never_matched(rng):
    affinity = rng.normal(size=(5, 5)).astype(np.float32)
    row_mask, column_mask = np.arange(5) != 1, np.arange(5) < 4

    def corner(affinity):
        mean = sj.perturbed_permutation(
            affinity, KEY, sigma=1.0, row_mask=row_mask, column_mask=column_mask
        )
        return mean[0, 0], mean

    gradient, mean = map(
        np.asarray, jax.jit(jax.grad(corner, has_aux=True))(jnp.asarray(affinity))
    )
    assert not mean[1].any() and not mean[:, 4].any()
    np.testing.assert_allclose(mean[row_mask].sum(1), 1, rtol=1e-6)
    assert np.isfinite(gradient).all()
    assert not gradient[1].any() and not gradient[:, 4].any()


@pytest.mark.slow
def test_its_gradient_is_that_of_the_mean(rng):
    # Standardized, so that sigma does not move with the entry that is moved.
    affinity = rng.normal(size=(3, 3))
    affinity = jnp.asarray((affinity - affinity.mean()) / affinity.std(), jnp.float32)
    weights = jnp.asarray(rng.normal(size=(3, 3)), jnp.float32)
    sigma, batches, step = 0.5, 16, 0.1
    keys = jax.random.split(KEY, batches)

    def mean(affinity, key, sigma):
        options = {"num_samples": 1000, "sigma": sigma}
        return jnp.sum(weights * sj.perturbed_permutation(affinity, key, **options))

    def over_keys(function, affinity, sigma):
        mapped = jax.vmap(lambda key: function(affinity, key, sigma))
        return jax.jit(mapped)(keys)

    gradients = over_keys(jax.grad(mean), affinity, sigma)[:, 0, 1]
    # The same noise on both sides of the step, given in units of what is moved.
    ends = [
        over_keys(mean, moved, sigma / float(moved.std()))
        for moved in (affinity.at[0, 1].add(by) for by in (step, -step))
    ]
    differences = (ends[0] - ends[1]) / (2 * step)
    error = np.hypot(np.std(gradients), np.std(differences)) / np.sqrt(batches)
    assert error < 0.1
    assert abs(np.mean(gradients) - np.mean(differences)) < 4 * error + 0.02


@pytest.mark.parametrize("affinity", [np.zeros((4, 4)), np.ones((4, 3))])
def test_equal_entries_are_matched_at_random(affinity):
    def total(affinity):
        mean = sj.perturbed_permutation(affinity, KEY, num_samples=400)
        return mean[0, 0], mean

    (_, mean), gradient = jax.jit(jax.value_and_grad(total, has_aux=True))(
        jnp.asarray(affinity, jnp.float32)
    )
    np.testing.assert_allclose(mean, np.full(affinity.shape, 0.25), atol=0.1)
    assert np.isfinite(gradient).all()


@pytest.mark.parametrize(
    ("options", "error", "named"),
    [
        ({"sigma": 0.0}, ValueError, "sigma"),
        ({"sigma": "1"}, TypeError, "sigma must be a number"),
        ({"num_samples": 0}, ValueError, "num_samples"),
        ({"solver": "none"}, ValueError, "solver"),
        ({"row_mask": np.ones(4, bool)}, ValueError, "row_mask"),
        ({"affinity": np.full((3, 3), np.nan)}, ValueError, "affinity"),
    ],
)
def test_options_out_of_range_are_rejected(options, error, named):
    with pytest.raises(error, match=named):
        sj.perturbed_permutation(**({"affinity": np.eye(3), "key": KEY} | options))
