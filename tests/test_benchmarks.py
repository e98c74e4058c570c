"""The benchmarks run from end to end, tiny; no test reads a time."""

import importlib
import json
import subprocess
import sys

import pytest
from typer.testing import CliRunner

from experiments.benchmarks import comparison
from experiments.frame.environment import plain


@pytest.fixture
def smoke(tmp_path):
    """Runs a benchmark; gives what it printed and its JSON."""

    def run(name):
        app = importlib.import_module(f"experiments.benchmarks.{name}").app
        folder = tmp_path / "new"
        arguments = ["--scale", "smoke", "-o", str(folder)]
        result = CliRunner().invoke(app, arguments, catch_exceptions=False)
        assert result.exit_code == 0, result.output
        document = json.loads((folder / f"{name}.json").read_text())
        assert document["scale"] == "smoke" and document["measurements"]
        for row in document["measurements"]:
            assert row["name"] in result.output
        return result.output, document

    return run


@pytest.mark.slow
def test_comparison_agrees_with_its_peers(smoke):
    text, document = smoke("comparison")
    sections = document["sections"]
    assert sections["matrix"]["disagreement"] < 1e-4
    assert sections["stream"]["disagreement"] < 1e-5
    assert sections["stream"]["peak_bytes"] > 2**26
    # Tiny sizes have no goals; those of the bundled scale have four.
    assert "goal" not in text
    rows = comparison.measurements(comparison.SCALES["bundled"], document)
    assert sum(row.goal is not None for row in rows) == 4


@pytest.mark.torch
def test_extraction_gives_the_tokens_of_transformers(smoke):
    pytest.importorskip("torch")
    pytest.importorskip("transformers")
    from experiments.benchmarks.extraction import SCALES

    text, written = smoke("extraction")
    config = SCALES["smoke"]
    assert written["config"] == plain(config)
    assert written["disagreement"] < 1e-4
    tokens = (config.image_size // 16) ** 2 + 1
    assert written["feature_bytes"] == config.images * tokens * config.width * 4
    seconds = written["median_seconds"]
    assert written["ratio"] == seconds["ours"] / seconds["transformers"] > 0
    assert "goal at most 1.5" in text


@pytest.mark.torch
def test_layers_agree_with_their_peer(smoke):
    pytest.importorskip("torch")
    pytest.importorskip("cka")
    written = smoke("layers")[1]
    assert written["disagreement"] < 1e-4 < written["batches"]
    assert written["errors"]["ours"] < 1e-5
    seconds = written["median_seconds"]
    assert written["ratio"] == seconds["ours"] / seconds["peer"] > 0


@pytest.mark.long
def test_large_analysis_measures_each_analysis(smoke):
    rows = smoke("large_analysis")[1]["results"]
    names = ["pearson", "pearson_and_spearman", "neighbors"]
    assert [row["analysis"] for row in rows] == names
    assert rows[0]["pearson"] == rows[1]["pearson"]
    assert rows[1]["pairs"] == 600 * 599 // 2
    assert all(row["anonymous_peak_bytes"] >= 0 for row in rows)


@pytest.mark.slow
def test_pruning_compares_both_ways(smoke):
    text, document = smoke("pruning")
    results = document["results"]
    assert "neighbors are equal: 1" in text and "goal" not in text
    assert [row["kernel"] for row in results] == ["Linear", "Cosine"]
    assert all(row["equal"] and 0 < row["solved_share"] <= 1 for row in results)


@pytest.mark.long
def test_soft_memory_measures_both_directions(smoke):
    document = smoke("soft_memory")[1]
    for part in ("forward", "backward"):
        assert document[part]["peak_bytes"] >= document[part]["before_bytes"] > 2**20


@pytest.mark.long
def test_soft_runtime_solves_the_same_problems_as_ott(smoke):
    rows = smoke("soft_runtime")[1]["results"]
    assert [row["differentiated"] for row in rows] == ["value", "reg_ot_cost"]
    for row in rows:
        ours, ott = row["quality"]["ours"], row["quality"]["ott"]
        for quality in (ours, ott):
            assert quality["largest_marginal_error"] <= 1.01 * row["tolerance"]
        assert abs(ours["mean_epsilon"] / ott["mean_epsilon"] - 1) < 1e-3
        assert row["relative_difference_of_values"] < 0.02
        assert row["ratio"] > 0


def run(module, *arguments):
    command = [sys.executable, "-m", module, *arguments]
    return subprocess.run(command, check=True, capture_output=True, text=True)


@pytest.mark.slow
def test_all_benchmarks_are_listed():
    listed = run("experiments.benchmarks").stdout
    assert "experiments.benchmarks.pruning" in listed and "engine" in listed


@pytest.mark.long
def test_engine_runs_as_a_command(tmp_path):
    arguments = ("--scale", "smoke", "-o", str(tmp_path / "figures.json"))
    text = run("experiments.benchmarks.engine", *arguments).stdout
    for part in ("run / rsm", "search / rsm", "cluster S=16", "memory", "cost"):
        assert part in text
    document = json.loads((tmp_path / "figures.json").read_text())
    assert set(document["overhead"][0]["ratios"]) == {"run", "search"}
    assert document["memory"]["peak_bytes"]["12"] > 2**20


@pytest.mark.long
def test_the_device_benchmark_counts_what_the_solver_does(smoke):
    _, document = smoke("device")
    for size in document["sizes"]:
        assert 0 < size["steps"]["median"] <= size["steps"]["most"]
        assert size["kernels_of_a_round"] > 1
        assert set(size["seconds"]) >= {"device", "host"}
