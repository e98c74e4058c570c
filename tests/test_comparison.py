"""HSIC and CKA: formulas, published values, gradients, counts, groups."""

from itertools import permutations

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from hsic_formulas import biased, unbiased
from hypothesis import given, settings
from hypothesis import strategies as st
from jax.test_util import check_grads
from marks import slow

from semrsm_jax import cka, cka_matrix, hsic, linear_cka, rsa
from semrsm_jax.comparison.grouping import SampleGroups

ESTIMATORS = ("biased", "unbiased")


def rsms(rng, n=8, symmetric=True):
    K, L = rng.normal(size=(2, n, n))
    return (K + K.T, L + L.T) if symmetric else (K, L)


def u_statistic(K, L):
    """The mean over all choices of four different samples, one by one."""
    return np.mean(
        [
            K[i, j] * (L[j, i] + L[q, r] - L[q, i] - L[j, r])
            for i, j, q, r in permutations(range(len(K)), 4)
        ]
    )


@pytest.mark.parametrize("symmetric", [True, False])
def test_hsic_is_that_of_the_formula(rng, x64, symmetric):
    K, L = rsms(rng, symmetric=symmetric)
    np.testing.assert_allclose(hsic(K, L), biased(K, L), rtol=1e-11)
    if symmetric:
        np.testing.assert_allclose(hsic(K, L, "unbiased"), unbiased(K, L), rtol=1e-11)
    expected = u_statistic(K, L)
    np.testing.assert_allclose(hsic(K, L, "unbiased"), expected, rtol=1e-10)
    np.testing.assert_allclose(hsic(L, K, "unbiased"), expected, rtol=1e-10)


@pytest.mark.parametrize("estimator", ["biased", "unbiased"])
def test_cka_of_equal_structures_is_one_at_any_scale_and_offset(rng, x64, estimator):
    K, _ = rsms(rng)
    for scale in (1e-150, 1.0, 1e150):
        np.testing.assert_allclose(cka(K, scale * K, estimator), 1, rtol=1e-10)
    np.testing.assert_allclose(cka(K, K + 7, estimator), 1, rtol=1e-10)
    np.testing.assert_allclose(cka(K, -K, estimator), -1, rtol=1e-10)


@pytest.mark.parametrize("estimator", ["biased", "unbiased"])
def test_constant_rsm_has_no_structure(rng, estimator):
    K, _ = rsms(rng)
    constant = np.full((8, 8), 1e7 / 3)
    assert hsic(np.zeros((8, 8)), K, estimator) == 0
    assert cka(constant, K, estimator) == 0
    assert cka(constant, constant, estimator) == 0


def test_one_sample_has_no_structure():
    assert hsic([[3.0]], [[2.0]]) == 0
    assert cka([[3.0]], [[2.0]]) == 0


@settings(max_examples=20)
@given(st.integers(0, 2**31 - 1))
def test_cka_is_symmetric_and_invariant_to_the_order_of_samples(seed):
    rng = np.random.default_rng(seed)
    K, L = rsms(rng)
    order = rng.permutation(8)
    for estimator in ("biased", "unbiased"):
        value = float(cka(K, L, estimator))
        assert np.isclose(value, cka(L, K, estimator), atol=1e-5)
        shuffled = cka(K[order][:, order], L[order][:, order], estimator)
        assert np.isclose(value, shuffled, atol=1e-4)


@pytest.mark.parametrize(
    ("K", "L", "estimator", "words"),
    [
        (np.eye(3), np.eye(4), "biased", "same samples"),
        (np.ones((3, 4)), np.eye(3), "biased", "K must be square"),
        (np.ones(3), np.eye(3), "biased", "K must have 2 axes"),
        (np.eye(3), np.eye(3), "unbiased", "at least 4 samples"),
        (np.eye(3), np.eye(3), "debiased", "estimator must be one of"),
        (np.full((4, 4), np.nan), np.eye(4), "biased", "K must be finite"),
        (np.zeros((0, 0)), np.zeros((0, 0)), "biased", "along N"),
    ],
)
def test_comparison_rejects(K, L, estimator, words):
    for measure in (hsic, cka):
        with pytest.raises(ValueError, match=words):
            measure(K, L, estimator)


@pytest.mark.slow
@pytest.mark.parametrize("estimator", ["biased", "unbiased"])
def test_gradients_jit_and_vmap(rng, x64, estimator):
    K, L = (jnp.asarray(a) for a in rsms(rng, 5))
    for measure in (hsic, cka):
        check_grads(lambda K, L, m=measure: m(K, L, estimator), (K, L), 1)
        value = measure(K, L, estimator)
        together = jax.jit(jax.vmap(lambda K, L, m=measure: m(K, L, estimator)))
        batch = together(jnp.stack([K, L]), jnp.stack([L, L]))
        np.testing.assert_allclose(batch[0], value, rtol=1e-12)


@pytest.mark.slow
def test_one_side_may_be_a_constant_of_a_compiled_function(rng):
    K, L = (np.float32(a) for a in rsms(rng))
    for measure in (hsic, cka, rsa):
        for constant in (L, jnp.asarray(L), L * np.float32(1e-16)):
            expected = measure(K, constant)
            compiled = jax.jit(lambda K, m=measure, c=constant: m(K, c))
            np.testing.assert_allclose(compiled(K), expected, rtol=1e-5)


@pytest.mark.slow
def test_gradients_do_not_depend_on_how_the_compiler_rounds(rng):
    """That of a maximum is 0 / 0 where no entry equals it once more."""
    X = rng.normal(size=(2, 300, 7, 5))
    K, L = (jnp.asarray(x @ x.swapaxes(-1, -2)) for x in X)
    for measure, x, y in ((cka, K, L), (linear_cka, *map(jnp.asarray, X))):
        gradients = jax.vmap(jax.grad(measure))(x, y)
        assert bool(jnp.isfinite(gradients).all())


@pytest.mark.parametrize("symmetric", [True, False])
def test_whole_counts_repeat_samples(rng, x64, symmetric):
    K, L = rsms(rng, symmetric=symmetric)
    counts = rng.integers(0, 4, 8)
    index = np.repeat(np.arange(8), counts)
    repeated = cka(K[index][:, index], L[index][:, index])
    np.testing.assert_allclose(cka(K, L, counts=counts), repeated, rtol=1e-10)
    for estimator in ESTIMATORS:
        np.testing.assert_allclose(
            cka(K, L, estimator, counts=np.ones(8)), cka(K, L, estimator), rtol=1e-10
        )
        kept = [0, 1, 3, 4, 6]
        np.testing.assert_allclose(
            cka(K, L, estimator, counts=np.isin(np.arange(8), kept) * 2.0),
            cka(K[kept][:, kept], L[kept][:, kept], estimator),
            rtol=1e-10,
        )


GROUPS = np.array([0, 0, 1, 2, 2, 3, 4, 4])


@pytest.mark.parametrize("within", [None, slow("keep"), "drop"])
def test_unbiased_counts_weigh_an_additive_fit_of_pairs(rng, x64, within):
    """Pairs of different samples; of one group as often as it counts, or never."""
    K, L = rsms(rng)
    w = rng.integers(0, 3, 8) + 0.5
    groups = None
    pairs = np.outer(w, w)
    if within is not None:
        w = w[GROUPS]
        groups = SampleGroups(GROUPS, within)
        same = np.equal.outer(GROUPS, GROUPS)
        pairs = np.where(same, w if within == "keep" else 0, np.outer(w, w))
    i, j = np.nonzero(pairs * ~np.eye(8, dtype=bool))
    weights = pairs[i, j]
    design = np.zeros((len(i), 8))
    np.add.at(design, (np.arange(len(i)), i), 1)
    np.add.at(design, (np.arange(len(i)), j), 1)
    root = np.sqrt(weights)
    left = []
    for m in (K, L):
        fit = np.linalg.lstsq(design * root[:, None], m[i, j] * root, rcond=None)[0]
        left.append((m[i, j] - design @ fit) * root)
    expected = left[0] @ left[1] / np.linalg.norm(left[0]) / np.linalg.norm(left[1])
    got = cka(K, L, "unbiased", counts=w, groups=groups)
    np.testing.assert_allclose(got, expected, rtol=1e-10)


@pytest.mark.parametrize("symmetric", [True, False])
def test_pairs_within_groups_leave_no_trace(rng, x64, symmetric):
    rsms_ = [*rsms(rng, symmetric=symmetric)]
    same = np.equal.outer(GROUPS, GROUPS)
    changed = [np.where(same, rng.normal(size=(8, 8)), m) for m in rsms_]
    for one in (rsms_, changed):
        got = cka(*one, "unbiased", groups=GROUPS)
        matrix = cka_matrix(one, estimator="unbiased", groups=GROUPS)
        np.testing.assert_allclose(matrix[0, 1], got, rtol=1e-10)
        np.testing.assert_allclose(got, cka(*rsms_, "unbiased", groups=GROUPS))
        # A group of its own for each sample is no group.
        alone = cka(*one, "unbiased", groups=np.arange(8))
        np.testing.assert_allclose(alone, cka(*one, "unbiased"), rtol=1e-10)
    for groups, words in ((GROUPS // 2, "at least 4 for"), (GROUPS[:3], "one entry")):
        with pytest.raises(ValueError, match=words):
            cka(*rsms_, "unbiased", groups=groups)
    for call in (cka, lambda *a, **k: cka_matrix([*a], **k)):
        with pytest.raises(ValueError, match="must be 'unbiased'"):
            call(*rsms_, groups=GROUPS)


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_unbiased_estimates_do_not_depend_on_the_diagonal(rng, no_x64, dtype):
    K, L = (m.astype(dtype) for m in rsms(rng))
    other = K.copy()
    np.fill_diagonal(other, -1e9)
    for measure in (hsic, cka):
        expected = measure(K, L, "unbiased")
        np.testing.assert_allclose(measure(other, L, "unbiased"), expected, rtol=1e-4)
    got = cka_matrix([K, other], [L], "unbiased")
    np.testing.assert_allclose(got, np.full((2, 1), expected), rtol=1e-4)


def test_a_sample_that_is_most_of_all_leaves_no_estimate(rng):
    K, L = rsms(rng)
    assert np.isnan(cka(K, L, "unbiased", counts=[9, 1, 1, 1, 1, 1, 1, 1]))


@pytest.mark.parametrize("estimator", ESTIMATORS)
def test_constants_and_scales_beyond_float32_cost_float64_rsms_no_digits(
    rng, no_x64, estimator
):
    """Without x64 JAX computes in float32; what NumPy holds is centered before."""
    K, L = rsms(rng)
    L = K + L
    expected, expected_hsic = cka(K, L, estimator), hsic(K, L, estimator)
    for offset in (1e8, -1e10):
        np.testing.assert_allclose(cka(K + offset, L, estimator), expected, rtol=1e-4)
        np.testing.assert_allclose(
            hsic(K + offset, L - offset, estimator), expected_hsic, rtol=1e-4
        )
        assert cka(np.full_like(K, offset), L, estimator) == 0
    for scale in (1e-60, 1e60):
        np.testing.assert_allclose(cka(K * scale, L, estimator), expected, rtol=1e-4)
    with pytest.raises(ValueError, match=r"K must be finite in float64, got 1 NaN"):
        cka(np.where(np.arange(64).reshape(8, 8) == 9, np.nan, K), L, estimator)
    with pytest.raises(ValueError, match="K must be finite in float32"):
        hsic(K * 1e60, L, estimator)
    with pytest.raises(ValueError, match="K must be 0 or have values of at least"):
        hsic(K * 1e-60, L, estimator)
