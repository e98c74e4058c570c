"""The timing of extraction runs from end to end, tiny; no test looks at a time."""

import dataclasses
import json

import pytest

pytest.importorskip("torch")
pytest.importorskip("transformers")

from typer.testing import CliRunner

from experiments.benchmarks.extraction import SCALES, app

pytestmark = pytest.mark.torch


def test_both_extract_the_same(tmp_path):
    arguments = ["--scale", "smoke", "-o", str(tmp_path)]
    done = CliRunner().invoke(app, arguments, catch_exceptions=False)
    written = json.loads((tmp_path / "extraction.json").read_text())
    config = SCALES["smoke"]
    assert written["config"] == dataclasses.asdict(config)
    result = written["result"]
    assert result["disagreement"] < 1e-4
    tokens = (config.image_size // 16) ** 2 + 1
    assert result["feature_bytes"] == config.images * tokens * config.width * 4
    seconds = result["seconds"]
    assert result["ratio"] == seconds["ours"] / seconds["transformers"] > 0
    assert "goal: at most 1.5" in done.output
    again = CliRunner().invoke(app, arguments)
    assert again.exit_code == 2 and "exists; --overwrite" in again.output
