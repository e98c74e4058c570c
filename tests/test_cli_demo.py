"""semrsm demo."""

import dataclasses
import json
import os
from pathlib import Path

import numpy as np
import pytest
from shell import done, refused

import semrsm_jax as sj
from semrsm_jax import demo
from semrsm_jax.demo import Stage


@pytest.fixture
def tiny_demo(features_folder, monkeypatch):
    """The demo with one stage, and noise for its RSMs: its wiring is at stake."""
    real = demo.run

    def run_small(config, progress):
        stages = (Stage("resnet.encoder.stages.3", sj.Exact(solver="scipy")),)
        return real(dataclasses.replace(config, stages=stages, replicates=20), progress)

    stage = "resnet.encoder.stages.3"
    tokens = np.random.default_rng(1).normal(size=(40, 4, 3)).astype("f4")
    noise = np.random.default_rng(0).uniform(size=(20, 20))
    monkeypatch.setattr(demo, "run", run_small)
    for name, fake in {
        "_network": lambda *_: None,
        "rsm": lambda *_, **__: noise,
        "normalize": lambda images: images,
        "extract": lambda _, images, *__, **___: {stage: tokens[: len(images)]},
    }.items():
        monkeypatch.setattr(demo.measure, name, fake)


@pytest.mark.slow
def test_demo_writes_figure_and_numbers(tiny_demo):
    out = done("demo", "-o", "my demo", "--crops", 20, "--seed", 1)
    files = ["report.html", "translation.json", "translation.png"]
    assert sorted(os.listdir("my demo")) == files
    # Both windows of each of the 20 crops, at the one stage.
    page = Path("my demo/report.html").read_text(encoding="utf-8")
    assert page.count(', upper"') == page.count(', lower"') == 20
    assert "ResNet18 with trained weights</title>" in page
    assert Path("my demo/translation.png").read_bytes().startswith(b"\x89PNG")
    numbers = json.loads(Path("my demo/translation.json").read_text())
    assert numbers["config"]["crops"] == 20
    assert numbers["config"]["seed"] == 1
    assert "Trained weights:" in out and "Random weights:" in out
    weights = [row["weights"] for row in numbers["table"]]
    assert weights == ["trained", "trained", "random", "random"]
    semantic = numbers["table"][1]
    for name in ("auroc", "overlapping", "unrelated"):
        assert f"{semantic[name]:.3f}" in out
    assert f"{semantic['gain_low']:.2f}-{semantic['gain_high']:.2f}" in out
    assert max(map(len, out.splitlines())) <= 80
    message = refused("demo", "-o", "my demo", "--crops", 20)
    assert "translation.png exists; --overwrite replaces it" in message
    out = done("demo", "--crops", 20, "--seed", 1)
    assert "Nothing was written; to keep the figure and all numbers: -o FOLDER" in out


@pytest.mark.parametrize(
    ("arguments", "first"),
    [
        ((), sj.Exact()),
        (("--exact",), sj.Exact()),
        (("--approximate",), sj.BatchOptimal(512)),
    ],
)
def test_demo_matches_exactly_or_as_asked(
    features_folder, monkeypatch, arguments, first
):
    seen = []

    def stop(config, progress):
        seen.extend(stage.matcher for stage in config.stages)
        raise ValueError("configured")

    monkeypatch.setattr(demo, "run", stop)
    assert "configured" in refused("demo", *arguments)
    assert seen == [first, *[sj.Exact()] * 3]


def test_demo_writes_into_a_folder(features_folder):
    assert "x.npy is a file" in refused("demo", "-o", "x.npy")
