"""Training of small networks: by its seed, interrupted, and from the shell."""

import dataclasses
import json

import numpy as np
import pytest
from networks import assert_same_values
from typer.testing import CliRunner

from experiments.frame.session import Session, silent
from experiments.train import JOBS, app, make
from experiments.trained import zoo
from experiments.trained.networks import NETWORKS
from experiments.trained.tasks import CROPS, CropConfig, Draw, Plan
from experiments.trained.training import train
from semrsm_jax.models import ResNetConfig

SMALLEST = "vit-2"


def _stated(weights):
    return json.loads(weights.with_suffix(".json").read_text())["accuracy"]


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


@pytest.mark.slow
def test_training_lowers_the_loss_and_goes_by_its_seed(lessons):
    network = dataclasses.replace(NETWORK, steps=40)
    first, again = (train(network, lessons, TINY.loss) for _ in range(2))
    assert_same_values(first, again)
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
    assert_same_values(resumed, whole)


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


@pytest.mark.slow
def test_make_writes_weights_and_numbers_once(tmp_path, monkeypatch):
    job, calls = (NETWORK, TINY), []

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

    def stopped(*_, **__):
        raise KeyboardInterrupt

    monkeypatch.setattr("experiments.train.save_weights", stopped)
    with pytest.raises(KeyboardInterrupt):
        make("tiny", job, tmp_path, report, overwrite=True)
    assert not (tmp_path / "tiny.json").exists()


def test_command_trains_and_rejects():
    help_text = CliRunner().invoke(app, ["--help"]).output
    assert "--network" in help_text and "--overwrite" in help_text
    rejected = CliRunner().invoke(app, ["--network", "resnet-9"])
    assert rejected.exit_code == 2 and "resnet-9" in rejected.output
    assert set(JOBS) == {*NETWORKS, "demo"}


@pytest.mark.long
def test_the_smallest_network_trained_again_is_as_good_as_shipped(tmp_path):
    """Within three points; the order of float sums differs between machines."""
    stated = _stated(zoo.checkpoint(SMALLEST))
    sizes = {name: zoo.checkpoint(name).stat().st_size for name in NETWORKS}
    assert min(sizes, key=lambda name: sizes[name]) == SMALLEST
    values = make(SMALLEST, JOBS[SMALLEST], tmp_path, silent)
    for measure in ("name", "count", "f1"):
        assert values[measure] == pytest.approx(stated[measure], abs=0.03)
