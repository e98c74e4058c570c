"""Numbers that the dtype cannot hold, and soft matchings that did not converge."""

import os
import subprocess
import sys
import warnings
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from semrsm_jax import (
    RBF,
    Cosine,
    Exact,
    Identity,
    Linear,
    PairStatistics,
    Sinkhorn,
    StraightThrough,
    affinity,
    linear_assignment,
    match,
    pair_statistics,
    rsm,
    semantic_cka_loss,
    semantic_triplet_loss,
)
from semrsm_jax._representations import sq_norm_range
from semrsm_jax._rows import Rows
from semrsm_jax.engine import run

UNFINISHED = Sinkhorn(epsilon=1e-3, max_iterations=10, anneal=0)


@pytest.fixture
def x(rng):
    return rng.normal(size=(4, 3, 2)).astype("f")


@pytest.mark.parametrize("scale", [1e19, 3e18, 1e-20])
def test_features_out_of_range_are_rejected(x, scale, tmp_path):
    large = x.copy()
    large[2] *= np.float32(scale)
    rows = Rows(large.shape, large.dtype, lambda start, stop: large[start:stop])
    for name, call in (
        ("x", lambda: rsm(large)),
        ("x", lambda: rsm(large, kernel=RBF(2.0))),
        ("x", lambda: rsm(large, matcher=Sinkhorn(epsilon=1.0), kernel=Cosine())),
        ("x", lambda: pair_statistics(jnp.asarray(large), matcher=Identity())),
        ("y", lambda: pair_statistics(x, rows)),
        ("y", lambda: jax.jit(lambda x: pair_statistics(x, large).inner)(x)),
        ("x, samples 0 to 3,", lambda: run(large, store=tmp_path / "run")),
        ("y_j", lambda: match(x, large, matcher=Exact())),
        ("x_i", lambda: affinity(large, x)),
        ("y", lambda: semantic_cka_loss(x, large)),
        ("negative", lambda: semantic_triplet_loss(x, x, large)),
    ):
        with pytest.raises(ValueError) as error:
            call()
        message = str(error.value)
        assert message.startswith(f"{name} must have samples whose squared norm is 0")
        assert "from 9.9e-32 to 4.1e+31" in message and "got 1 of 4 outside" in message
        largest = float(np.abs(large[2]).max())
        assert f"{largest:.2g} in magnitude. Scale the features" in message
        assert "float64 (JAX_ENABLE_X64=1)" in message


def test_at_the_ends_of_the_range_cosine_is_right(x):
    expected = rsm(x, kernel=Cosine())
    least, largest = np.sqrt(sq_norm_range("float32"))
    norms = np.sqrt((x**2).sum((1, 2)))
    for scale in (1.01 * least / norms.min(), 0.99 * largest / norms.max()):
        scaled = rsm(x * np.float32(scale), kernel=Cosine())
        np.testing.assert_allclose(scaled, expected, rtol=1e-5, atol=1e-6)


def test_zero_and_masked_tokens_are_in_range(x):
    mask = np.ones(x.shape[:2], bool)
    mask[1, 2] = False
    other = x.copy()
    other[1, 2] = 1e30
    expected = rsm(x, x_mask=mask)
    np.testing.assert_array_equal(rsm(other, x_mask=mask), expected)
    assert not rsm(np.zeros_like(x)).any()


def test_float64_holds_what_float32_does_not(x, x64):
    x = x.astype(np.float64)
    expected = rsm(x, kernel=Cosine())
    for scale in (1e-20, 1e19, 1e25):
        scaled = rsm(x * scale, kernel=Cosine())
        np.testing.assert_allclose(scaled, expected, rtol=1e-12)
    with pytest.raises(ValueError, match=r"float64 holds.*Cosine\(\)$"):
        rsm(x * 1e160)


@pytest.mark.parametrize(
    ("matcher", "kernel"),
    [(Exact(), Cosine()), (Identity(), RBF()), (Sinkhorn(), Cosine())],
    ids=str,
)
def test_powers_of_two_bring_samples_into_range(x, matcher, kernel):
    def similarity(x):
        return rsm(x, x[:2], matcher, kernel, x_mask=mask, y_mask=mask[:2])

    mask = np.ones(x.shape[:2], bool)
    mask[0, 1] = False
    # By powers of two, so that nothing but the scale differs.
    scales = [2.0**65, 2.0**-66, 2.0**-120]
    factors = [np.float32(s) for s in scales]
    if kernel == Cosine():
        factors += [np.float32(scales + [1.0])[:, None, None]]
    for factor in factors:
        wide = np.float64(x) * factor
        for scaled in (x * factor, jnp.asarray(x * factor), wide):
            np.testing.assert_array_equal(similarity(scaled), similarity(x))
    if matcher == Identity():
        compiled = jax.jit(similarity)
        np.testing.assert_allclose(compiled(x * factors[-1]), compiled(x), rtol=1e-6)


def test_the_gradient_goes_through_powers_of_two(x):
    def total(x):
        return rsm(x, matcher=Identity(), kernel=Cosine())[0].sum()

    factor = np.float32(2.0**66)
    expected = jax.grad(total)(x)
    np.testing.assert_allclose(jax.grad(total)(x * factor) * factor, expected, 1e-5)


def test_numbers_without_digits_are_not_0(x):
    for tiny in (x * np.float32(1e-40), np.float64(x) * 1e-60):
        with pytest.raises(ValueError, match="x must be 0 or have values of at least"):
            rsm(tiny)
    one = np.float64(x)
    one[1] *= 1e-60
    with pytest.raises(ValueError, match="got 1 of 4 outside"):
        rsm(one)
    one = x.copy()
    one[1] *= np.float32(1e-40)
    K = jax.jit(lambda x: rsm(x, matcher=Identity()))(one)
    assert np.isnan(K[1]).all() and np.isfinite(K[0, 2])


@pytest.mark.parametrize("matcher", [Identity(), Exact()], ids=str)
def test_a_match_under_jit_gives_nan_out_of_range(x, matcher):
    matched = jax.jit(lambda x, y: match(x, y, matcher=matcher)[1:3])
    for factor in (1e19, 3e18, 1e-20, 1e-40):
        assert np.isnan(matched(x * np.float32(factor), x)).all()
    products = jax.jit(affinity)(x * np.float32(1e-20), x)
    assert np.isnan(products).all()


@pytest.mark.parametrize("solver", ["auction", "optax"])
@pytest.mark.parametrize("factor", [1e-40, 1e-36, 1e38])
def test_affinities_that_cannot_be_summed_are_rejected(rng, solver, factor):
    matrices = (factor * rng.uniform(0.5, 1, size=(2, 6, 6))).astype("f")
    for values in (matrices, jnp.asarray(matrices)):
        with pytest.raises(ValueError, match="^affinity must be 0 or have"):
            linear_assignment(values, solver=solver)
    solved = jax.jit(lambda a: linear_assignment(a, solver=solver).value)(matrices)
    assert np.isnan(solved).all()
    assert linear_assignment(0 * matrices, solver=solver).value.tolist() == [0, 0]


@pytest.mark.parametrize("kernel", [Linear(), RBF(2.0)], ids=str)
@pytest.mark.parametrize("bad", [1e19, 1e-20, np.nan])
def test_under_jit_such_samples_give_nan(x, kernel, bad):
    x[2] *= np.float32(bad)
    K = jax.jit(lambda x: rsm(x, matcher=Identity(), kernel=kernel))(x)
    others = [0, 1, 3]
    assert np.isnan(K[2]).all() and np.isnan(K[:, 2]).all()
    expected = rsm(x[others], matcher=Identity(), kernel=kernel)
    np.testing.assert_allclose(K[np.ix_(others, others)], expected, rtol=1e-5)


@pytest.mark.slow
def test_one_warning_states_the_matchings_that_did_not_converge(x, tmp_path):
    for call, count in (
        (lambda: pair_statistics(x, matcher=UNFINISHED, memory_budget=1), 10),
        (lambda: pair_statistics(x, x[:2], StraightThrough(UNFINISHED)), 8),
        (lambda: rsm(x, matcher=UNFINISHED), 10),
        (lambda: run(x, store=tmp_path / "run", matcher=UNFINISHED, tile=2), 10),
    ):
        with pytest.warns(RuntimeWarning, match="did not converge") as record:
            call()
        (warning,) = record
        message = str(warning.message)
        assert f"of {count} pairs" in message and "of its mass" in message
    # The tiles are stored now: nothing is matched, and nothing is warned of.
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        run(x, store=tmp_path / "run", matcher=UNFINISHED, tile=2)
        pair_statistics(x, matcher=Sinkhorn(epsilon=10.0))
        pair_statistics(x, matcher=StraightThrough(Exact(), UNFINISHED))


def test_the_triplet_loss_warns_too(x):
    with pytest.warns(RuntimeWarning, match="of 8 pairs did not converge") as record:
        value = semantic_triplet_loss(x, x[::-1], x[[1, 0, 3, 2]], UNFINISHED)
    assert len(record) == 1
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        near, far = (
            [rsm(x[n : n + 1], y[n : n + 1], UNFINISHED, Cosine()) for n in range(4)]
            for y in (x[::-1], x[[1, 0, 3, 2]])
        )
    hinges = np.maximum(0.1 + np.ravel(far) - np.ravel(near), 0)
    np.testing.assert_allclose(value, hinges.mean(), rtol=1e-5)


def test_what_rounding_leaves_is_not_called_converged(x):
    with pytest.warns(RuntimeWarning, match="did not converge"):
        matching = match(x[0], x[1], matcher=Sinkhorn(tolerance=1e-12))
    assert float(matching.column_error) < 1e-5
    assert not matching.converged


@pytest.mark.slow
def test_small_epsilons_converge():
    rng = np.random.default_rng(0)
    grid = np.stack(np.meshgrid(*[np.linspace(0, 1, 14)] * 2), -1).reshape(-1, 2)
    waves, phases = 6 * rng.normal(size=(8, 2, 48)), rng.uniform(0, 7, (8, 1, 48))
    noise = 0.1 * rng.normal(size=(8, 196, 48))
    x = np.maximum(np.cos(grid @ waves + phases) + noise, 0).astype("f")
    exact = match(x[:4], x[4:], matcher=Exact())
    soft = match(x[:4], x[4:], matcher=Sinkhorn(epsilon=1e-3, relative=True))
    assert soft.converged.all()
    assert (soft.value <= exact.upper_bound * (1 + 1e-5)).all()
    np.testing.assert_allclose(soft.value, exact.value, rtol=1e-4)


def test_an_epsilon_below_rounding_gives_the_exact_matching(x):
    exact = match(x[0], x[1], matcher=Exact())
    for matcher in (Sinkhorn(epsilon=1e-37), Sinkhorn(epsilon=1e-300, relative=True)):
        soft = match(x[0], x[1], matcher=matcher)
        np.testing.assert_allclose(soft.value, exact.value, rtol=1e-5)
        assert 0 < soft.epsilon < 1e-4


def test_the_warning_gives_the_share_and_the_worst_error(x):
    first, second = np.repeat(x, 4, axis=0), np.concatenate([x] * 4)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        matchings = match(first, second, matcher=UNFINISHED)
    missed = int((~matchings.converged).sum())
    assert missed
    with pytest.warns(RuntimeWarning) as record:
        pair_statistics(x, x, matcher=UNFINISHED)
    message = str(record[0].message)
    assert f"{missed} of 16 pairs did not converge" in message
    assert f", {100 * missed / 16:.3g} % of them" in message
    assert f"by up to {float(matchings.column_error.max()):.2g} of" in message


@pytest.mark.slow
def test_convergence_disturbs_no_transformation(x):
    def total(x):
        return rsm(x, matcher=UNFINISHED).sum()

    with warnings.catch_warnings():
        warnings.simplefilter("error")
        value, gradient = jax.jit(jax.value_and_grad(total))(x)
        batch = jax.vmap(total)(jnp.stack([x, x]))
    assert np.isfinite(gradient).all()
    np.testing.assert_allclose(batch, [value, value], rtol=1e-4)


@pytest.mark.parametrize(
    ("bandwidth", "error"),
    [("mean", ValueError), ((1, 2), TypeError), (True, TypeError), (-1, ValueError)],
)
def test_a_bad_bandwidth_is_named(bandwidth, error):
    with pytest.raises(error, match="bandwidth must be a finite number above 0, None"):
        RBF(bandwidth)


def test_rbf_of_float64_statistics_on_the_host_gives_no_warning(x):
    stats = pair_statistics(x)
    on_host = PairStatistics(*(np.asarray(values, np.float64) for values in stats))
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        for kernel in (RBF(2.0), RBF(np.float64(2.0)), RBF()):
            np.testing.assert_allclose(kernel(on_host), kernel(stats), rtol=1e-6)
    assert hash(RBF(jnp.float32(2))) == hash(RBF(2.0))


@pytest.mark.slow
def test_kernels_and_rsa_are_right_with_x64_on():
    files = [str(Path(__file__).with_name(f"test_{n}.py")) for n in ("kernels", "rsa")]
    command = [sys.executable, "-m", "pytest", "-q", "-n", "0", *files]
    settings = os.environ | {"JAX_ENABLE_X64": "1"}
    done = subprocess.run(command, env=settings, capture_output=True, text=True)
    assert done.returncode == 0, done.stdout[-2000:]
