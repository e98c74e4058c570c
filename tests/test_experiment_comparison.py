"""The benchmark of comparisons runs from end to end, tiny; no test looks at a time."""

import json

import pytest
from typer.testing import CliRunner

from experiments.benchmarks import comparison


@pytest.fixture(scope="module")
def smoke(tmp_path_factory):
    folder = tmp_path_factory.mktemp("comparison") / "new"
    result = CliRunner().invoke(comparison.app, ["--scale", "smoke", "-o", str(folder)])
    assert result.exit_code == 0, result.output
    return folder, result.output


def test_smoke_writes_both_sections_that_agree_with_their_peers(smoke):
    found = json.loads((smoke[0] / "comparison.json").read_text())
    assert found["scale"] == "smoke"
    sections = found["sections"]
    assert sections["matrix"]["disagreement"] < 1e-4
    assert sections["stream"]["disagreement"] < 1e-5
    assert sections["stream"]["peak_bytes"] > 2**26
    names = [name for name, _, _ in comparison.goals(sections)]
    assert len(names) == 4
    # Tiny sizes are not held to the goals of large ones.
    assert "MISSED" not in smoke[1] and "met" not in smoke[1].split("Written")[0]


def test_existing_output_is_kept_without_overwrite(smoke):
    result = CliRunner().invoke(
        comparison.app, ["--scale", "smoke", "-o", str(smoke[0])]
    )
    assert result.exit_code == 2
    assert "exists; --overwrite replaces it" in result.output
