"""float64 of NumPy, of which JAX keeps half: what a constant costs, if anything."""

import warnings

import numpy as np
import pytest
import shell
from marks import long

import semrsm_jax as sj
from semrsm_jax._rows import Rows
from semrsm_jax.comparison import score_interval


@pytest.fixture
def x(rng):
    return rng.normal(size=(12, 3, 4))


@pytest.mark.slow
@pytest.mark.parametrize("offset", [1e6, long(-1e9)])
def test_a_constant_costs_no_digit_where_nothing_depends_on_it(x, no_x64, offset):
    centered = sj.center(x)
    for axis in ("channel", "position"):
        np.testing.assert_allclose(
            sj.center(x + offset, axis), sj.center(x, axis), atol=2e-6
        )
    mean = x.mean((0, 1))
    np.testing.assert_allclose(
        sj.center(x + offset, mean=mean + offset), centered, atol=2e-6
    )
    np.testing.assert_allclose(
        sj.center(np.int64(x * 100) + 10**12).mean(), 0, atol=1e-4
    )
    whole = np.int32(x * 100)
    np.testing.assert_allclose(sj.center(whole + 2**30), sj.center(whole), atol=1e-4)
    a, b = x[:, 0, 0], x[:, 0, 1]
    tests = [sj.paired_test(a + c, b + c, key=0, resamples=99) for c in (0, offset)]
    np.testing.assert_allclose(tests[1].p_value, tests[0].p_value)
    np.testing.assert_allclose(tests[1].difference, tests[0].difference, rtol=1e-4)
    K, L = (y @ y.T for y in (x[:, 0], x[:, 1]))
    for statistic in (sj.CKA(), sj.RSA("pearson")):
        test, shifted = (
            sj.permutation_test(
                np.stack([K, K + c]), L - c, statistic, key=0, resamples=9
            )
            for c in (0, offset)
        )
        np.testing.assert_allclose(shifted.null, test.null, atol=1e-5)
    estimate = sj.bootstrap_interval(K + offset, L, key=0, resamples=9).estimate
    np.testing.assert_allclose(estimate, sj.CKA()(K, L), rtol=1e-4)
    ceiling = [sj.noise_ceiling(np.stack([K + c, L])).lower for c in (0, offset)]
    np.testing.assert_allclose(ceiling[1], ceiling[0], atol=1e-5)


@pytest.mark.slow
def test_what_depends_on_a_constant_warns_where_digits_are_lost(x, no_x64, tmp_path):
    def in_the_shell(x):
        np.save(tmp_path / "x.npy", x)
        command = ("rsm", tmp_path / "x.npy", "-o", tmp_path / "k.npz", "--overwrite")
        code, _, err = shell.run(*command, "--matcher", "identity")
        assert code == 0
        if err:
            warnings.warn(err.removeprefix("Warning: "), stacklevel=2)

    def read_of(x):
        return lambda start, stop: x[start:stop]

    calls = (
        in_the_shell,
        lambda x: sj.rsm(x, matcher=sj.Identity()),
        lambda x: sj.match(x[0], x[1], matcher=sj.Identity()),
        lambda x: sj.linear_assignment(x[0]),
        lambda x: sj.to_tokens(x, "NCS"),
        lambda x: sj.invariance_ladder(x[0], x[1], matchers=[sj.Identity()]),
        lambda x: sj.semantic_cka_loss(x, np.float32(x), sj.Identity()),
        lambda x: sj.search(x, x, 1, matcher=sj.Identity()),
        lambda x: sj.search(*[Rows(x.shape, x.dtype, read_of(x))] * 2, 1),
        lambda x: score_interval(x[:, 0, 0], key=0, resamples=9),
    )
    for call in calls:
        words = "varies by .* float32 keeps few digits"
        with pytest.warns(UserWarning, match=words) as records:
            call(x + 1e7)
        assert all(record.filename == __file__ for record in records)
        with warnings.catch_warnings():
            warnings.simplefilter("error")
            for fine in (x, np.full_like(x, 0.1), np.float32(x + 1e7), 0 * x):
                call(fine)
