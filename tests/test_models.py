"""The networks: shapes, derivatives, settings, positions at other sizes."""

import dataclasses

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import nnx
from marks import with_long
from networks import abstract, pixels, random_network

from semrsm_jax.features import extract
from semrsm_jax.models import (
    VARIANTS,
    BiT,
    BiTConfig,
    CLIPSeg,
    CLIPSegConfig,
    CLIPVision,
    ConvNeXtV2,
    ConvNeXtV2Config,
    DINOv2,
    ResNet,
    ResNetConfig,
    SAMConfig,
    SAMVision,
    ViT,
    ViTConfig,
    clip_vision_config,
    variant,
)
from semrsm_jax.models._interpolation import resize_grid
from semrsm_jax.models._layers import Attention, attend
from semrsm_jax.models.sam import RelativeAttention

SMALL = {"width": 16, "depth": 2, "heads": 2, "hidden": 24}
VIT = ViTConfig(image_size=(16, 16), patch_size=(4, 4), num_classes=3, **SMALL)
TOWER = clip_vision_config(image_size=(32, 32), patch_size=(16, 16), **SMALL)
SEG = CLIPSegConfig(TOWER, projection=8, extract_layers=(0, 1), width=8, hidden=12)
SAM = SAMConfig(32, 4, window=3, global_layers=(1,), out_channels=6, **SMALL)
DINO = dataclasses.replace(VIT, swiglu=True, layer_scale=True, num_classes=None)
CONV = {"widths": (16, 32), "depths": (1, 2)}
CONVNEXT = ConvNeXtV2Config(num_classes=3, **CONV)
RESNET = ResNetConfig(18, "cifar", 5, width=8, blocks=(1, 2), widths=(8, 16))

# A small network of each family, images that it takes, and a layer.
NETWORKS = {
    "vit": (ViT, VIT, (20, 13), "vit.encoder.layer.1"),
    "dinov2": (DINOv2, DINO, (16, 16), "dinov2.layernorm"),
    "clip": (CLIPVision, TOWER, (40, 32), "vision_model.encoder.layers.1"),
    "clipseg": (CLIPSeg, SEG, (48, 32), "clip.vision_model.encoder.layers.0"),
    "sam": (SAMVision, SAM, (32, 32), "vision_encoder.neck"),
    "bit": (BiT, BiTConfig(8, groups=4, **CONV), (45, 32), "bit.norm"),
    "convnextv2": (ConvNeXtV2, CONVNEXT, (45, 32), "convnextv2.encoder.stages.1"),
    "resnet": (ResNet, RESNET, (17, 16), "resnet.encoder.stages.1"),
}


def build(name):
    network, config, size, _ = NETWORKS[name]
    return random_network(network, config), jnp.asarray(pixels(size))


def token_shape(model, size, layer):
    """The shape of the tokens of a layer; nothing is computed."""
    graphdef, state = nnx.split(model)

    def run(state, images):
        return extract(nnx.merge(graphdef, state), images, [layer])[layer]

    images = jax.ShapeDtypeStruct((2, *size, 3), jnp.float32)
    return jax.eval_shape(run, state, images).shape


@pytest.mark.parametrize("name", NETWORKS)
def test_tokens_lie_on_the_grid_that_the_config_names(name):
    network, config, size, layer = NETWORKS[name]
    rows, columns = config.token_grid(*size)
    shape = token_shape(abstract(network, config), size, layer)
    assert shape[:2] == (2, rows * columns + config.prefix_tokens)


@pytest.mark.slow
@pytest.mark.parametrize("name", ["vit", "sam"])
def test_vmap_is_the_batch(name):
    run = nnx.jit(lambda model, x: (model(x), jax.vmap(lambda i: model(i[None])[0])(x)))
    batch, each = run(*build(name))
    np.testing.assert_allclose(each, batch, rtol=1e-4, atol=1e-5)


@pytest.mark.slow
def test_jit_is_the_eager_network_and_gradients_reach_every_parameter():
    config = dataclasses.replace(VIT, depth=1)
    model, x = random_network(ViT, config), jnp.asarray(pixels((16, 16)))

    @nnx.jit
    def gradient(model, x):
        def loss(model, x):
            logits = model(x)
            return (logits**2).sum(), logits

        return nnx.grad(loss, has_aux=True)(model, x)

    gradients, logits = gradient(model, x)
    np.testing.assert_allclose(logits, model(x), 1e-4)
    for leaf in jax.tree.leaves(gradients):
        assert np.isfinite(leaf).all() and float(jnp.abs(leaf).max()) > 0


def test_attention_is_softmax_of_scaled_products(rng):
    q, k, v = rng.normal(size=(3, 2, 5, 4))
    scores = q @ np.swapaxes(k, -1, -2) / 2
    weights = np.exp(scores) / np.exp(scores).sum(-1, keepdims=True)
    np.testing.assert_allclose(
        attend(*map(jnp.float32, (q, k, v))), weights @ v, rtol=1e-5, atol=1e-6
    )
    half = jax.eval_shape(attend, *[jax.ShapeDtypeStruct(q.shape, jnp.bfloat16)] * 3)
    assert half.dtype == jnp.bfloat16


def test_attention_in_float64(x64):
    layer = abstract(lambda dtype, rngs: Attention(8, 2, dtype, rngs), "float64")
    output = nnx.eval_shape(lambda layer, x: layer(x), layer, jnp.ones((1, 3, 8)))
    assert output.dtype == jnp.float64


@pytest.mark.slow
def test_relative_attention_in_parts_is_that_of_all_rows(monkeypatch):
    config = dataclasses.replace(SAM, image_size=16)
    layer = random_network(
        lambda config, rngs: RelativeAttention(config, 4, rngs), config
    )
    x = jnp.asarray(np.random.default_rng(0).normal(size=(2, 4, 4, 16)), jnp.float32)
    at_once = nnx.jit(lambda layer, x: layer(x))(layer, x)
    monkeypatch.setattr("semrsm_jax.models.sam._MOST_SCORES", 1)
    in_parts = nnx.jit(lambda layer, x: layer(x))(layer, x)
    np.testing.assert_allclose(in_parts, at_once, rtol=1e-5, atol=1e-6)


def test_positions_are_kept_at_the_size_they_were_trained_for():
    embeddings = random_network(ViT, VIT).vit.embeddings
    table = embeddings.position_embeddings[...]
    np.testing.assert_array_equal(embeddings._positions(4, 4), table)
    # As many patches on another grid stand at other places.
    grid = table[:, 1:].reshape(1, 4, 4, -1)
    other = embeddings._positions(2, 8)
    np.testing.assert_array_equal(
        other[:, 1:], resize_grid(grid, 2, 8).reshape(1, 16, -1)
    )
    assert float(jnp.abs(other - table).max()) > 1e-3
    # Bicubic weights sum to one: a constant table stays constant at any size.
    embeddings.position_embeddings[...] = jnp.ones_like(table)
    resized = embeddings._positions(6, 3)
    np.testing.assert_allclose(resized, np.ones((1, 19, 16)), rtol=1e-6)


@pytest.mark.slow
def test_a_prompt_changes_the_decoder_and_not_the_tower():
    model, x = build("clipseg")
    run = nnx.jit(lambda model, x, prompt: (model(x), model(x, prompt)))
    own, prompted = run(model, x, jnp.ones((2, 8)))
    assert own.shape == x.shape[:3]
    assert float(jnp.abs(prompted - own).max()) > 1e-4
    with pytest.raises(ValueError, match=r"prompt must have shape \(2, 8\)"):
        nnx.eval_shape(model, x, jnp.ones((2, 7)))


@pytest.mark.slow
@pytest.mark.parametrize("name", NETWORKS)
def test_images_refused(name):
    network, config, size, _ = NETWORKS[name]
    model = abstract(network, config)
    refused = {(1, *size, 1): r"\(N, H, W, 3\)", (*size, 3): r"\(N, H, W, 3\)"}
    if name not in ("bit", "resnet"):  # which have no patches
        refused[(1, 2, 2, 3)] = "at least|must be 32 x 32"
    for shape, message in refused.items():
        with pytest.raises(ValueError, match=message):
            nnx.eval_shape(model, jax.ShapeDtypeStruct(shape, jnp.float32))


@pytest.mark.parametrize(
    ("config", "settings", "message"),
    [
        (ViTConfig, {"heads": 5}, "heads must divide width=768"),
        (ViTConfig, {"depth": 0}, "depth must be at least 1"),
        (ViTConfig, {"dtype": "int8"}, "dtype must be a floating dtype"),
        (ViTConfig, {"image_size": (8, 8)}, "image_size must hold one patch"),
        (SAMConfig, {"heads": 5}, "heads must divide"),
        (SAMConfig, {"image_size": 8}, "image_size must be at least patch_size=16"),
        (BiTConfig, {"padding": "valid"}, "padding must be one of"),
        (BiTConfig, {"depths": (1,)}, r"widths and depths must .*\) and \(1,\)"),
        (ConvNeXtV2Config, {"widths": ()}, "widths and depths"),
        (CLIPSegConfig, {"extract_layers": (12,)}, "extract_layers.*below 12"),
        (ResNetConfig, {"depth": 19}, "depth"),
        (ResNetConfig, {"stem": "same"}, "stem"),
        (ResNetConfig, {"num_classes": -1}, "num_classes"),
        (ResNetConfig, {"width": 0}, "width"),
        (ResNetConfig, {"in_channels": 0}, "in_channels"),
        (ResNetConfig, {"dtype": "int32"}, "dtype"),
        (ResNetConfig, {"widths": (8,)}, "blocks and widths must name the same"),
    ],
)
def test_configs_refuse(config, settings, message):
    with pytest.raises(ValueError, match=message):
        config(**settings)


def test_configs_compare_by_value():
    for config in (ViTConfig, ResNetConfig, BiTConfig, ConvNeXtV2Config, SAMConfig):
        assert config(dtype="bfloat16") == config(dtype=jnp.bfloat16)
        assert hash(config()) == hash(config())
    assert hash(CLIPSegConfig()) == hash(CLIPSegConfig())
    assert hash(ResNetConfig(num_classes=0)) == hash(ResNetConfig(num_classes=None))
    assert SAMConfig() != SAMConfig(window=7)
    assert ResNetConfig(18) != ResNetConfig(34)


# Position embeddings at other sizes.


@pytest.mark.parametrize(
    "sizes", [((4, 5), (7, 3)), ((1, 1), (2, 3)), ((6, 6), (6, 6))]
)
def test_interpolation_is_that_of_jax_where_it_has_it(sizes, rng):
    (rows, columns), target = sizes
    x = rng.normal(size=(1, rows, columns, 2)).astype(np.float32)
    resized = resize_grid(jnp.asarray(x), *target)
    try:
        expected = jax.image.resize(
            x, (1, *target, 2), method="cubic-pytorch", antialias=False
        )
    except ValueError:
        pytest.skip("a version of JAX without torch's kernel")
    np.testing.assert_allclose(resized, expected, atol=1e-5)


def test_the_twelve_networks_of_the_paper():
    grids = {name: (v.token_grid(), v.prefix_tokens) for name, v in VARIANTS.items()}
    assert grids == {
        "clip-b32": ((7, 7), 1),
        "clipseg-rd64": ((22, 22), 1),
        "dinov2-giant": ((16, 16), 1),
        "sam-b": ((64, 64), 0),
        "bit-50": ((14, 14), 0),
        "resnet18": ((7, 7), 0),
        "resnet50": ((7, 7), 0),
        "resnet101": ((7, 7), 0),
        "convnextv2-base": ((7, 7), 0),
        "vit-b16": ((14, 14), 1),
        "vit-l32": ((12, 12), 1),
        "dinov2-giant-classifier": ((16, 16), 1),
    }
    assert sum(v.classifies for v in VARIANTS.values()) == 8  # BiT's 1000 besides
    assert variant("vit-b16").token_grid((224, 192)) == (14, 12)
    assert len({v.checkpoint for v in VARIANTS.values()}) == 12


@pytest.mark.slow
@pytest.mark.parametrize(
    "name",
    with_long(
        VARIANTS,
        "convnextv2-base",
        "dinov2-giant",
        "dinov2-giant-classifier",
        "resnet101",
        "vit-l32",
    ),
)
def test_the_tap_gives_the_tokens_of_the_grid_at_full_size(name):
    v = VARIANTS[name]
    rows, columns = v.token_grid()
    shape = token_shape(abstract(v.build, v.config), v.image_size, v.tap)
    assert shape[:2] == (2, rows * columns + v.prefix_tokens)
