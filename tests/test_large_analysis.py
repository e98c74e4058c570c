import json

import pytest
from typer.testing import CliRunner

from experiments.benchmarks.large_analysis import app


@pytest.mark.slow
def test_each_analysis_is_measured(tmp_path):
    arguments = ["--scale", "smoke", "-o", str(tmp_path)]
    CliRunner().invoke(app, arguments, catch_exceptions=False)
    rows = json.loads((tmp_path / "large_analysis.json").read_text())["results"]
    names = ["pearson", "pearson_and_spearman", "neighbors"]
    assert [row["analysis"] for row in rows] == names
    assert rows[0]["pearson"] == rows[1]["pearson"]
    assert rows[1]["pairs"] == 600 * 599 // 2
    assert all(row["anonymous_peak_bytes"] >= 0 for row in rows)
