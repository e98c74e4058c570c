import warnings

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from semrsm_jax import affinity, center, to_tokens


@pytest.mark.parametrize(
    ("layout", "axes"),
    [("NHWC", (0, 1, 2, 3)), ("NCHW", (0, 3, 1, 2)), ("NSC", None), ("NCS", None)],
)
def test_layouts_agree(rng, layout, axes):
    z = rng.normal(size=(2, 3, 5, 4)).astype(np.float32)
    expected = z.reshape(2, 15, 4)
    if layout == "NSC":
        given = expected
    elif layout == "NCS":
        given = expected.transpose(0, 2, 1)
    else:
        given = z.transpose(axes)
    np.testing.assert_array_equal(to_tokens(given, layout=layout), expected)
    jitted = jax.jit(lambda a: to_tokens(a, layout=layout))(given)
    np.testing.assert_array_equal(jitted, expected)


@pytest.mark.parametrize(
    ("z", "layout", "error", "words"),
    [
        (np.zeros((2, 3, 4)), "NHWC", ValueError, "layout 'NHWC' needs 4 axes"),
        (np.zeros((2, 3, 4, 5)), "NSC", ValueError, "layout 'NSC' needs 3 axes"),
        (np.zeros((2, 3, 4, 5)), "NHCW", ValueError, "layout must be one of"),
        (np.zeros((0, 3, 4)), "NSC", ValueError, "along N"),
        (np.zeros((2, 0, 4)), "NSC", ValueError, "along S"),
        (np.zeros((2, 3, 0)), "NSC", ValueError, "along C"),
        (np.full((1, 1, 1), np.nan), "NSC", ValueError, "z must be finite"),
        (np.full((1, 1, 1), np.inf), "NSC", ValueError, "z must be finite"),
        (np.full((1, 1, 1), 1e300), "NSC", ValueError, "finite in float32"),
        (np.zeros((1, 1, 1), complex), "NSC", TypeError, "complex128"),
        (np.zeros((1, 1, 1), object), "NSC", TypeError, "object"),
        (np.zeros((1, 1, 1), bool), "NSC", TypeError, "bool"),
        (np.full((1, 1, 1), "a"), "NSC", TypeError, "z must be a real array"),
        ([[1, 2], [3]], "NSC", TypeError, "z must be a real array"),
        (np.zeros((1, 1, 1), np.longdouble), "NSC", TypeError, "z must hold floats of"),
        (np.ma.masked_less(np.eye(3)[None], 1), "NSC", ValueError, "6 masked .* of 9"),
    ],
)
def test_to_tokens_rejects(no_x64, z, layout, error, words):
    with pytest.raises(error, match=words):
        to_tokens(z, layout=layout)


def test_a_masked_array_without_masked_values_is_an_array(rng):
    z = rng.normal(size=(2, 3, 4)).astype(np.float32)
    np.testing.assert_array_equal(to_tokens(np.ma.masked_less(z, -99)), to_tokens(z))


def test_the_default_layout_goes_by_the_axes_and_warns_where_it_looks_wrong(rng):
    def z(shape):
        return rng.normal(size=shape).astype(np.float32)

    array = z((2, 3, 4, 5))
    np.testing.assert_array_equal(to_tokens(array), to_tokens(array, "NHWC"))
    np.testing.assert_array_equal(to_tokens(array[0]), to_tokens(array[0], "NSC"))
    looks = z((2, 8, 4, 4))
    with pytest.warns(UserWarning, match="of 4 channels; if it is .*layout NCHW"):
        to_tokens(looks)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        for fine in (array, z((2, 4, 4, 4)), z((2, 4, 4, 8))):
            to_tokens(fine)
        to_tokens(looks, "NHWC")
    with pytest.raises(ValueError, match=r"z must have 3 axes .*shape \(2, 3\)"):
        to_tokens(array[0, 0, :2, :3])


def test_integers_become_floats_and_half_precision_stays():
    tokens = to_tokens(np.ones((1, 2, 3), np.uint8), "NSC")
    assert tokens.dtype == jnp.result_type(float)
    assert to_tokens(jnp.ones((1, 2, 3), jnp.bfloat16), "NSC").dtype == jnp.bfloat16


@pytest.mark.parametrize(("axis", "over"), [("channel", (0, 1)), ("position", (0,))])
def test_center_subtracts_the_mean(rng, axis, over):
    x = (rng.normal(size=(4, 6, 3)) + 5).astype(np.float32)
    expected = x - x.mean(over, keepdims=True)
    np.testing.assert_allclose(center(x, axis), expected, atol=1e-5)
    given = center(x, axis, mean=x.mean(over))
    np.testing.assert_allclose(given, expected, atol=1e-5)


@pytest.mark.parametrize(("axis", "over"), [("channel", (0, 1)), ("position", (0,))])
@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_center_leaves_masked_tokens_out_of_the_mean(rng, no_x64, axis, over, dtype):
    x = rng.normal(size=(4, 6, 3)).astype(dtype)
    mask = rng.random((4, 6)) > 0.4
    mask[:, 0], mask[:, 1] = True, False  # a position masked in every sample
    x[~mask] *= 1e12
    mean = np.ma.array(x, mask=np.stack([~mask] * 3, -1)).mean(over).filled(0)
    result = np.asarray(center(x, axis, mask=mask))
    assert np.isfinite(result).all()
    np.testing.assert_allclose(result[mask], (x - mean)[mask], atol=1e-6)


def test_center_sums_half_precision_in_float32():
    x = jnp.full((64, 64, 1), 1.0, jnp.bfloat16)
    assert center(x).dtype == jnp.bfloat16
    assert not np.any(np.asarray(center(x), np.float32))


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        ({"axis": "token"}, "axis must be one of"),
        ({"mean": np.zeros(4)}, r"mean must have shape \(3,\)"),
        ({"mean": np.full(3, np.nan)}, "mean must be finite"),
        ({"mask": np.ones((2, 2), bool)}, r"mask must have shape \(2, 5\)"),
        ({"mask": np.zeros((2, 5), bool)}, "at least one token"),
    ],
)
def test_center_rejects(arguments, words):
    with pytest.raises(ValueError, match=words):
        center(np.zeros((2, 5, 3)), **arguments)


def test_affinity_is_the_inner_product_of_all_tokens(rng):
    x = rng.normal(size=(2, 5, 3)).astype(np.float32)
    y = rng.normal(size=(2, 4, 3)).astype(np.float32)
    expected = np.einsum("nsc,ntc->nst", x, y)
    np.testing.assert_allclose(affinity(x, y), expected, atol=1e-6)
    mapped = jax.vmap(affinity)(x, y)
    np.testing.assert_allclose(mapped, expected, atol=1e-6)
    ones = jnp.ones((2, 3), jnp.float32)
    assert affinity(ones.astype(jnp.bfloat16), ones).dtype == jnp.float32


def test_affinity_rejects_channels_that_differ():
    with pytest.raises(ValueError, match="same channels"):
        affinity(np.zeros((2, 3)), np.zeros((2, 4)))
    with pytest.raises(ValueError, match="at least 2 axes"):
        affinity(np.zeros(3), np.zeros((2, 3)))
