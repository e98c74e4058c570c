"""The trained networks: shipped weights, and what they get right."""

import dataclasses
import json
import math
from pathlib import Path

import jax.numpy as jnp
import numpy as np
import pytest
from flax import nnx
from marks import with_long

import semrsm_jax.demo
from experiments.frame.session import silent
from experiments.scenes.compose import BACKGROUNDS, CLASSES, SceneConfig, compose
from experiments.trained import zoo
from experiments.trained.networks import MOST_COUNTED, NETWORKS
from experiments.trained.tasks import CROPS, SCENES, CropConfig, Draw
from semrsm_jax.demo.networks import CHECKPOINT, trained_network
from semrsm_jax.models import (
    ResNet,
    ResNetConfig,
    ViT,
    ViTConfig,
    load_weights,
    save_weights,
)

DEMO = Path(semrsm_jax.demo.__file__).parent / CHECKPOINT
CLASSIFIERS = ("resnet-10", "resnet-18", "convnext", "vit-2", "vit-4")
IMAGES = 200


def _stated(weights):
    return json.loads(weights.with_suffix(".json").read_text())["accuracy"]


def _sampling_error(share, *images):
    """Four standard errors of the difference of a share measured on two samples.

    For means of other values in [0, 1], as F1 is, it is an upper bound.
    """
    return 4 * math.sqrt(share * (1 - share) * sum(1 / n for n in images))


@pytest.fixture(scope="module")
def tested():
    """The first test images, drawn once for all networks."""
    settings, _ = SCENES.test
    drawn = SCENES.draw(settings, IMAGES, "test", silent)
    return dataclasses.replace(
        SCENES, draw=lambda *_: drawn, test=Draw(settings, IMAGES)
    )


# --- what is shipped -----------------------------------------------------------------


def test_all_weights_are_there_and_small():
    files = [zoo.checkpoint(name) for name in NETWORKS] + [DEMO]
    sizes = [file.stat().st_size for file in files]
    assert sum(sizes) <= 8_000_000
    assert set(zoo.CHECKPOINTS.glob("*.safetensors")) == set(files[:-1])
    assert set(CLASSIFIERS) < set(NETWORKS)


@pytest.mark.slow
@pytest.mark.parametrize("name", with_long(NETWORKS, "resnet-18", "convnext", "vit-2"))
def test_a_shipped_network_is_as_good_as_stated(name, tested):
    stated = _stated(zoo.checkpoint(name))
    accuracy = tested.evaluate(zoo.load(name), silent)
    for measure in ("name", "count", "f1"):
        slack = _sampling_error(stated[measure], IMAGES, stated["images"])
        assert accuracy[measure] == pytest.approx(stated[measure], abs=slack)
    # It learned both: more than naming at random and than counting nothing.
    assert stated["name"] > 4 / len(BACKGROUNDS)
    assert stated["count"] > stated["count_if_none"]


@pytest.mark.slow
def test_the_demos_network_is_as_good_as_stated():
    stated = _stated(DEMO)["name"]
    few = dataclasses.replace(CROPS, test=Draw(CropConfig(), IMAGES))
    accuracy = few.evaluate(trained_network(), silent)["name"]
    assert accuracy == pytest.approx(stated, abs=_sampling_error(stated, IMAGES, 1000))


# --- the zoo -------------------------------------------------------------------------


@pytest.mark.slow
@pytest.mark.parametrize("name", CLASSIFIERS)
def test_layers_give_tokens_and_the_head_both_answers(name, tested):
    images = compose(SceneConfig(), 4, 1, 0).images
    model = zoo.load(name)
    features = zoo.tokens(model, images, NETWORKS[name].layers)
    assert list(features) == list(NETWORKS[name].layers)
    tokens = [x.shape[1] for x in features.values()]
    assert tokens == sorted(tokens, reverse=True)
    assert features[NETWORKS[name].last].shape[:2] == (4, 64)
    said = zoo.outputs(model, images)
    assert said.name_logits.shape == (4, len(BACKGROUNDS))
    assert said.count_logits.shape == (4, len(CLASSES), MOST_COUNTED + 1)
    both = np.concatenate(
        [said.name_logits, np.reshape(said.count_logits, (4, -1))], axis=1
    )
    np.testing.assert_array_equal(both, zoo.logits(model, images))


@pytest.mark.slow
@pytest.mark.parametrize("name", ["resnet-10", "vit-2"])
def test_random_networks_differ_from_trained_ones_and_by_seed(name):
    images = compose(SceneConfig(), 4, 1, 0).images
    layer = NETWORKS[name].last
    models = (zoo.load(name), zoo.random(name, 0), zoo.random(name, 0))
    models += (zoo.random(name, 1),)
    trained, first, again, second = (
        np.asarray(zoo.tokens(model, images, [layer])[layer]) for model in models
    )
    np.testing.assert_array_equal(first, again)
    assert not np.allclose(first, second) and not np.allclose(first, trained)
    assert 0.1 < first.std() < 10


def test_seeds_differ_in_nothing_else():
    for name in ("resnet-10", "vit-4"):
        base = NETWORKS[name]
        for seed in (1, 2):
            other = NETWORKS[f"{name}-seed{seed}"]
            assert other == dataclasses.replace(base, seed=seed)


def test_unknown_and_missing_networks_are_named(monkeypatch, tmp_path):
    with pytest.raises(ValueError, match=r"network must be.*'resnet-9'"):
        zoo.load("resnet-9")
    monkeypatch.setattr(zoo, "CHECKPOINTS", tmp_path)
    with pytest.raises(FileNotFoundError, match="experiments.train --network vit-2"):
        zoo.load("vit-2")


# --- weights -------------------------------------------------------------------------


def _small(seed, width=8):
    config = ResNetConfig(
        stem="cifar", num_classes=3, width=width, blocks=(1,), widths=(width,)
    )
    return ResNet(config, rngs=nnx.Rngs(seed))


@pytest.mark.slow
def test_weights_come_back_as_they_were_saved(tmp_path, rng):
    images = jnp.asarray(rng.normal(size=(2, 8, 8, 3)), jnp.float32)
    model, other = _small(0), _small(1)
    model(images)  # in training mode: moves the running statistics
    for dtype, tolerance in ((jnp.float32, 0), (jnp.float16, 2e-2)):
        path = tmp_path / f"{jnp.dtype(dtype)}.safetensors"
        save_weights(model, path, dtype=dtype)
        load_weights(other, path)
        for network in (model, other):
            network.eval()
        np.testing.assert_allclose(other(images), model(images), atol=tolerance)
    assert other.classifier.kernel[...].dtype == jnp.float32
    halves, whole = (tmp_path / f"float{n}.safetensors" for n in (16, 32))
    assert halves.stat().st_size < 0.7 * whole.stat().st_size
    (tmp_path / "empty").touch()
    assert whole.stat().st_mode == (tmp_path / "empty").stat().st_mode
    with pytest.raises(ValueError, match="exists"):
        save_weights(model, whole)


@pytest.mark.slow
def test_weights_of_another_architecture_are_rejected(tmp_path):
    path = tmp_path / "a.safetensors"
    save_weights(_small(0), path)
    wide = _small(0, width=12)
    with pytest.raises(ValueError, match=r"a\.safetensors must hold the weights of"):
        load_weights(wide, path)
    vit = ViT(ViTConfig((8, 8), (4, 4), 4, 1, 2, 8), rngs=nnx.Rngs(0))
    with pytest.raises(ValueError, match="names or shapes differ"):
        load_weights(vit, path)
    with pytest.raises(FileNotFoundError):
        load_weights(wide, tmp_path / "b.safetensors")
