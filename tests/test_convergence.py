"""Soft matchings that did not converge are warned of, and stated with the numbers."""

import warnings

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import shell

import semrsm_jax as sj
from semrsm_jax.engine import run
from semrsm_jax.store import load_rsm, save_rsm

UNFINISHED = sj.Sinkhorn(epsilon=1e-3, max_iterations=10, anneal=0)


@pytest.fixture
def x(rng):
    return rng.normal(size=(4, 3, 2)).astype("f")


@pytest.mark.slow
def test_one_warning_states_the_matchings_that_did_not_converge(x, tmp_path):
    for call, count in (
        (lambda: sj.pair_statistics(x, matcher=UNFINISHED, memory_budget=1), 10),
        (lambda: sj.pair_statistics(x, x[:2], sj.StraightThrough(UNFINISHED)), 8),
        (lambda: sj.rsm(x, matcher=UNFINISHED), 10),
        (lambda: run(x, store=tmp_path / "run", matcher=UNFINISHED, tile=2), 10),
        # The tiles are stored now, and what did not converge with them.
        (lambda: run(x, store=tmp_path / "run", matcher=UNFINISHED, tile=2), 10),
        (lambda: sj.semantic_cka_loss(x, x[:, :2], UNFINISHED), 20),
        (lambda: sj.semantic_triplet_loss(x, x[::-1], x[[1, 0, 3, 2]], UNFINISHED), 8),
        (lambda: sj.search(x[:3], x, 2, matcher=UNFINISHED), 12),
        (lambda: sj.search(x[:3], x, 2, matcher=UNFINISHED, kernel=sj.RBF()), 12),
    ):
        with pytest.warns(RuntimeWarning, match="did not converge") as record:
            call()
        (warning,) = record
        message = str(warning.message)
        assert f"of {count} pairs" in message and "of its mass" in message
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        sj.pair_statistics(x, matcher=sj.Sinkhorn(epsilon=10.0))
        sj.pair_statistics(x, matcher=sj.StraightThrough(sj.Exact(), UNFINISHED))


@pytest.mark.slow
def test_what_rounding_leaves_is_not_called_converged(x):
    with pytest.warns(RuntimeWarning, match="did not converge"):
        matching = sj.match(x[0], x[1], matcher=sj.Sinkhorn(tolerance=1e-12))
    assert float(matching.column_error) < 1e-5
    assert not matching.converged


@pytest.mark.slow
def test_small_epsilons_converge():
    rng = np.random.default_rng(0)
    grid = np.stack(np.meshgrid(*[np.linspace(0, 1, 14)] * 2), -1).reshape(-1, 2)
    waves, phases = 6 * rng.normal(size=(8, 2, 48)), rng.uniform(0, 7, (8, 1, 48))
    noise = 0.1 * rng.normal(size=(8, 196, 48))
    x = np.maximum(np.cos(grid @ waves + phases) + noise, 0).astype("f")
    exact = sj.match(x[:4], x[4:], matcher=sj.Exact())
    soft = sj.match(x[:4], x[4:], matcher=sj.Sinkhorn(epsilon=1e-3, relative=True))
    assert soft.converged.all()
    assert (soft.value <= exact.upper_bound * (1 + 1e-5)).all()
    np.testing.assert_allclose(soft.value, exact.value, rtol=1e-4)


@pytest.mark.slow
def test_an_epsilon_below_rounding_gives_the_exact_matching(x):
    exact = sj.match(x[0], x[1], matcher=sj.Exact())
    for matcher in (
        sj.Sinkhorn(epsilon=1e-37),
        sj.Sinkhorn(epsilon=1e-300, relative=True),
    ):
        soft = sj.match(x[0], x[1], matcher=matcher)
        np.testing.assert_allclose(soft.value, exact.value, rtol=1e-5)
        assert 0 < soft.epsilon < 1e-4


@pytest.mark.slow
def test_the_warning_gives_the_share_and_the_worst_error(x):
    first, second = np.repeat(x, 4, axis=0), np.concatenate([x] * 4)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        matchings = sj.match(first, second, matcher=UNFINISHED)
    missed = int((~matchings.converged).sum())
    assert missed
    with pytest.warns(RuntimeWarning) as record:
        stats = sj.pair_statistics(x, x, matcher=UNFINISHED)
    error = np.where(matchings.converged, 0, matchings.column_error)
    np.testing.assert_allclose(stats.column_error.ravel(), error, rtol=1e-4)
    message = str(record[0].message)
    assert f"{missed} of 16 pairs did not converge" in message
    assert f", {100 * missed / 16:.3g} % of them" in message
    assert f"by up to {float(matchings.column_error.max()):.2g} of" in message


@pytest.mark.slow
def test_convergence_goes_with_the_numbers(x, tmp_path):
    y = x[:3]
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        stats = sj.pair_statistics(y, x, matcher=UNFINISHED)
        store = run(y, x, store=tmp_path / "a.zarr", matcher=UNFINISHED, tile=2)
        mirrored = run(x, store=tmp_path / "b.zarr", matcher=UNFINISHED, tile=3)
        neighbors = sj.search(y, x, 2, matcher=UNFINISHED)
        traced = jax.jit(lambda y: sj.pair_statistics(y, x, UNFINISHED))(y)
    save_rsm(tmp_path / "rsm.npz", stats.inner, stats)
    file = load_rsm(tmp_path / "rsm.npz")
    assert 0 < stats.converged.sum() < 12
    for each in (traced, store.statistics(0, 3), file.statistics):
        np.testing.assert_array_equal(each.converged, stats.converged)
        np.testing.assert_allclose(each.column_error, stats.column_error, rtol=1e-3)
    missed = int((~stats.converged).sum()), float(stats.column_error.max()), 12
    for each in (store.unconverged(), neighbors.unconverged):
        np.testing.assert_allclose(each, missed, rtol=1e-3)
    assert mirrored.unconverged().of_pairs == 10
    assert store.missing(verify=True) == mirrored.missing(verify=True) == []
    np.save(tmp_path / "x.npy", x)
    soft = ("--matcher", "sinkhorn", "--epsilon", 1e-3, "--max-iterations", 10)
    command = ("rsm", tmp_path / "x.npy", "-o", tmp_path / "c.zarr", *soft)
    code, _, err = shell.run(*command, "--anneal", 0)
    assert code == 0 and err.startswith("Warning: the soft matching of ")
    stated = shell.done("status", tmp_path / "c.zarr", "--verify")
    assert "unconverged" in stated and " of 10 pairs, column sums wrong by " in stated
    hard = sj.pair_statistics(y)
    assert hard.column_error is None and hard.converged.all()


@pytest.mark.slow
def test_convergence_disturbs_no_transformation(x):
    def total(x):
        return sj.rsm(x, matcher=UNFINISHED).sum()

    with warnings.catch_warnings():
        warnings.simplefilter("error")
        value, gradient = jax.jit(jax.value_and_grad(total))(x)
        batch = jax.vmap(total)(jnp.stack([x, x]))
    assert np.isfinite(gradient).all()
    np.testing.assert_allclose(batch, [value, value], rtol=1e-4)
