"""The frame of all experiments: steps, benchmarks, parts, findings, commands."""

import json
import os
import subprocess
import sys
import warnings
from dataclasses import dataclass, replace
from importlib import import_module

import numpy as np
import pytest
from stored_runs import times
from study_runs import run_study
from typer.testing import CliRunner

import experiments
from experiments.frame.command_line import command, questions
from experiments.frame.conduct import compare_code, conduct
from experiments.frame.finding import (
    Finding,
    Measurement,
    Number,
    Quantity,
    count,
    number,
)
from experiments.frame.session import Session, fingerprint, silent
from experiments.frame.study import Study, benchmark
from experiments.frame.worker import worker
from experiments.soft import distill, optimize, stereo, temperature
from semrsm_jax import Cosine, Linear


def test_steps_are_done_once_and_kept_whole(tmp_path):
    calls = []

    def compute():
        calls.append(1)
        return {"x": np.arange(3), "name": "a"}

    def broken():
        raise ZeroDivisionError

    session = Session(tmp_path)
    with pytest.raises(ZeroDivisionError):
        session.step("part/one", broken)
    for _ in range(2):
        result = Session(tmp_path).step("part/one", compute)
        np.testing.assert_array_equal(result["x"], np.arange(3))
        assert str(result["name"]) == "a"
    assert len(calls) == 1
    assert [p.name for p in (tmp_path / "part").iterdir()] == ["one.npz"]


def test_matchings_are_kept_and_configs_have_names_of_their_own(tmp_path):
    x = np.random.default_rng(0).normal(size=(4, 5, 3)).astype(np.float32)
    store = Session(tmp_path).run("layer", x)
    before = times(store.path)
    seen = []
    again = Session(tmp_path, lambda *step: seen.append(step)).run("layer", x)
    assert before == times(again.path)
    assert seen[-1] == ("Matching layer", 6, 6)
    first, second = (stereo.SCALES[name] for name in ("bundled", "smoke"))
    assert fingerprint(first) == fingerprint(first) != fingerprint(second)


@pytest.mark.parametrize("study", [distill, optimize, stereo, temperature])
def test_help_tells_what_to_expect_and_bad_scales_are_refused(tmp_path, study):
    app = command(study.STUDY)
    text = CliRunner().invoke(app, ["--help"]).output
    for part in ("--scale", "--overwrite", "Expected", "python -m"):
        assert part in text
    for part in ("steps/", "--workers"):  # they keep none
        assert part not in text
    result = CliRunner().invoke(app, ["--scale", "huge", "-o", str(tmp_path)])
    assert result.exit_code == 2 and "bundled" in result.output
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    "name", ["translation", "output_correlation", "cka", "retrieval"]
)
def test_a_folder_that_would_not_be_read_is_rejected(tmp_path, name):
    app = command(import_module(f"experiments.{name}.study").STUDY)
    arguments = ["--images", str(tmp_path), "-o", str(tmp_path / "out")]
    result = CliRunner().invoke(app, arguments)
    assert result.exit_code == 2 and "reads no folder" in result.output
    assert "paper" in result.output and list(tmp_path.iterdir()) == []


def test_missing_package_is_named_before_the_work(tmp_path, monkeypatch):
    study = stereo.STUDY
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    result = run_study(study, tmp_path)
    assert result.exit_code == 2 and "pip install" in result.output
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    ("modules", "not_loaded"),
    [
        # Thread counts are left to the workers, which set them before.
        ("experiments.runtime, experiments.reproduce", ("numpy", "jax")),
        ("experiments.frame.command_line", ("matplotlib", "skimage", "sklearn")),
    ],
)
def test_entry_points_do_not_load_what_is_not_asked_for(modules, not_loaded):
    code = f"import sys, {modules}; print(sorted({{*{not_loaded}}} & {{*sys.modules}}))"
    command = [sys.executable, "-c", code]
    assert subprocess.run(command, check=True, capture_output=True).stdout == b"[]\n"


@pytest.mark.parametrize(("cpu", "platforms"), [(True, "cpu"), (False, "cuda,cpu")])
def test_a_worker_uses_the_processor_unless_it_is_to_use_the_device(
    monkeypatch, cpu, platforms
):
    monkeypatch.setenv("JAX_PLATFORMS", "cuda,cpu")
    with worker(silent, cpu=cpu) as call:
        assert call(os.getenv, "JAX_PLATFORMS").value == platforms


# The frame


def test_quantities_read_as_sentences():
    interval = Number(0.0684, 0.0462, 0.0911)
    texts = {
        "gain 0.07 [0.05, 0.09], 0.10": Quantity("gain", [interval, 0.1], digits=2),
        "3 of 4 networks": count([True, True, False, True], "networks"),
        "42,100 ms": Quantity("", [42123.4], "ms", digits=None),
        "left open": Quantity("left open"),
        "?": Quantity("", [None]),
    }
    for text, quantity in texts.items():
        assert str(quantity) == text
    assert number({"value": 1.0, "low": None, "high": None}).value == 1
    assert number(interval) is interval
    assert interval.columns("x") == {"x": 0.0684, "x, low": 0.0462, "x, high": 0.0911}


def test_measurements_know_their_goals():
    most = Measurement("ratio", 0.9, goal=1.0)
    assert str(most) == "ratio: 0.9; goal at most 1: met" and most.met
    least = Measurement("pairs", 5.0, "1/s", ">=", 6.0)
    assert str(least) == "pairs: 5 1/s; goal at least 6: MISSED"
    assert least.row()["met"] is False
    assert Measurement("time", 2.0, "s").met is None
    assert Measurement("pairs", 2, "", ">=", 2.0).met


@dataclass(frozen=True)
class Config:
    count: int = 2


def measure_counts(config, report):
    report("Counting", config.count, config.count)
    return {"counts": list(range(config.count))}


BENCHMARK = benchmark(
    "counting",
    "Counts.",
    {"bundled": Config(), "smoke": Config(1)},
    measure_counts,
    lambda config, result: [Measurement("most", max(result["counts"]), goal=0.5)],
)


@pytest.mark.parametrize("name", ["", "other.json"])
def test_benchmark_leaves_one_file_and_measures_anew(tmp_path, name):
    path = tmp_path / (name or "counting.json")
    for scale, text in (("smoke", "met"), ("bundled", "MISSED")):
        result = run_study(BENCHMARK, tmp_path / name, "--overwrite", scale=scale)
        assert result.exit_code == 0 and f"at most 0.5: {text}" in result.output
        assert f"Written: {path}" in result.output
        assert [p for p in tmp_path.iterdir()] == [path]
    document = json.loads(path.read_text())
    assert document["counts"] == [0, 1]
    (row,) = document["measurements"]
    assert (row["value"], row["goal"], row["met"]) == (1, 0.5, False)
    # Another run of the same scale would be other numbers.
    again = run_study(BENCHMARK, tmp_path / name, scale="bundled")
    assert again.exit_code == 2
    assert "exists; --overwrite replaces it" in again.output


def test_parts_are_run_alone_and_what_they_lack_is_not_drawn(tmp_path):
    def run(config, session):
        wanted = session.only or ("one", "two")
        return {part: config.count for part in wanted}

    study = Study(
        name="parts",
        doc="In parts.",
        scales={"bundled": Config(), "smoke": Config(3)},
        run=run,
        rows=lambda result: [{"part": p, "count": n} for p, n in result.items()],
        summary=lambda result: {"parts": len(result), "interval": Number(1, 0.5, 2)},
        findings=lambda result: [Finding("a", "b", (), (Quantity("c", [1]),))],
        figures={"": lambda result: None},
        parts=("one", "two"),
        needs={},
        folder="shared",
    )
    result = run_study(study, tmp_path, "--only", "two", scale="bundled")
    assert result.exit_code == 0 and "1.000 [0.500, 2.000]" in result.output
    assert not (tmp_path / "parts.png").exists()
    document = json.loads((tmp_path / "parts.json").read_text())
    assert document["rows"] == [{"part": "two", "count": 2}]
    assert document["summary"]["interval"] == {"value": 1, "low": 0.5, "high": 2}
    (finding,) = document["findings"]
    assert str(Finding.from_json(finding).ours[0]) == "c 1.000"
    (tmp_path / "parts.png").write_text("of another run")
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        conduct(study, "bundled", Config(), tmp_path)
    assert not (tmp_path / "parts.png").exists()
    document = json.loads((tmp_path / "parts.json").read_text())
    assert len(document["rows"]) == 2
    before = (tmp_path / "parts.json").read_bytes()
    other = run_study(study, tmp_path, scale="smoke")
    assert other.exit_code == 2 and "exists; --overwrite replaces it" in other.output
    assert (tmp_path / "parts.json").read_bytes() == before
    (code,) = tmp_path.glob("steps/*/code.json")
    code.write_text(json.dumps("of an earlier version"))
    for _ in range(2):  # the steps stay what they are
        with pytest.warns(UserWarning, match="by another state of semrsm_jax"):
            conduct(study, "bundled", Config(), tmp_path)
    refused = run_study(study, tmp_path, "--only", "three", scale="bundled")
    assert refused.exit_code == 2 and "one, two" in refused.output
    code.unlink()
    conduct(replace(study, rows=lambda result: []), "bundled", Config(), tmp_path)
    assert not (tmp_path / "parts.csv").exists()
    with pytest.raises(ValueError, match="must not repeat .* got rows, seconds"):
        details = {"rows": 0, "seconds": 0}
        conduct(
            replace(study, details=lambda result: details),
            *("bundled", Config(), tmp_path),
        )


@dataclass(frozen=True)
class WithKernel:
    kernel: Cosine | Linear


def test_a_config_of_another_class_is_another_run(tmp_path):
    configs = {"one": WithKernel(Cosine()), "other": WithKernel(Linear())}
    study = replace(BENCHMARK, scales=configs, run=lambda config, session: {})
    study = replace(study, measurements=lambda config, result: (), resumable=True)
    for _ in range(2):
        conduct(study, "one", configs["one"], tmp_path)
    document = json.loads((tmp_path / "counting.json").read_text())
    assert document["config"] == {"type": "WithKernel", "kernel": {"type": "Cosine"}}
    with pytest.raises(ValueError, match="exists"):
        conduct(study, "one", configs["other"], tmp_path)


@pytest.mark.parametrize("name", ["study.py", "network.safetensors"])
def test_steps_of_other_experiments_or_networks_are_noticed(
    tmp_path, monkeypatch, name
):
    monkeypatch.setattr(experiments, "__file__", str(tmp_path / "code/__init__.py"))
    file, steps = tmp_path / "code" / name, tmp_path / "steps"
    file.parent.mkdir()
    steps.mkdir()
    file.write_text("before")
    compare_code(steps)
    file.write_text("after")
    with pytest.warns(UserWarning, match="the experiments or their trained networks"):
        compare_code(steps)


def test_a_scale_runs_the_questions_that_have_it(tmp_path):
    both = {"bundled": Config(), "large": Config(7)}
    scales = {"one": both, "other": {"bundled": Config()}}
    studies = {
        name: replace(BENCHMARK, name=name, scales=own) for name, own in scales.items()
    }

    def run(*arguments):
        app = questions("all", "Counts.", studies)
        return CliRunner().invoke(app, ["-o", str(tmp_path / "new"), *arguments])

    assert run("--scale", "large").exit_code == 0
    assert [path.name for path in (tmp_path / "new").iterdir()] == ["one.json"]
    refused = run("--scale", "large", "--question", "other")
    assert refused.exit_code == 2 and "--scale must be one of bundled" in refused.output
