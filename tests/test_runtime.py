"""The benchmark runs from end to end, tiny; no test looks at a time."""

import csv
import dataclasses
import json
import subprocess
import sys
from contextlib import contextmanager

import numpy as np
import pytest
from typer.testing import CliRunner

pytest.importorskip("lap")
pytest.importorskip("matplotlib")
pytest.importorskip("skimage")

from experiments.frame.measurement import Measurement
from experiments.frame.session import Session
from experiments.frame.worker import Outcome
from experiments.runtime import features, findings, sections, tables
from experiments.runtime.__main__ import app
from experiments.runtime.config import SCALES, Layer
from experiments.runtime.paper import TABLE_5
from experiments.runtime.peers import PEERS
from experiments.runtime.sections import SECTIONS
from semrsm_jax import Identity, rsm

SMOKE = SCALES["smoke"]


def run(*arguments):
    return CliRunner().invoke(app, [*map(str, arguments)])


@pytest.fixture(scope="module")
def smoke(tmp_path_factory):
    folder = tmp_path_factory.mktemp("runtime") / "new"
    result = run("--scale", "smoke", "-o", folder)
    assert result.exit_code == 0, result.output
    return folder, result.stdout


@pytest.fixture(scope="module")
def found(smoke):
    return json.loads((smoke[0] / "runtime.json").read_text())


def test_entry_point_leaves_thread_counts_to_the_workers():
    code = (
        "import sys, experiments.runtime;"
        "print([m for m in ('numpy', 'jax') if m in sys.modules])"
    )
    command = [sys.executable, "-c", code]
    assert subprocess.run(command, check=True, capture_output=True).stdout == b"[]\n"


@pytest.mark.slow
def test_smoke_writes_every_section_with_config_and_environment(found):
    assert list(found["sections"]) == list(SECTIONS)
    assert found["scale"] == "smoke" and found["seconds"] > 0
    assert found["summary"] and found["config"]["depth_samples"] == 3
    environment = found["environment"]
    assert environment["cpu"] and environment["cores"] >= environment["usable_cores"]
    assert {"jax", "numpy", "scipy", "ortools", "lapx"} <= set(environment["versions"])


@pytest.mark.slow
def test_smoke_writes_its_files_and_leaves_nothing_else(smoke, found):
    folder, _ = smoke
    figures = {"runtime.png", "runtime-quality.png", "runtime-isotropy.png"}
    files = {path.name for path in folder.iterdir() if path.is_file()}
    assert files == {"runtime.json", "runtime.csv", *figures}
    for figure in figures:
        assert (folder / figure).read_bytes().startswith(b"\x89PNG")
    with (folder / "runtime.csv").open(newline="") as stream:
        rows = list(csv.DictReader(stream))
    (size,) = found["sections"]["table5"]["sizes"]
    times = {row["method"]: float(row["milliseconds"]) for row in rows}
    assert times["SciPy"] == pytest.approx(1e3 * size["solver_seconds"]["SciPy"])
    assert len(rows) == len(size["solver_seconds"]) + len(size["matchers"])


@pytest.mark.slow
def test_depth_says_what_share_each_pair_reaches(found):
    first, second = found["sections"]["depth"]["layers"]
    assert (first["tokens"], second["tokens"]) == (64, 16)
    config = SMOKE
    names = (Layer(8, 0, SMOKE.depth[0].network), Layer(8, 1, SMOKE.depth[0].network))
    x = features.compute(config, names, lambda *at: None)[names[1]][:3]
    expected = np.asarray(rsm(x, matcher=Identity())) / np.asarray(rsm(x))
    np.testing.assert_allclose(second["relative"], expected, rtol=1e-4)
    share = second["matchers"]["no matching"]
    pairs = expected[np.triu_indices(3, 1)]
    assert share["mean"] == pytest.approx(pairs.mean(), rel=1e-4)
    assert share["low"] < share["mean"] < share["high"] < 1
    # A window of all tokens is exact, and not shown as an approximation.
    assert set(second["matchers"]) == {"no matching", "TopK-Greedy 8"}
    for share in first["matchers"].values():
        assert 0 < share["low"] <= share["mean"] <= share["high"] <= 1 + 1e-6


@pytest.mark.slow
def test_smoke_prints_a_table_a_section(smoke):
    _, text = smoke
    for title in (
        "k/k_opt %, means of 3 pairs",
        "Exact solvers, affinity given",
        "Matchers, from tokens, S=64",
        "Adversarial affinities",
        "Pairs a second by threads",
        "Whole exact RSM",
        "BatchOptimal(16, sweeps=1): exponent",
        "Large",
    ):
        assert title in text
    # Tiny sizes are not held to the goals of large ones.
    assert "Goals" not in text


@pytest.mark.slow
def test_solvers_agree_and_no_matcher_beats_exact(found):
    for size in found["sections"]["table5"]["sizes"]:
        assert set(PEERS) < set(size["solver_seconds"])
        assert size["disagreement"] < 1e-5
        assert size["fastest_peer"] in PEERS
        rows = {row["matcher"]: row for row in size["matchers"]}
        assert rows["Exact"]["quality"] == 1
        assert rows["Exact"]["proven"] > 1 - 1e-5
        for row in rows.values():
            assert row["lowest_quality"] <= row["quality"] <= 1 + 1e-5
            assert row["proven"] <= row["quality"] + 1e-5
    assert found["sections"]["rsm"]["sizes"][0]["disagreement"] < 1e-5


@pytest.mark.slow
def test_every_adversarial_matrix_is_solved(found):
    cases = found["sections"]["adversarial"]["cases"]
    assert len(cases) == 13
    assert [case["family"] for case in cases if not case["optimal"]] == []


@pytest.mark.slow
def test_sections_measure_what_their_goals_are_about(found):
    sections = found["sections"]
    assert sections["threads"]["sizes"][0]["speedup"] > 0
    assert np.isfinite(sections["scaling"]["exponent"])
    quality = [*sections["scaling"]["quality"].values()]
    assert quality == sorted(quality)
    for part in ("pair", "exact", "rsm"):
        large = sections["large"][part]
        assert large["peak_bytes"] > 2**26
        assert 0 <= large["peak_bytes_over_baseline"] < large["peak_bytes"]
    assert 0.5 < sections["large"]["pair"]["proven"] < 1
    for name in ("table5", "adversarial", "scaling"):
        assert 0 < sections[name]["busy"] < 1.5


@pytest.mark.slow
def test_goals_are_those_of_the_sections_that_ran(found):
    config = dataclasses.replace(SMOKE, has_goals=True)
    sections = found["sections"]
    goals = list(findings.measurements(config, sections))
    names = " ".join(str(goal) for goal in goals)
    for part in (
        "SciPy at worst",
        "optimally",
        "OR-Tools",
        "exponent",
        "proven",
        "GiB",
    ):
        assert part in names
    assert list(findings.measurements(SMOKE, sections)) == []
    alone = findings.measurements(config, {"scaling": sections["scaling"]})
    assert [goal.name for goal in alone] == ["exponent of time in S"]
    document = {"sections": sections, "measurements": [goal.row() for goal in goals]}
    *_, last = tables.tables(document)
    assert last.row_count == len(goals)


def test_runtime_stands_beside_the_sizes_of_the_paper():
    def size(tokens, quality):
        names = ("Identity", "BatchOptimal(128)", "Exact")
        matchers = [
            {"matcher": name, "quality": share, "seconds": tokens * 1e-6}
            for name, share in zip(names, (0.7, quality, 1.0), strict=True)
        ]
        return {
            "network": "a, trained",
            "tokens": tokens,
            "matchers": matchers,
            "fastest_peer": "OR-Tools",
            "solver_seconds": {"OR-Tools": 0.07, "ours, batch": 0.003},
        }

    table = {"sizes": [size(64, 1.0), size(256, 0.98), size(4096, 0.915)]}
    claims = list(findings.findings({"table5": table}))
    assert not any("S = 64 " in c.statement for c in claims)
    cheap = [c for c in claims if "cheapest approximation" in c.statement]
    # At most 10 % may be missing at S=256, 8 % at S=4096.
    assert [c.verdict for c in cheap] == ["agrees", "differs"]
    (growth,) = [c for c in claims if "linearly" in c.statement]
    (ours,), (theirs,) = growth.ours[0].values, growth.paper[0].values
    assert (round(ours.value, 2), round(theirs.value, 2)) == (1.0, 1.04)
    assert list(findings.findings({})) == []
    assert TABLE_5["SciPy"][4096].milliseconds == 8750


@pytest.mark.parametrize(
    "relation, value, met", [(">=", 2, True), (">=", 1, False), ("<=", 2.1, False)]
)
def test_a_goal_is_met_on_its_side(relation, value, met):
    assert Measurement("figure", value, "", relation, 2.0).met is met


@pytest.mark.slow
def test_finished_sections_are_not_measured_again(smoke, monkeypatch):
    folder, _ = smoke

    def start(*arguments):
        raise AssertionError("a process was started")

    before = json.loads((folder / "runtime.json").read_text())
    monkeypatch.setattr("experiments.runtime.sections.worker", start)
    result = run("--scale", "smoke", "-o", folder)
    assert result.exit_code == 0, result.output
    after = json.loads((folder / "runtime.json").read_text())
    assert after["sections"] == before["sections"]


def test_sections_before_the_one_that_fails_are_kept(tmp_path, monkeypatch):
    started = []

    @contextmanager
    def here(report, one_core=False):
        def call(function, *arguments):
            started.append(function)
            return Outcome(function(*arguments, report), 1.0, 1.0)

        yield call

    def first(config, features, report):
        return {"answer": 42}

    def second(config, features, report):
        if started.count(second) == 1:
            raise MemoryError
        return {"answer": 43}

    def tasks(function):
        return (sections.Task(function, lambda config: ()),)

    known = {"first": tasks(first), "second": tasks(second)}
    monkeypatch.setattr(sections, "worker", here)
    monkeypatch.setattr(sections, "SECTIONS", known)
    with pytest.raises(MemoryError):
        sections.run(SMOKE, Session(tmp_path))
    results = sections.run(SMOKE, Session(tmp_path))
    alone = sections.run(SMOKE, Session(tmp_path, only=("second",)))
    assert alone == {"second": results["second"]}
    assert started == [first, second, second]
    assert [result["answer"] for result in results.values()] == [42, 43]


@pytest.mark.slow
def test_results_of_another_run_are_kept_without_overwrite(smoke, tmp_path):
    other = tmp_path / "runtime.json"
    document = json.loads((smoke[0] / "runtime.json").read_text())
    other.write_text(json.dumps({**document, "scale": "full"}))
    before = other.read_bytes()
    result = run("--scale", "smoke", "-o", tmp_path)
    assert result.exit_code == 2
    assert "exists; --overwrite replaces it" in result.output
    assert other.read_bytes() == before


@pytest.mark.parametrize(
    "arguments, message",
    [
        (("--only", "tables"), "table5"),
        (("--scale", "huge"), "bundled"),
    ],
)
def test_unknown_names_are_rejected_with_the_known_ones(arguments, message, tmp_path):
    result = run(*arguments, "-o", tmp_path)
    assert result.exit_code == 2
    assert message in result.output
    assert list(tmp_path.iterdir()) == []


def test_help_says_how_to_run_it_and_what_to_expect():
    text = run("--help").output
    for part in ("--scale", "--only", "--overwrite", "Expected"):
        assert part in text
