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

from experiments.data.images import draw_files, read_squares
from experiments.frame.measurement import Measurement
from experiments.frame.session import Session, fingerprint
from experiments.frame.timing import take_turns
from experiments.frame.worker import Outcome
from experiments.runtime import adversarial, features, findings, sections, tables
from experiments.runtime.__main__ import app
from experiments.runtime.config import SCALES, Layer
from experiments.runtime.paper import TABLE_5
from experiments.runtime.peers import PEERS
from experiments.runtime.sections import SECTIONS
from semrsm_jax import Identity, rsm
from semrsm_jax.models import ResNetConfig
from semrsm_jax.plotting import plot_pareto
from semrsm_jax.plotting.style import COLORS

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
def test_unknown_names_are_refused_with_the_known_ones(arguments, message, tmp_path):
    result = run(*arguments, "-o", tmp_path)
    assert result.exit_code == 2
    assert message in result.output
    assert list(tmp_path.iterdir()) == []


def test_help_says_how_to_run_it_and_what_to_expect():
    text = run("--help").output
    for part in ("--scale", "--only", "--overwrite", "Expected"):
        assert part in text


@pytest.mark.parametrize("name", PEERS)
def test_peers_find_the_optimum(name, rng):
    affinity = rng.normal(size=(12, 12)).astype(np.float32)
    rows = np.arange(12)
    best = affinity[rows, PEERS["SciPy"](affinity)].sum()
    assert affinity[rows, PEERS[name](affinity)].sum() == pytest.approx(best, rel=1e-5)
    assert sorted(PEERS[name](np.full((4, 4), 3.0, np.float32))) == [0, 1, 2, 3]


def test_calls_take_turns():
    order = []
    calls = {name: lambda r, name=name: order.append((name, r)) for name in "ab"}
    turns = take_turns(calls, 2, lambda *report: None, "turns")
    assert order == [("a", 0), ("b", 0), ("a", 1), ("b", 1)]
    assert len(turns.seconds["a"]) == 2


def test_adversarial_families_are_square_and_finite(rng):
    families = adversarial.families(16, rng.random((2, 20, 3)))
    for name, make in families.items():
        matrix = np.asarray(make(rng))
        assert matrix.shape == (16, 16) and np.isfinite(matrix).all(), name


def test_pairs_are_different_samples_each_once(rng):
    x = np.arange(4.0)[:, None, None]
    left, right = features.pairs(x, 6, seed=0)
    drawn = {tuple(sorted(pair)) for pair in zip(left.flat, right.flat, strict=True)}
    assert len(drawn) == 6 and all(i != j for i, j in drawn)
    with pytest.raises(ValueError, match="count"):
        features.pairs(x, 7, seed=0)


def test_configs_are_the_same_in_every_process():
    code = (
        "from experiments.runtime.config import SCALES;"
        "from experiments.frame.session import fingerprint;"
        "from semrsm_jax.models import ResNetConfig;"  # holds a function
        "print([fingerprint(x) for x in (*SCALES.values(), ResNetConfig(18))])"
    )
    done = subprocess.run([sys.executable, "-c", code], check=True, capture_output=True)
    here = [fingerprint(config) for config in (*SCALES.values(), ResNetConfig(18))]
    assert done.stdout.decode() == f"{here}\n"


def test_trained_networks_see_the_images_of_the_folder(tmp_path, rng):
    from PIL import Image

    for k in range(4):
        pixels = rng.integers(0, 255, (20, 30, 3), np.uint8)
        Image.fromarray(pixels).save(tmp_path / f"{k}.png")
    seen = {}

    @dataclasses.dataclass(frozen=True)
    class Colors:
        trained: bool
        layers: tuple[str, ...] = ("pixels",)

        def open(self, images):
            def tokens(pictures):
                seen.setdefault(self.trained, []).append(pictures)
                return {"pixels": pictures.reshape(len(pictures), -1, 3)}

            return tokens

    config = dataclasses.replace(SMOKE, data=tmp_path)
    layers = [Layer(8, 0, Colors(trained)) for trained in (True, False)]
    found = features.compute(config, layers, lambda *at: None)
    assert found[layers[0]].shape == found[layers[1]].shape == (4, 64, 3)
    files = draw_files(tmp_path, 4, np.random.default_rng(config.seed))
    expected = read_squares(tmp_path, files, 8)
    np.testing.assert_array_equal(np.concatenate(seen[True]), expected)
    np.testing.assert_array_equal(
        np.concatenate(seen[False]), features.images(config, 8)
    )


def test_plot_pareto_shows_times_in_ms_and_what_is_missing():
    groups = {"ours": {"fast": (0.001, 0.9), "exact": (0.01, 1.0)}, "none": {}}
    groups["peer"] = {"slow": (0.1, 1.0)}
    ax = plot_pareto(groups, title="S = 4")
    lines = {line.get_label(): line for line in ax.lines}
    np.testing.assert_allclose(lines["ours"].get_xdata(), [1, 10])
    np.testing.assert_allclose(lines["ours"].get_ydata(), [10, 0], atol=1e-9)
    # A group without methods keeps its colour, so that axes can be compared.
    assert lines["peer"].get_color() == COLORS[2]
    front = ax.lines[0]
    np.testing.assert_allclose(front.get_xdata(), [1, 10])
    assert {text.get_text() for text in ax.texts} == {"fast", "exact", "slow"}
    assert ax.get_ylim()[0] > ax.get_ylim()[1]
    assert ax.get_title() == "S = 4" and ax.get_legend() is not None


def test_plot_pareto_keeps_labels_apart():
    methods = {f"method {k}": (0.01, 0.9) for k in range(4)}
    ax = plot_pareto({"same": methods})
    offsets = [text.xyann[1] for text in ax.texts]
    gaps = np.diff(sorted(offsets))
    assert gaps.min() > 5


@pytest.mark.parametrize(
    "groups, message",
    [
        ({}, "at least one method"),
        ({"a": {}}, "at least one method"),
        ({"a": {"b": (0.0, 0.5)}}, "time above 0"),
        ({"a": {"b": (1.0, np.nan)}}, "finite quality"),
        ({str(k): {"b": (1.0, 0.5)} for k in range(7)}, "at most 6"),
    ],
)
def test_plot_pareto_names_what_it_cannot_draw(groups, message):
    with pytest.raises(ValueError, match=message):
        plot_pareto(groups)


@pytest.mark.slow
def test_the_engines_benchmark_runs_at_its_smallest(tmp_path):
    command = [
        sys.executable,
        "-m",
        "experiments.benchmarks.engine",
        "--scale",
        "smoke",
    ]
    done = subprocess.run(
        [*command, "--scale", "smoke", "-o", tmp_path],
        check=True,
        capture_output=True,
        text=True,
    )
    for part in ("overhead S=16", "cluster S=16", "memory", "cost"):
        assert part in done.stdout
    found = json.loads((tmp_path / "engine.json").read_text())
    assert found["overhead"][0]["pairs"] == 28
    assert found["memory"]["peak_bytes"]["12"] > 2**20
