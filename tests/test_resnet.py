"""Residual networks: their arithmetic against NumPy's, statistics and precision."""

import dataclasses
import math

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import nnx
from marks import long, slow
from networks import abstract, pixels, random_network

from semrsm_jax.models import ResNet, ResNetConfig, calibrate_batch_norm, resnet18
from semrsm_jax.models.resnet import ConvNorm

SMALL = ResNetConfig(18, "cifar", 5, width=8, blocks=(1, 2), widths=(8, 16))
IMAGES = pixels((16, 16), 4)


def outputs(model: ResNet, images: jax.Array) -> list[jax.Array]:
    """The output of each stage, then the logits."""
    states = [model.resnet.embedder(images)]
    for stage in model.resnet.encoder.stages:
        states.append(stage(states[-1]))
    return [*states[1:], model(images)]


computed = nnx.jit(outputs)


@pytest.fixture
def small() -> ResNet:
    return random_network(ResNet, SMALL)


@pytest.mark.slow
@pytest.mark.parametrize(
    ("depth", "published"),
    [(18, 11_689_512), long(34, 21_797_672), (50, 25_557_032), long(101, 44_549_160)],
)
def test_parameter_count_is_the_published_one(depth, published):
    parameters = nnx.state(abstract(ResNet, ResNetConfig(depth)), nnx.Param)
    assert sum(math.prod(p.shape) for p in jax.tree.leaves(parameters)) == published


# 97 -> 49 -> 25: torch rounds up at each stride.
@pytest.mark.parametrize(
    ("stem", "size", "sides"),
    [("cifar", 64, (64, 32, 16, 8)), ("imagenet", 97, (25, 13, 7, 4))],
)
@pytest.mark.parametrize(("depth", "expansion"), [(18, 1), slow(50, 4)])
def test_stage_shapes(depth, expansion, stem, size, sides):
    model = abstract(ResNet, ResNetConfig(depth, stem))
    model.eval()
    images = jax.ShapeDtypeStruct((2, size, size, 3), jnp.float32)
    shapes = [output.shape for output in nnx.eval_shape(outputs, model, images)]
    widths = [64 * expansion * 2**k for k in range(4)]
    expected = [(2, s, s, c) for s, c in zip(sides, widths, strict=True)]
    assert shapes == [*expected, (2, 1000)]


def test_convolution_and_normalization_against_numpy(rng):
    layer = ConvNorm(SMALL, (2, 3), 3, 2, nnx.Rngs(0))
    mean, var = rng.normal(size=3), rng.uniform(0.5, 2, size=3)
    scale, bias = rng.normal(size=3), rng.normal(size=3)
    statistics = {"mean": mean, "var": var, "scale": scale, "bias": bias}
    for name, value in statistics.items():
        getattr(layer.normalization, name)[...] = jnp.asarray(value, jnp.float32)
    layer.eval()
    x = rng.normal(size=(1, 6, 5, 2)).astype(np.float32)

    kernel = np.asarray(layer.convolution.kernel[...], np.float64)
    padded = np.pad(x.astype(np.float64), ((0, 0), (1, 1), (1, 1), (0, 0)))
    expected = np.zeros((1, 3, 3, 3))
    for row in range(3):
        for column in range(3):
            # torch's window of output (row, column) starts at twice that, one before.
            window = padded[0, 2 * row : 2 * row + 3, 2 * column : 2 * column + 3]
            expected[0, row, column] = np.einsum("hwc,hwcd->d", window, kernel)
    expected = (expected - mean) / np.sqrt(var + 1e-5) * scale + bias
    np.testing.assert_allclose(layer(x), expected, rtol=1e-5, atol=1e-5)


def test_initial_kernels_have_he_fan_out_variance():
    layer = ConvNorm(SMALL, (64, 128), 3, 1, nnx.Rngs(0))
    assert float(layer.convolution.kernel[...].std()) == pytest.approx(
        math.sqrt(2 / (9 * 128)), rel=0.02
    )


def test_evaluation_does_not_change_the_model(small):
    before = jax.tree.map(np.asarray, nnx.state(small))
    first, second = computed(small, IMAGES)[-1], computed(small, IMAGES)[-1]
    jax.tree.map(np.testing.assert_array_equal, before, nnx.state(small))
    np.testing.assert_array_equal(first, second)
    assert first.shape == (4, 5)
    assert np.isfinite(first).all()


def test_without_head_the_features_are_pooled():
    model = random_network(ResNet, dataclasses.replace(SMALL, num_classes=0))
    *_, last, pooled = computed(model, IMAGES)
    expected = np.asarray(last).mean(axis=(1, 2))
    np.testing.assert_allclose(pooled, expected, rtol=1e-5, atol=1e-5)


def test_calibration_sets_the_statistics_of_the_images(small):
    small.train()
    parameters = jax.tree.map(np.asarray, nnx.state(small, nnx.Param))
    calibrate_batch_norm(small, jnp.asarray(IMAGES))
    jax.tree.map(np.testing.assert_array_equal, parameters, nnx.state(small, nnx.Param))
    stem = small.resnet.embedder.embedder
    convolved, norm = np.asarray(stem.convolution(IMAGES)), stem.normalization
    np.testing.assert_allclose(norm.mean[...], convolved.mean((0, 1, 2)), atol=1e-5)
    np.testing.assert_allclose(norm.var[...], convolved.var((0, 1, 2)), rtol=1e-4)
    # The mode is the one it had, and in evaluation every stage is of order one.
    assert norm.use_running_average is False
    small.eval()
    for features in computed(small, IMAGES)[:-1]:
        assert 0.3 < float(features.std()) < 3


def test_calibration_errors(small):
    with pytest.raises(ValueError, match="BatchNorm"):
        calibrate_batch_norm(nnx.Linear(3, 3, rngs=nnx.Rngs(0)), jnp.asarray(IMAGES))
    with pytest.raises(ValueError, match="images must have 4 axes"):
        calibrate_batch_norm(small, jnp.ones((4, 4, 3)))


@pytest.mark.slow
def test_bfloat16_is_close_to_float32(small):
    half = random_network(ResNet, dataclasses.replace(SMALL, dtype="bfloat16"))
    assert half.resnet.embedder.embedder.convolution.kernel.dtype == jnp.float32
    exact, rounded = computed(small, IMAGES)[0], computed(half, IMAGES)[0]
    assert rounded.dtype == jnp.bfloat16
    error = jnp.linalg.norm(exact - rounded.astype(jnp.float32))
    assert error < 0.02 * jnp.linalg.norm(exact)


def test_resnet18_builds_its_config():
    model = nnx.eval_shape(lambda: resnet18("cifar", 10, rngs=nnx.Rngs(0)))
    assert model.config == ResNetConfig(18, "cifar", 10)
