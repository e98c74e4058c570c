"""The trained networks: shipped weights, what they get right, how they came to be."""

import dataclasses
import json
import math
from pathlib import Path

import jax.numpy as jnp
import numpy as np
import pytest
from flax import nnx
from typer.testing import CliRunner

pytest.importorskip("skimage")
pytest.importorskip("sklearn")

import semrsm_jax.demo
from experiments.frame.session import Session, silent
from experiments.scenes.compose import BACKGROUNDS, CLASSES, SceneConfig, compose
from experiments.train import JOBS, Job, app, make
from experiments.trained import zoo
from experiments.trained.networks import MOST_COUNTED, NETWORKS
from experiments.trained.tasks import CROPS, SCENES, CropConfig, Draw, Plan
from experiments.trained.training import train
from semrsm_jax.demo.networks import CHECKPOINT, trained_network
from semrsm_jax.models import (
    ResNet,
    ResNetConfig,
    ViT,
    ViTConfig,
    load_weights,
    save_weights,
)

SMALLEST = "vit-2"
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
@pytest.mark.parametrize("name", NETWORKS)
def test_a_shipped_network_is_as_good_as_stated(name, tested):
    stated = _stated(zoo.checkpoint(name))
    found = tested.evaluate(zoo.load(name), silent)
    for measure in ("name", "count", "f1"):
        slack = _sampling_error(stated[measure], IMAGES, stated["images"])
        assert found[measure] == pytest.approx(stated[measure], abs=slack)
    # It learned both: more than naming at random and than counting nothing.
    assert stated["name"] > 4 / len(BACKGROUNDS)
    assert stated["count"] > stated["count_if_none"]


@pytest.mark.slow
def test_the_demos_network_is_as_good_as_stated():
    stated = _stated(DEMO)["name"]
    few = dataclasses.replace(CROPS, test=Draw(CropConfig(), IMAGES))
    found = few.evaluate(trained_network(), silent)["name"]
    assert found == pytest.approx(stated, abs=_sampling_error(stated, IMAGES, 1000))


# --- the zoo -------------------------------------------------------------------------


@pytest.mark.slow
@pytest.mark.parametrize("name", CLASSIFIERS)
def test_layers_give_tokens_and_the_head_both_answers(name, tested):
    images = compose(SceneConfig(), 4, 1, 0).images
    model = zoo.load(name)
    found = zoo.tokens(model, images, NETWORKS[name].layers)
    assert list(found) == list(NETWORKS[name].layers)
    tokens = [x.shape[1] for x in found.values()]
    assert tokens == sorted(tokens, reverse=True)
    assert found[NETWORKS[name].last].shape[:2] == (4, 64)
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


# --- training ------------------------------------------------------------------------

# Two lessons of crops of 16x16 pixels, for a network of 1,000 parameters.
TINY = dataclasses.replace(
    CROPS,
    plans=(
        Plan(Draw(CropConfig(16), 60), 0.5, 12),
        Plan(Draw(CropConfig(16, 0.8), 60), 0.5, 12),
    ),
    test=Draw(CropConfig(16), 40),
)
NARROW = ResNetConfig(
    num_classes=18,
    width=4,
    blocks=(1,),
    widths=(8,),
    first_stage_stride=2,
    stem="cifar",
)
NETWORK = dataclasses.replace(NETWORKS["resnet-10"], config=NARROW, steps=8)


@pytest.fixture(scope="module")
def lessons(tmp_path_factory):
    return TINY.lessons(Session(tmp_path_factory.mktemp("lessons")))


def _leaves(model):
    return [np.asarray(x) for _, x in sorted(_flat(model).items())]


def _flat(model):
    state = nnx.state(model, nnx.Any(nnx.Param, nnx.BatchStat))
    return {str(path): leaf[...] for path, leaf in nnx.to_flat_state(state)}


@pytest.mark.slow
def test_training_lowers_the_loss_and_goes_by_its_seed(lessons):
    network = dataclasses.replace(NETWORK, steps=40)
    first, again = (train(network, lessons, TINY.loss) for _ in range(2))
    for a, b in zip(_leaves(first), _leaves(again), strict=True):
        np.testing.assert_array_equal(a, b)
    batch = lessons[0].examples
    images = batch["images"].astype(np.float32) / 255
    before = zoo.logits(network.build(0), images)
    after = zoo.logits(first, images)
    assert TINY.loss(after, batch) < 0.9 * TINY.loss(before, batch)


@pytest.mark.slow
def test_interrupted_training_goes_on_as_if_it_had_not_been(
    lessons, tmp_path, monkeypatch
):
    monkeypatch.setattr("experiments.trained.training._SAVE_EVERY", 3)
    whole = train(NETWORK, lessons, TINY.loss)
    path, steps = tmp_path / "state.npz", []

    def interrupt(done, total):
        steps.append(done)
        if done == 5:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        train(NETWORK, lessons, TINY.loss, resume=path, progress=interrupt)
    assert path.exists()
    resumed = train(
        NETWORK,
        lessons,
        TINY.loss,
        resume=path,
        progress=lambda done, total: steps.append(done),
    )
    assert steps == [1, 2, 3, 4, 5, 4, 5, 6, 7, 8]
    assert not path.exists()
    for a, b in zip(_leaves(resumed), _leaves(whole), strict=True):
        np.testing.assert_array_equal(a, b)


@pytest.mark.slow
def test_a_state_of_another_network_is_rejected(lessons, tmp_path, monkeypatch):
    monkeypatch.setattr("experiments.trained.training._SAVE_EVERY", 1)
    path = tmp_path / "state.npz"

    def interrupt(done, total):
        if done == 2:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        train(NETWORK, lessons, TINY.loss, resume=path, progress=interrupt)
    wider = dataclasses.replace(NARROW, widths=(12,))
    other = dataclasses.replace(NETWORK, config=wider)
    with pytest.raises(ValueError, match="must hold the state of this network"):
        train(other, lessons, TINY.loss, resume=path)


def test_make_writes_weights_and_numbers_once(tmp_path, monkeypatch):
    job, calls = Job(NETWORK, TINY), []

    def report(description, done, total):
        calls.append(description)

    first = make("tiny", job, tmp_path, report)
    assert first["images"] == 40 and 0 <= first["name"] <= 1
    written = json.loads((tmp_path / "tiny.json").read_text())
    assert written["accuracy"] == first
    assert "CropConfig" in written["training"][0] and written["environment"]["cpu"]
    assert "Training tiny" in calls
    calls.clear()
    assert make("tiny", job, tmp_path, report) == first and not calls
    # Numbers that were lost are measured again, and nothing is trained for them.
    (tmp_path / "tiny.json").unlink()
    assert make("tiny", job, tmp_path, report) == first
    assert set(calls) == {"Cropping test photographs"}


def test_command_trains_and_rejects():
    help_text = CliRunner().invoke(app, ["--help"]).output
    assert "--network" in help_text and "--overwrite" in help_text
    rejected = CliRunner().invoke(app, ["--network", "resnet-9"])
    assert rejected.exit_code == 2 and "resnet-9" in rejected.output
    assert set(JOBS) == {*NETWORKS, "demo"}


@pytest.mark.slow
def test_the_smallest_network_trained_again_is_as_good_as_shipped(tmp_path):
    """Within three points; the order of float sums differs between machines."""
    stated = _stated(zoo.checkpoint(SMALLEST))
    sizes = {name: zoo.checkpoint(name).stat().st_size for name in NETWORKS}
    assert min(sizes, key=lambda name: sizes[name]) == SMALLEST
    found = make(SMALLEST, JOBS[SMALLEST], tmp_path, silent)
    for measure in ("name", "count", "f1"):
        assert found[measure] == pytest.approx(stated[measure], abs=0.03)
