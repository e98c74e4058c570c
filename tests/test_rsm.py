import itertools
import subprocess
import sys

import chex
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from assignment_checks import best_value
from jax.test_util import check_grads
from marks import long, slow

from semrsm_jax import (
    RBF,
    BatchOptimal,
    Cosine,
    DualBound,
    Exact,
    Greedy,
    Identity,
    Linear,
    TopKGreedy,
    invariance_ladder,
    match,
    pair_statistics,
    rsm,
)

MATCHERS = [Identity(), Exact(), BatchOptimal(4), Greedy(), TopKGreedy(3)]
KERNELS = [Linear(), Cosine(), RBF()]


def features(rng, *shape):
    return np.maximum(rng.normal(size=shape), 0).astype(np.float32)


@pytest.mark.parametrize(
    ("solver", "tokens"),
    [
        ("scipy", 15),
        *(slow(solver, 100) for solver in ("auction", "ortools")),
        *(slow(solver, 15) for solver in ("optax", "device")),
    ],
)
def test_float64_rsm_is_scipys_optimum_to_twelve_digits(rng, x64, solver, tokens):
    for scale in (1e-4, 1e4):
        x, y = rng.normal(size=(2, 3, tokens, 5)) * scale
        K = rsm(x, y, Exact(tolerance=0.0, solver=solver))
        expected = [[best_value(a, b) for b in y] for a in x]
        np.testing.assert_allclose(K, expected, rtol=1e-12)


@pytest.mark.parametrize("kernel", KERNELS)
def test_exact_rsm_is_invariant_where_it_should_be(rng, kernel):
    x = rng.normal(size=(5, 16, 6)).astype(np.float32)
    shuffled = np.stack([rng.permutation(sample) for sample in x])
    turn, _ = np.linalg.qr(rng.normal(size=(6, 6)))
    turned = (x @ turn).astype(np.float32)
    semantic = rsm(x, kernel=kernel)
    np.testing.assert_allclose(rsm(shuffled, kernel=kernel), semantic, rtol=1e-5)
    np.testing.assert_allclose(rsm(turned, kernel=kernel), semantic, rtol=1e-5)
    spatial = rsm(x, matcher=Identity(), kernel=kernel)
    moved = rsm(shuffled, matcher=Identity(), kernel=kernel)
    assert np.abs(spatial - moved).max() > 0.05 * np.abs(spatial).max()


SHAPES = [None, (3, 9, 3), (3, 12, 3)]  # of y


@pytest.mark.parametrize(
    ("matcher", "shape", "masked"),
    [
        *itertools.product([Exact()], SHAPES, [False, True]),
        (Identity(), SHAPES[1], True),
        *(slow(m, s, False) for m in MATCHERS if m != Exact() for s in SHAPES[:2]),
        *(slow(m, SHAPES[1], True) for m in MATCHERS if m not in (Exact(), Identity())),
    ],
    ids=str,
)
def test_statistics_are_those_of_match(rng, matcher, shape, masked):
    x = features(rng, 4, 9, 3)
    y = x if shape is None else features(rng, *shape)
    kept, masks = [np.ones(z.shape[:2], bool) for z in (x, y)], (None, None)
    if masked:
        masks = kept = [rng.random(z.shape[:2]) < 0.7 for z in (x, y)]
        for mask in masks:
            mask[:, 0] = True
            mask[1, 1:] = False  # one token
    if y is x:
        kept[1] = kept[0]
        stats = pair_statistics(x, None, matcher, x_mask=masks[0])
        np.testing.assert_allclose(np.diag(stats.inner), stats.x_sq_norm, rtol=1e-6)
        if matcher.symmetric:
            np.testing.assert_array_equal(stats.inner, stats.inner.T)
    else:
        # Equal but for the order: the distance cancels to noise.
        y[2, :9] = x[3, ::-1]
        stats = pair_statistics(x, y, matcher, x_mask=masks[0], y_mask=masks[1])
    for i, j in np.ndindex(stats.inner.shape):
        a, b = x[i][kept[0][i]], y[j][kept[1][j]]
        own = (None, None) if not masked else (masks[0][i], masks[1][j])
        m = match(x[i], y[j], matcher=matcher, x_mask=own[0], y_mask=own[1])
        matched = np.asarray(m.permutation) >= 0
        squares = np.sum((x[i][matched] - y[j][m.permutation[matched]]) ** 2)
        expected = {"inner": m.value, "sq_dist": squares, "upper_bound": m.upper_bound}
        for name, value in expected.items():
            given = getattr(stats, name)[i, j]
            np.testing.assert_allclose(given, value, rtol=1e-5, atol=1e-6)
        np.testing.assert_allclose(stats.x_sq_norm[i], np.sum(a**2), rtol=1e-5)
        if matcher == Exact():
            best = best_value(a, b)
            np.testing.assert_allclose([m.value, m.upper_bound], best, rtol=1e-5)


@pytest.mark.slow
@pytest.mark.parametrize("matcher", MATCHERS, ids=str)
def test_memory_budget_changes_no_number(rng, matcher):
    x, y = features(rng, 4, 9, 3), features(rng, 3, 9, 3)
    for other in (None, y):
        whole = pair_statistics(x, other, matcher)
        for budget in (1, 5000):
            tiled = pair_statistics(x, other, matcher, memory_budget=budget)
            chex.assert_trees_all_close(tiled, whole, rtol=1e-6)


@pytest.mark.slow
@pytest.mark.parametrize("matcher", MATCHERS, ids=str)
def test_jit_and_vmap_equal_eager(rng, matcher):
    x = features(rng, 2, 4, 9, 3)

    def run(x):
        return rsm(x, matcher=matcher, kernel=RBF(), memory_budget=5000)

    eager = np.stack([run(a) for a in x])
    np.testing.assert_allclose(jax.jit(run)(x[0]), eager[0], rtol=1e-5)
    np.testing.assert_allclose(jax.vmap(run)(x), eager, rtol=1e-5)


@pytest.mark.parametrize(
    ("matcher", "kernel"),
    [
        (Exact(solver="scipy"), Cosine()),
        slow(Exact(), Linear()),
        slow(Exact(), RBF()),
        long(Exact(), Cosine()),
        *(slow(Identity(), kernel) for kernel in KERNELS[1:]),
        long(BatchOptimal(4), RBF()),
        long(BatchOptimal(4), Cosine()),
    ],
    ids=str,
)
def test_gradients(rng, x64, matcher, kernel):
    x, y = rng.normal(size=(2, 3, 6, 4))

    def run(x, y):
        return rsm(x, y, matcher, kernel, memory_budget=2000)

    pair = jnp.asarray(x), jnp.asarray(y)
    check_grads(jax.jit(run), pair, 1, modes=["rev"], eps=1e-7)
    check_grads(
        jax.jit(lambda x: rsm(x, matcher=matcher, kernel=kernel)),
        (jnp.asarray(x),),
        1,
        modes=["rev"],
        eps=1e-7,
    )


def test_the_backward_pass_matches_nothing_again(rng):
    x = features(rng, 4, 8, 3)
    jaxpr = str(jax.make_jaxpr(jax.grad(lambda x: rsm(x).sum()))(x))
    assert jaxpr.count("pure_callback[") == 1


@pytest.mark.slow
@pytest.mark.parametrize("matcher", MATCHERS, ids=str)
def test_degenerate_samples_give_finite_values(matcher):
    one, zero = np.ones((1, 4, 2), np.float32), np.zeros((3, 4, 2), np.float32)
    for x in (one, zero, np.ones_like(zero)):
        statistics = pair_statistics(x, matcher=matcher)
        for K in (kernel(statistics) for kernel in KERNELS):
            assert K.shape == (len(x), len(x))
            assert np.isfinite(K).all()
    single = np.ones((2, 1, 1), np.float32)
    if not isinstance(matcher, TopKGreedy):
        np.testing.assert_allclose(rsm(single, matcher=matcher), 1)


@pytest.mark.slow
@pytest.mark.parametrize("matcher", [BatchOptimal(16), Exact(tolerance=0.5)], ids=str)
def test_bound_tightens_an_approximation(rng, matcher):
    x = features(rng, 4, 64, 5)
    plain = pair_statistics(x, matcher=matcher)
    proven = pair_statistics(x, matcher=matcher, bound=DualBound(1))
    exact = pair_statistics(x)
    off = ~np.eye(4, dtype=bool)
    assert (proven.upper_bound < plain.upper_bound)[off].all()
    assert (proven.upper_bound >= exact.inner * (1 - 1e-6)).all()
    np.testing.assert_array_equal(proven.inner, plain.inner)


@pytest.mark.slow
def test_invariance_ladder_climbs(rng):
    x = rng.normal(size=(4, 24, 5)).astype(np.float32)
    ladder = invariance_ladder(x, grid=(4, 6))
    steps = ["Identity", "CircularShift", "BatchOptimal", "Exact"]
    assert [type(m).__name__ for m in ladder.matchers] == steps
    assert ladder.value.shape == ladder.share.shape == (4, 4, 4)
    assert (np.diff(ladder.value, axis=0) >= -1e-4).all()
    np.testing.assert_allclose(ladder.share[-1], 1, rtol=1e-5)
    pair = invariance_ladder(x[0], x[1], grid=(4, 6))
    np.testing.assert_allclose(pair.value, ladder.value[:, 0, 1], rtol=1e-5)
    np.testing.assert_allclose(pair.share, ladder.share[:, 0, 1], rtol=1e-5)
    masks = {"x_mask": np.arange(24) != 2, "y_mask": np.arange(24) < 20}
    matchers = Identity(), BatchOptimal(8)
    masked = invariance_ladder(x[0], x[1], matchers=matchers, **masks)
    assert masked.matchers == matchers
    expected = [match(x[0], x[1], matcher=m, **masks).value for m in matchers]
    np.testing.assert_allclose(masked.value, expected, rtol=1e-6)
    with pytest.raises(ValueError, match="y must be given"):
        invariance_ladder(x[0])


@pytest.mark.slow
@pytest.mark.parametrize(
    ("arguments", "error", "words"),
    [
        ({"x": np.ones((2, 3))}, ValueError, "x must have 3 axes"),
        ({"x": np.ones((0, 3, 2))}, ValueError, "along N"),
        ({"x": np.ones((2, 0, 2))}, ValueError, "along S"),
        ({"x": np.ones((2, 3, 0))}, ValueError, "along C"),
        ({"x": np.full((2, 3, 2), np.nan)}, ValueError, "x must be finite"),
        ({"x": np.ones((2, 3, 2), complex)}, TypeError, "complex"),
        ({"x": np.ones((2, 3, 2), object)}, TypeError, "object"),
        ({"x": np.full((2, 3, 2), "a")}, TypeError, "x must be a real array"),
        ({"y": np.ones((2, 3, 4))}, ValueError, "same channels"),
        ({"y": np.full((2, 3, 2), np.inf)}, ValueError, "y must be finite"),
        ({"y": np.ones((2, 4, 2))}, ValueError, "same number of tokens"),
        ({"y_mask": np.ones((2, 3), bool)}, ValueError, "y_mask was given without y"),
        ({"matcher": TopKGreedy(k=4)}, ValueError, "k must be at most"),
        ({"matcher": Exact}, TypeError, "matcher must be"),
        ({"kernel": RBF}, TypeError, "kernel must be"),
        ({"kernel": "rbf"}, TypeError, "kernel must be"),
        ({"memory_budget": 0}, ValueError, "memory_budget must be at least 1"),
        ({"memory_budget": "1GB"}, TypeError, "memory_budget must be an integer"),
    ],
)
def test_refuses(arguments, error, words):
    given = {"x": np.ones((2, 3, 2)), "matcher": Identity()}
    with pytest.raises(error, match=words):
        rsm(**(given | arguments))


PEAK = """
import resource, sys
import numpy as np
from semrsm_jax import rsm

samples = int(sys.argv[1])
rng = np.random.default_rng(0)
x = np.empty((samples, 256, 64), np.float32)
for sample in x:
    sample[:] = rng.standard_normal(sample.shape)
rsm(x).block_until_ready()
print(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024)
"""


@pytest.mark.slow
@pytest.mark.skipif(sys.platform != "linux", reason="ru_maxrss is in KiB on Linux")
def test_peak_memory_does_not_grow_with_the_number_of_samples(optimized):
    def peak(samples):
        command = [sys.executable, "-c", PEAK, str(samples)]
        return int(subprocess.run(command, check=True, capture_output=True).stdout)

    grown = peak(100) - peak(25)
    inputs = 75 * 256 * 64 * 4
    outputs = 3 * (100**2 - 25**2) * 4
    # Two processes differ by some MiB of their own; all pairs together are 1.2 GiB.
    assert grown <= inputs + outputs + 32 * 2**20
