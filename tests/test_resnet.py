import dataclasses
import math

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import nnx
from jax import lax

from semrsm_jax.models import ResNet, ResNetConfig, calibrate_batch_norm, resnet18
from semrsm_jax.models.resnet import ConvNorm, Embedder

SMALL = ResNetConfig(depth=18, stem="cifar", num_classes=5, width=8)


def abstract(config: ResNetConfig) -> ResNet:
    """A network of shapes only; nothing is computed."""
    return nnx.eval_shape(lambda: ResNet(config, rngs=nnx.Rngs(0)))


def stage_shapes(config: ResNetConfig, size: int) -> list[tuple[int, ...]]:
    graphdef, state = nnx.split(abstract(config))

    def run(state, images):
        model = nnx.merge(graphdef, state)
        model.eval()
        outputs = [model.resnet.embedder(images)]
        for stage in model.resnet.encoder.stages:
            outputs.append(stage(outputs[-1]))
        return outputs[1:]

    images = jax.ShapeDtypeStruct((2, size, size, 3), jnp.float32)
    return [output.shape for output in jax.eval_shape(run, state, images)]


def random_images(n: int = 4, size: int = 16) -> jax.Array:
    return jax.random.normal(jax.random.key(0), (n, size, size, 3))


def build(config: ResNetConfig) -> ResNet:
    return ResNet(config, rngs=nnx.Rngs(0))


@pytest.fixture
def small() -> ResNet:
    return build(SMALL)


@nnx.jit
def stage_outputs(model: ResNet, images: jax.Array) -> list[jax.Array]:
    outputs = [model.resnet.embedder(images)]
    for stage in model.resnet.encoder.stages:
        outputs.append(stage(outputs[-1]))
    return outputs[1:]


@nnx.jit
def logits(model: ResNet, images: jax.Array) -> jax.Array:
    return model(images)


@pytest.mark.parametrize(
    ("depth", "published"),
    [(18, 11_689_512), (34, 21_797_672), (50, 25_557_032), (101, 44_549_160)],
)
def test_parameter_count_is_the_published_one(depth, published):
    parameters = nnx.state(abstract(ResNetConfig(depth)), nnx.Param)
    assert sum(math.prod(p.shape) for p in jax.tree.leaves(parameters)) == published


@pytest.mark.parametrize(("depth", "expansion"), [(18, 1), (50, 4)])
def test_stage_shapes(depth, expansion):
    channels = [64 * expansion, 128 * expansion, 256 * expansion, 512 * expansion]
    cifar = stage_shapes(ResNetConfig(depth, "cifar"), 64)
    assert cifar == [
        (2, s, s, c) for s, c in zip((64, 32, 16, 8), channels, strict=True)
    ]
    # 97 -> 49 -> 25: torch rounds up at each stride.
    imagenet = stage_shapes(ResNetConfig(depth), 97)
    assert imagenet == [
        (2, s, s, c) for s, c in zip((25, 13, 7, 4), channels, strict=True)
    ]


def test_convolution_and_normalisation_against_numpy():
    rng = np.random.default_rng(0)
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


@pytest.mark.parametrize("size", [8, 9])
def test_imagenet_stem_pads_as_torch(size):
    stem = Embedder(dataclasses.replace(SMALL, stem="imagenet"), nnx.Rngs(1))
    stem.eval()
    x = random_images(2, size)
    y = lax.conv_general_dilated(
        x,
        stem.embedder.convolution.kernel[...],
        window_strides=(2, 2),
        padding=((3, 3), (3, 3)),
        dimension_numbers=("NHWC", "HWIO", "NHWC"),
    )
    y = np.maximum(np.asarray(y) / np.sqrt(1 + 1e-5), 0)
    y = np.pad(y, ((0, 0), (1, 1), (1, 1), (0, 0)), constant_values=-np.inf)
    windows = np.lib.stride_tricks.sliding_window_view(y, (3, 3), axis=(1, 2))
    expected = windows[:, ::2, ::2].max(axis=(-2, -1))
    np.testing.assert_allclose(stem(x), expected, rtol=1e-5, atol=1e-5)


def test_block_adds_the_projected_input(small):
    small.eval()
    block = small.resnet.encoder.stages[1].layers[0]
    x = jax.random.normal(jax.random.key(1), (1, 4, 4, 8))
    inner = block.layer[1](nnx.relu(block.layer[0](x)))
    np.testing.assert_allclose(
        block(x), nnx.relu(inner + block.shortcut(x)), rtol=1e-6, atol=1e-6
    )
    assert small.resnet.encoder.stages[0].layers[0].shortcut is None


def test_initial_kernels_have_he_fan_out_variance():
    layer = ConvNorm(SMALL, (64, 128), 3, 1, nnx.Rngs(0))
    assert float(layer.convolution.kernel[...].std()) == pytest.approx(
        math.sqrt(2 / (9 * 128)), rel=0.02
    )


def test_evaluation_does_not_change_the_model(small):
    small.eval()
    before = jax.tree.map(np.asarray, nnx.state(small))
    first, second = logits(small, random_images()), logits(small, random_images())
    jax.tree.map(np.testing.assert_array_equal, before, nnx.state(small))
    np.testing.assert_array_equal(first, second)
    assert first.shape == (4, 5)
    assert np.isfinite(first).all()


def test_without_head_the_features_are_pooled():
    config = dataclasses.replace(SMALL, num_classes=0)
    model = build(config)
    model.eval()
    x = random_images(2)
    pooled = np.asarray(stage_outputs(model, x)[-1]).mean(axis=(1, 2))
    np.testing.assert_allclose(logits(model, x), pooled, rtol=1e-5, atol=1e-5)


def test_calibration_sets_the_statistics_of_the_images():
    model = build(SMALL)
    parameters = jax.tree.map(np.asarray, nnx.state(model, nnx.Param))
    images = random_images(8)
    calibrate_batch_norm(model, images)
    jax.tree.map(np.testing.assert_array_equal, parameters, nnx.state(model, nnx.Param))
    convolved = np.asarray(model.resnet.embedder.embedder.convolution(images))
    norm = model.resnet.embedder.embedder.normalization
    np.testing.assert_allclose(norm.mean[...], convolved.mean((0, 1, 2)), atol=1e-5)
    np.testing.assert_allclose(norm.var[...], convolved.var((0, 1, 2)), rtol=1e-4)
    # The mode is the one it had, and in evaluation every stage is of order one.
    assert norm.use_running_average is False
    model.eval()
    for features in stage_outputs(model, images):
        assert 0.3 < float(features.std()) < 3


def test_calibration_errors(small):
    with pytest.raises(ValueError, match="BatchNorm"):
        calibrate_batch_norm(nnx.Linear(3, 3, rngs=nnx.Rngs(0)), random_images())
    with pytest.raises(ValueError, match="images must have 4 axes"):
        calibrate_batch_norm(small, jnp.ones((4, 4, 3)))


def test_bfloat16_is_close_to_float32():
    images = random_images()
    outputs = []
    for dtype in ("float32", "bfloat16"):
        config = dataclasses.replace(SMALL, dtype=dtype)
        model = build(config)
        model.eval()
        assert model.resnet.embedder.embedder.convolution.kernel.dtype == jnp.float32
        outputs.append(stage_outputs(model, images)[0])
    assert outputs[1].dtype == jnp.bfloat16
    exact, rounded = outputs[0], outputs[1].astype(jnp.float32)
    assert jnp.linalg.norm(exact - rounded) < 0.02 * jnp.linalg.norm(exact)


def test_configs_compare_by_value():
    assert ResNetConfig(dtype="bfloat16") == ResNetConfig(dtype=jnp.bfloat16)
    assert hash(ResNetConfig(num_classes=0)) == hash(ResNetConfig(num_classes=None))
    assert ResNetConfig(18) != ResNetConfig(34)
    model = nnx.eval_shape(lambda: resnet18("cifar", 10, rngs=nnx.Rngs(0)))
    assert model.config == ResNetConfig(18, "cifar", 10)


@pytest.mark.parametrize(
    "settings",
    [
        {"depth": 19},
        {"stem": "same"},
        {"num_classes": -1},
        {"width": 0},
        {"in_channels": 0},
        {"dtype": "int32"},
    ],
)
def test_config_refuses(settings):
    with pytest.raises(ValueError, match=next(iter(settings))):
        ResNetConfig(**settings)


@pytest.mark.parametrize("shape", [(16, 16, 3), (1, 16, 16, 1)])
def test_images_of_another_shape_are_refused(small, shape):
    with pytest.raises(ValueError, match=r"\(N, H, W, 3\)"):
        small(jnp.ones(shape))
