"""The benchmark of soft matching: it runs, and both solvers solve the same problem."""

import json

import pytest
from typer.testing import CliRunner


@pytest.mark.slow
def test_both_solve_the_same_problems(tmp_path):
    pytest.importorskip("skimage")
    from experiments.benchmarks.soft_runtime import app

    path = tmp_path / "found.json"
    arguments = ["--scale", "smoke", "-o", str(path)]
    result = CliRunner().invoke(app, arguments, catch_exceptions=False)
    assert result.exit_code == 0
    found = json.loads(path.read_text())
    assert [row["differentiated"] for row in found["results"]] == [
        "value",
        "reg_ot_cost",
    ]
    for row in found["results"]:
        ours, ott = row["quality"]["ours"], row["quality"]["ott"]
        for quality in (ours, ott):
            assert quality["largest_marginal_error"] <= 1.01 * row["tolerance"]
        assert abs(ours["mean_epsilon"] / ott["mean_epsilon"] - 1) < 1e-3
        assert row["relative_difference_of_values"] < 0.02
        assert row["ratio"] > 0
    assert CliRunner().invoke(app, arguments).exit_code == 2
