"""The benchmark of the pruned search runs from end to end, tiny."""

import json
import subprocess
import sys

import pytest

pytest.importorskip("skimage")


@pytest.mark.slow
def test_smoke_compares_both_ways(tmp_path):
    output = tmp_path / "new" / "figures.json"
    command = [sys.executable, "-m", "experiments.benchmarks.pruning"]
    done = subprocess.run(
        [*command, "--scale", "smoke", "-o", str(output)],
        capture_output=True,
        text=True,
        check=True,
    )
    assert "neighbours equal" in done.stdout and "goal" not in done.stdout
    results = json.loads(output.read_text())["results"]
    assert [row["kernel"].split("(")[0] for row in results] == [
        "Linear",
        "Cosine",
    ]
    assert all(row["equal"] and 0 < row["solved_share"] <= 1 for row in results)
