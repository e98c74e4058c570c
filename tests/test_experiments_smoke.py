"""All experiments at their smallest scale: run once, by the reproduction, and read."""

import csv
import dataclasses
import json

import numpy as np
import pytest
from study_runs import OTHER_SCALES, check_files, run_study
from typer.testing import CliRunner

import semrsm_jax as sj
from experiments.cka.compare import DIFFERENCE, WITHIN
from experiments.frame.conduct import conduct
from experiments.frame.finding import Finding
from experiments.frame.session import Session
from experiments.open_questions import ablation, prior
from experiments.reproduce.command import command
from experiments.reproduce.run import STUDIES
from experiments.retrieval.collection import OTHER_SCENES, SAME_SCENE
from experiments.runtime import features, tables
from experiments.runtime.goals import measurements
from experiments.runtime.peers import PEERS
from experiments.runtime.sections import SECTIONS
from experiments.scenes.compose import SceneConfig, compose
from experiments.trained import zoo
from experiments.trained.networks import NETWORKS

pytestmark = [pytest.mark.slow]

KERNELS = {"cosine": sj.Cosine(), "inner product": sj.Linear(), "RBF": sj.RBF()}
# What the command prints of the runtime study.
TITLES = (
    *("k/k_opt %, means of 3 pairs", "Exact solvers, affinity given"),
    *("Matchers, from tokens, S=64", "Adversarial affinities", "Large"),
    *("Pairs a second by threads", "Whole exact RSM"),
    "BatchOptimal(16, sweeps=1): exponent",
)


@pytest.fixture(scope="module")
def results(tmp_path_factory):
    """The folder of the page and of all results."""
    folder = tmp_path_factory.mktemp("results") / "new"
    arguments = ["-o", str(folder), "--scale", "smoke"]
    result = CliRunner().invoke(command(STUDIES), arguments)
    assert result.exit_code == 0, result.output
    return folder


@pytest.fixture(scope="module")
def of(results):
    """Name of a study -> the study, its folder, and the JSON that it wrote."""

    def load(name):
        study = STUDIES[name]
        folder = results / (study.folder or name)
        return study, folder, json.loads((folder / f"{name}.json").read_text())

    return load


@pytest.fixture(scope="module")
def runtime(of):
    """The sections of the runtime study."""
    return of("runtime")[2]["sections"]


def test_the_page_shows_every_experiment(results, of):
    page = (results / "results.md").read_text()
    for name in STUDIES:
        study, folder, _ = of(name)
        place = f"{folder.name}/{name}"
        assert study.section.question in page
        assert f"]({place}.json)" in page
        for end in study.section.captions:
            if f"-{end}.png" in OTHER_SCALES:
                continue
            assert f"]({place}{end and '-' + end}.png)" in page
    assert "Not run yet" not in page


@pytest.mark.parametrize("name", STUDIES)
def test_a_study_writes_its_files_and_a_second_run_computes_nothing(
    of, name, monkeypatch
):
    study, folder, document = of(name)
    check_files(study, folder, document)
    if name.startswith("open_questions"):
        stored = [Finding.from_json(fields) for fields in document["findings"]]
        assert [each.statement for each in stored] == list(document["summary"])

    def never(*_, **__):
        raise AssertionError("computed again")

    step = Session.step
    monkeypatch.setattr(Session, "step", lambda s, at, compute: step(s, at, never))
    monkeypatch.setattr(Session, "run", never)
    table = (folder / f"{name}.csv").read_bytes()
    result = run_study(study, folder)
    assert result.exit_code == 0, result.output
    for title in TITLES if name == "runtime" else document["summary"]:
        assert title in result.stdout
    assert (folder / f"{name}.csv").read_bytes() == table
    if name == "output_correlation":
        # Another config has steps of its own.
        other = dataclasses.replace(study.scales["smoke"], seed=2)
        with pytest.raises(AssertionError, match="computed again"):
            conduct(study, "smoke", other, folder, overwrite=True)


def test_cka_rows_and_changes(of):
    study, _, document = of("cka")
    assert set(study.figures) == {"", "within", "across"}
    # resnet-10 has 4 layers and vit-2 has 3.
    assert len(document["rows"]) == (16 + 9) * (2 + 3) + (16 + 12) * 3
    change = document["summary"][
        "scenes, resnet-10: change of CKA between layers by matching, mean"
    ]
    values = [
        row["CKA"]
        for row in document["rows"]
        if (row["comparison"], row["network"], row["RSMs"])
        == (WITHIN, "resnet-10", DIFFERENCE)
        and row["layer"] != row["other layer"]
    ]
    assert len(values) == 12 and change == pytest.approx(np.mean(values))


def test_retrieval_takes_no_view_as_query_and_entry(of):
    study, folder, document = of("retrieval")
    assert set(study.figures) == {"", "sizes", "gallery"}
    assert len(document["rows"]) == (3 + 3) * 2 * 2 * 2 * 2
    assert document["config"]["source"]["scene"]["side"] == 64
    config = study.scales["smoke"]
    (steps,) = (folder / "steps").iterdir()
    before = (steps / "scenes.npz").stat().st_mtime_ns
    collection = config.source.collect(config, Session(steps))
    assert (steps / "scenes.npz").stat().st_mtime_ns == before
    assert list(collection.protocols) == [SAME_SCENE, OTHER_SCENES]
    scenes = collection.protocols[OTHER_SCENES]
    drawn = np.concatenate([scenes.queries, scenes.database])
    assert len(drawn) == 6 + 12 and np.bincount(drawn).max() <= config.source.views
    np.testing.assert_array_equal(collection.clusters, scenes.queries)
    every = collection.protocols[SAME_SCENE]
    assert not np.isin(every.queries, every.database).any()
    # Half of an object is seen where it counts, and then some of its pixels are there.
    counts, present = (collection.measures[n].queries for n in ("F1", "IoU"))
    assert (present[counts > 0]).all() and counts.sum() > 0


def test_output_correlation_counts_its_rows(of):
    study, _, document = of("output_correlation")
    assert set(study.figures) == {"", "spearman", "pairs"}
    assert len(document["rows"]) == 2 * 3 * 2
    for metric in ("pearson", "spearman"):
        for kernel in KERNELS:
            what = f"{metric.capitalize()}, {kernel}: networks where matching makes"
            (count,) = (v for k, v in document["summary"].items() if k.startswith(what))
            assert count == sum(
                row["difference"] < 0
                for row in document["rows"]
                if (row["metric"], row["kernel"]) == (metric, kernel)
            )


def test_output_correlation_sees_one_view_of_each_scene(of):
    study, _, document = of("output_correlation")
    config = study.scales["smoke"]
    shown = compose(SceneConfig(), config.samples, 1, config.seed)
    assert len(set(shown.scene.tolist())) == len(shown.images) == config.samples
    network = config.networks[0]
    model, last = zoo.load(network), NETWORKS[network].last
    tokens = zoo.tokens(model, shown.images, (last,))[last]
    logits = zoo.outputs(model, shown.images).name_logits
    right = np.mean(np.argmax(logits, 1) == shown.background)
    own = [row for row in document["rows"] if row["network"] == network]
    fields = {"spatio_semantic": sj.Identity(), "semantic": sj.Exact()}
    assert len(own) == 6
    for row in own:
        assert row["accuracy"] == pytest.approx(right)
        for field, matcher in fields.items():
            K = sj.rsm(sj.center(tokens), None, matcher, KERNELS[row["kernel"]])
            correlation = sj.output_correlation(K, logits, from_logits=True)
            value = getattr(correlation, row["metric"])
            assert row[field] == pytest.approx(value, abs=1e-4)


def test_translation_has_both_networks_trained_and_random(of):
    names = {row["network"] for row in of("translation")[2]["rows"]}
    assert names == {"resnet-10", "resnet-10-random", "vit-2", "vit-2-random"}


def test_place_and_content_are_drawn_apart(of):
    """So that one does not tell the other."""
    study, folder, document = of("open_questions_prior")
    asked = {row["question"]: row for row in document["rows"]}
    cells = study.scales["smoke"].scenes.grid ** 2
    assert asked[prior.WHERE]["chance"] == pytest.approx(1 / cells, abs=0.1)
    assert 0 < asked[prior.WHAT]["chance"] < 0.6
    # A study that was stopped resumes at the placement of a network.
    steps = {path.stem for path in folder.rglob("steps/*prior*/*/*.npz")}
    assert steps == {"cell", "class"}


def test_windows_have_shares_and_a_bandwidth_orders_no_images(of):
    for row in of("open_questions_windows")[2]["rows"]:
        assert 0 < row["value ratio, low"] <= row["value / exact value"] <= 1 + 1e-6
        assert row["time / exact time"] > 0
    by_kernel = {
        row["kernel"]: row["F1@1, semantic"]
        for row in of("open_questions_ablation")[2]["rows"]
        if (row["centering"], row["normalization"]) == ablation.DEFAULT
    }
    assert by_kernel["RBF, 0.5 x median"] == by_kernel["RBF, 2 x median"]


# The sections of the runtime study; no test looks at a time.


def test_runtime_writes_every_section_and_its_table(of, runtime):
    _, folder, document = of("runtime")
    assert list(runtime) == list(SECTIONS)
    assert document["config"]["depth_samples"] == 3
    environment = document["environment"]
    assert environment["cpu"] and environment["cores"] >= environment["usable_cores"]
    assert {"jax", "numpy", "scipy", "ortools", "lapx"} <= set(environment["versions"])
    with (folder / "runtime.csv").open(newline="") as stream:
        rows = list(csv.DictReader(stream))
    (size,) = runtime["table5"]["sizes"]
    times = {row["method"]: float(row["milliseconds"]) for row in rows}
    assert times["SciPy"] == pytest.approx(1e3 * size["solver_seconds"]["SciPy"])
    assert len(rows) == len(size["solver_seconds"]) + len(size["matchers"])


def test_depth_says_what_share_each_pair_reaches(of, runtime):
    first, second = runtime["depth"]["layers"]
    assert (first["tokens"], second["tokens"]) == (64, 16)
    config = of("runtime")[0].scales["smoke"]
    x = features.compute(config, config.depth, lambda *at: None)[config.depth[1]][:3]
    expected = np.asarray(sj.rsm(x, matcher=sj.Identity())) / np.asarray(sj.rsm(x))
    np.testing.assert_allclose(second["relative"], expected, rtol=1e-4)
    share = second["matchers"]["no matching"]
    pairs = expected[np.triu_indices(3, 1)]
    assert share["mean"] == pytest.approx(pairs.mean(), rel=1e-4)
    assert share["low"] < share["mean"] < share["high"] < 1
    # A window of all tokens is exact, and not shown as an approximation.
    assert set(second["matchers"]) == {"no matching", "TopK-Greedy 8"}
    for share in first["matchers"].values():
        assert 0 < share["low"] <= share["mean"] <= share["high"] <= 1 + 1e-6


def test_solvers_agree_and_no_matcher_beats_exact(runtime):
    for size in runtime["table5"]["sizes"]:
        assert set(PEERS) < set(size["solver_seconds"])
        assert size["disagreement"] < 1e-5
        assert size["fastest_peer"] in PEERS
        rows = {row["matcher"]: row for row in size["matchers"]}
        assert rows["Exact"]["quality"] == 1
        assert rows["Exact"]["proven"] > 1 - 1e-5
        for row in rows.values():
            assert row["lowest_quality"] <= row["quality"] <= 1 + 1e-5
            assert row["proven"] <= row["quality"] + 1e-5
    assert runtime["rsm"]["sizes"][0]["disagreement"] < 1e-5
    cases = runtime["adversarial"]["cases"]
    assert len(cases) == 16
    assert [case["family"] for case in cases if not case["optimal"]] == []


def test_sections_measure_what_their_goals_are_about(runtime):
    assert runtime["threads"]["sizes"][0]["speedup"] > 0
    assert np.isfinite(runtime["scaling"]["exponent"])
    quality = [*runtime["scaling"]["quality"].values()]
    assert quality == sorted(quality)
    for part in ("pair", "exact", "rsm"):
        large = runtime["large"][part]
        assert large["peak_bytes"] > 2**26
        assert 0 <= large["peak_bytes_over_baseline"] < large["peak_bytes"]
    assert 0.5 < runtime["large"]["pair"]["proven"] < 1
    for name in ("table5", "adversarial", "scaling"):
        assert 0 < runtime[name]["busy"] < 1.5


def test_goals_are_those_of_the_sections_that_ran(of, runtime):
    smoke = of("runtime")[0].scales["smoke"]
    config = dataclasses.replace(smoke, has_goals=True)
    goals = list(measurements(config, runtime))
    names = " ".join(str(goal) for goal in goals)
    parts = "SciPy at worst, optimally, OR-Tools, exponent, proven, GiB"
    assert all(part in names for part in parts.split(", "))
    # Tiny sizes are not held to the goals of large ones.
    assert list(measurements(smoke, runtime)) == []
    alone = measurements(config, {"scaling": runtime["scaling"]})
    assert [goal.name for goal in alone] == ["exponent of time in S"]
    document = {"sections": runtime, "measurements": [goal.row() for goal in goals]}
    *_, last = tables.tables(document)
    assert last.row_count == len(goals)
