"""Numbers that the dtype cannot hold."""

import warnings
from functools import partial

import jax
import jax.numpy as jnp
import ml_dtypes
import numpy as np
import pytest
from marks import slow

import semrsm_jax as sj
from semrsm_jax._representations import sq_norm_range
from semrsm_jax._rows import Rows
from semrsm_jax.engine import run


@pytest.fixture
def x(rng):
    return rng.normal(size=(4, 3, 2)).astype("f")


@pytest.mark.parametrize("scale", [1e19, 3e18, 1e-20])
def test_features_out_of_range_are_rejected(x, scale, tmp_path):
    large = x.copy()
    large[2] *= np.float32(scale)
    rows = Rows(large.shape, large.dtype, lambda start, stop: large[start:stop])
    for name, call in (
        ("x", lambda: sj.rsm(large)),
        ("x", lambda: sj.rsm(large, kernel=sj.RBF(2.0))),
        (
            "x",
            lambda: sj.rsm(large, matcher=sj.Sinkhorn(epsilon=1.0), kernel=sj.Cosine()),
        ),
        ("x", lambda: sj.pair_statistics(jnp.asarray(large), matcher=sj.Identity())),
        ("y", lambda: sj.pair_statistics(x, rows)),
        ("y", lambda: jax.jit(lambda x: sj.pair_statistics(x, large).inner)(x)),
        ("x, samples 0 to 3,", lambda: run(large, store=tmp_path / "run")),
        ("y_j", lambda: sj.match(x, large, matcher=sj.Exact())),
        ("x_i", lambda: sj.affinity(large, x)),
        ("x_i", lambda: sj.CircularShift((1, 3)).shift(large, x)),
        ("y", lambda: sj.semantic_cka_loss(x, large)),
        ("negative", lambda: sj.semantic_triplet_loss(x, x, large)),
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
    expected = sj.rsm(x, kernel=sj.Cosine())
    least, largest = np.sqrt(sq_norm_range("float32"))
    norms = np.sqrt((x**2).sum((1, 2)))
    for scale in (1.01 * least / norms.min(), 0.99 * largest / norms.max()):
        scaled = sj.rsm(x * np.float32(scale), kernel=sj.Cosine())
        np.testing.assert_allclose(scaled, expected, rtol=1e-5, atol=1e-6)


def test_zero_and_masked_tokens_are_in_range(x):
    mask = np.ones(x.shape[:2], bool)
    mask[1, 2] = False
    other = x.copy()
    other[1, 2] = 1e30
    expected = sj.rsm(x, x_mask=mask)
    np.testing.assert_array_equal(sj.rsm(other, x_mask=mask), expected)
    assert not sj.rsm(np.zeros_like(x)).any()


@pytest.mark.slow
def test_float64_holds_what_float32_does_not(x, x64):
    x = x.astype(np.float64)
    expected = sj.rsm(x, kernel=sj.Cosine())
    for scale in (1e-20, 1e19, 1e25):
        scaled = sj.rsm(x * scale, kernel=sj.Cosine())
        np.testing.assert_allclose(scaled, expected, rtol=1e-12)
    with pytest.raises(ValueError, match=r"float64 holds.*Cosine\(\)$"):
        sj.rsm(x * 1e160)


@pytest.mark.parametrize(
    ("matcher", "kernel"),
    [
        slow(sj.Exact(), sj.Cosine()),
        slow(sj.Identity(), sj.RBF()),
        slow(sj.Sinkhorn(), sj.Cosine()),
    ],
    ids=str,
)
def test_powers_of_two_bring_samples_into_range(x, no_x64, matcher, kernel):
    def similarity(x):
        return sj.rsm(x, x[:2], matcher, kernel, x_mask=mask, y_mask=mask[:2])

    mask = np.ones(x.shape[:2], bool)
    mask[0, 1] = False
    # By powers of two, so that nothing but the scale differs.
    scales = [2.0**65, 2.0**-66, 2.0**-120]
    factors = [np.float32(s) for s in scales]
    if kernel == sj.Cosine():
        factors += [np.float32(scales + [1.0])[:, None, None]]
    for factor in factors:
        wide = np.float64(x) * factor
        for scaled in (x * factor, jnp.asarray(x * factor), wide):
            np.testing.assert_array_equal(similarity(scaled), similarity(x))
    if matcher == sj.Identity():
        compiled = jax.jit(similarity)
        np.testing.assert_allclose(compiled(x * factors[-1]), compiled(x), rtol=1e-6)
        x[3] = 0  # a zero sample fits with any other
        for call in (similarity, compiled):
            np.testing.assert_allclose(call(x * factors[-1]), call(x), rtol=1e-6)


@pytest.mark.parametrize("xp", [np, jnp])
def test_constants_out_of_range_are_scaled_under_jit(x, xp):
    def similarity(x, y):
        return sj.rsm(x, y, sj.Identity(), sj.Cosine())

    tiny = x * np.float32(1e-25)
    expected = similarity(x, x)
    for a, b in ((x, tiny), (tiny, x)):
        for call, *traced in (
            (lambda a, b=b: similarity(a, xp.asarray(b)), a),
            (lambda b, a=a: similarity(xp.asarray(a), b), b),
            (lambda a=a, b=b: similarity(xp.asarray(a), xp.asarray(b)),),
        ):
            np.testing.assert_allclose(jax.jit(call)(*traced), expected, rtol=1e-5)


@pytest.mark.slow
def test_the_gradient_goes_through_powers_of_two(x):
    def total(x):
        return sj.rsm(x, matcher=sj.Identity(), kernel=sj.Cosine())[0].sum()

    factor = np.float32(2.0**66)
    expected = jax.grad(total)(x)
    np.testing.assert_allclose(jax.grad(total)(x * factor) * factor, expected, 1e-5)


def test_numbers_without_digits_are_not_0(x, no_x64):
    for tiny in (x * np.float32(1e-40), np.float64(x) * 1e-60):
        with pytest.raises(ValueError, match="x must be 0 or have values of at least"):
            sj.rsm(tiny)
    with pytest.raises(ValueError, match="affinity must be 0 or have"):
        sj.linear_assignment(np.float64(x[0]) * 1e-60)
    one = np.float64(x)
    one[1] *= 1e-60
    with pytest.raises(ValueError, match="got 1 of 4 outside"):
        sj.rsm(one)
    one = x.copy()
    one[1] *= np.float32(1e-40)
    K = jax.jit(lambda x: sj.rsm(x, matcher=sj.Identity()))(one)
    assert np.isnan(K[1]).all() and np.isfinite(K[0, 2])


@pytest.mark.parametrize("matcher", [sj.Identity(), sj.Exact()], ids=str)
def test_a_match_under_jit_gives_nan_out_of_range(x, matcher):
    matched = jax.jit(lambda x, y: sj.match(x, y, matcher=matcher)[1:3])
    for factor in (1e19, 3e18, 1e-20, 1e-40):
        assert np.isnan(matched(x * np.float32(factor), x)).all()
    products = jax.jit(sj.affinity)(x * np.float32(1e-20), x)
    assert np.isnan(products).all()


@pytest.mark.parametrize("solver", ["auction", slow("optax")])
@pytest.mark.parametrize("factor", [1e-40, 1e-36, 1e38])
def test_affinities_that_cannot_be_summed_are_rejected(rng, solver, factor):
    matrices = (factor * rng.uniform(0.5, 1, size=(2, 6, 6))).astype("f")
    for values in (matrices, jnp.asarray(matrices)):
        with pytest.raises(ValueError, match="^affinity must be 0 or have"):
            sj.linear_assignment(values, solver=solver)
    solved = jax.jit(lambda a: sj.linear_assignment(a, solver=solver).value)(matrices)
    assert np.isnan(solved).all()
    assert sj.linear_assignment(0 * matrices, solver=solver).value.tolist() == [0, 0]


READERS = {
    "search": lambda x, K: sj.search(x, x, 1).similarity,
    "cka_matrix": lambda x, K: sj.cka_matrix([K, K]),
    "linear": lambda x, K: sj.linear_cka_matrix([x, x]),
    "outputs": lambda x, K: sj.output_correlation(K, x[:, 0], from_logits=True).pearson,
    "ladder": lambda x, K: sj.invariance_ladder(x[0], x[1]).value,
}


@pytest.mark.parametrize(
    "call",
    [slow(READERS[name]) if name == "ladder" else READERS[name] for name in READERS],
    ids=READERS,
)
def test_any_byte_order_is_read_and_float8_is_named(x, call):
    K = np.float32(x[:, 0] @ x[:, 0].T)
    swapped = call(x.astype(">f4"), K.astype(">f4"))
    np.testing.assert_allclose(swapped, call(x, K), rtol=1e-5)
    with pytest.raises(TypeError, match="must hold floats of at least 16 bits"):
        call(*(each.astype(ml_dtypes.float8_e5m2) for each in (x, K)))


COMPARED = [sj.cka, sj.rsa, sj.MutualKNN(2), partial(sj.rsa, method="pearson")]


@pytest.mark.parametrize("measure", COMPARED, ids=["cka", "rsa", "knn", "pearson"])
@pytest.mark.parametrize("power", [-126, 120])
def test_measures_without_scale_are_right_at_any(rng, measure, power):
    # Whole numbers, of which the smallest float32 lose no digit.
    K, L = rng.integers(1, 99, size=(2, 6, 6)).astype("f") / 32
    K, L = K + K.T, L + L.T
    expected = measure(K, L)
    scaled = np.ldexp(K, power), np.ldexp(L, power)
    for values in (scaled, map(jnp.asarray, scaled), (scaled[0], L)):
        assert float(measure(*values)) == float(expected)
    compiled = float(jax.jit(measure)(*scaled))
    assert np.isnan(compiled) if power < 0 else compiled == pytest.approx(expected)


def test_hsic_and_centering_scale_with_their_arguments_or_say_so(rng, x):
    K, L = rng.normal(size=(2, 6, 6)).astype("f")
    expected = sj.hsic(K, L)
    assert float(sj.hsic(np.ldexp(K, -80), np.ldexp(L, 90))) == np.ldexp(expected, 10)
    assert sj.hsic(np.full((6, 6), 1e-20, "f"), L) == 0
    np.testing.assert_array_equal(
        sj.center(np.ldexp(x, -60)), np.ldexp(np.asarray(sj.center(x)), -60)
    )
    for call, arguments, words in (
        (
            sj.hsic,
            (K * np.float32(1e-20), K * np.float32(1e-20)),
            "an HSIC in the range",
        ),
        (sj.hsic, (K * np.float32(1e-36), L), "K must be 0 or have its largest"),
        (sj.hsic, (K, L * np.float32(1e36)), "L must be 0 or have its largest"),
        (sj.center, (np.ldexp(x, -120),), "x must be 0 or have its largest"),
    ):
        with pytest.raises(ValueError, match=words):
            call(*arguments)
        assert np.isnan(jax.jit(call)(*arguments)).all()


@pytest.mark.parametrize("kernel", [sj.Linear(), sj.RBF(2.0)], ids=str)
@pytest.mark.parametrize("bad", [1e19, 1e-20, np.nan])
def test_under_jit_such_samples_give_nan(x, kernel, bad):
    x[2] *= np.float32(bad)
    K = jax.jit(lambda x: sj.rsm(x, matcher=sj.Identity(), kernel=kernel))(x)
    others = [0, 1, 3]
    assert np.isnan(K[2]).all() and np.isnan(K[:, 2]).all()
    expected = sj.rsm(x[others], matcher=sj.Identity(), kernel=kernel)
    np.testing.assert_allclose(K[np.ix_(others, others)], expected, rtol=1e-5)


def test_rbf_of_float64_statistics_on_the_host_gives_no_warning(x):
    stats = sj.pair_statistics(x)
    on_host = jax.tree.map(partial(np.asarray, dtype=np.float64), stats)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        for kernel in (sj.RBF(2.0), sj.RBF(np.float64(2.0)), sj.RBF()):
            np.testing.assert_allclose(kernel(on_host), kernel(stats), rtol=1e-6)
    assert hash(sj.RBF(jnp.float32(2))) == hash(sj.RBF(2.0))
