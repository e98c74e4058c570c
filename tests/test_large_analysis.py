import json
import subprocess
import sys

import pytest


@pytest.mark.slow
def test_each_analysis_is_measured():
    command = [sys.executable, "-m", "experiments.large_analysis"]
    done = subprocess.run(
        [*command, "--samples", "600", "--classes", "3"],
        check=True,
        capture_output=True,
        text=True,
    )
    rows = [json.loads(line) for line in done.stdout.splitlines()]
    names = ["pearson", "pearson_and_spearman", "neighbors"]
    assert [row["analysis"] for row in rows] == names
    assert rows[0]["pearson"] == rows[1]["pearson"]
    assert rows[1]["pairs"] == 600 * 599 // 2
    assert all(row["anonymous peak, MB"] >= 0 for row in rows)
