"""The parts of the runtime study: peers, features, timing, sections, findings."""

import dataclasses
import subprocess
import sys
from contextlib import contextmanager

import numpy as np
import pytest
from class_images import write_noise

from experiments.data.images import draw_files, read_squares
from experiments.frame.session import Session, fingerprint
from experiments.frame.timing import take_turns
from experiments.frame.worker import Outcome
from experiments.runtime import features, findings, sections
from experiments.runtime.config import SCALES, Layer
from experiments.runtime.paper import TABLE_5
from experiments.runtime.peers import PEERS
from semrsm_jax.models import ResNetConfig
from semrsm_jax.plotting import plot_pareto
from semrsm_jax.plotting.style import COLORS

SMOKE = SCALES["smoke"]


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
    assert turns.medians() == {name: turns.median(name) for name in "ab"}


def test_calls_are_warmed_up_before_their_turns():
    order = []
    calls = {name: lambda r, name=name: order.append((name, r)) for name in "ab"}
    turns = take_turns(calls, 1, lambda *report: None, "turns", warm=True)
    assert order == [("a", -1), ("b", -1), ("a", 0), ("b", 0)]
    assert [len(seconds) for seconds in turns.seconds.values()] == [1, 1]


def test_pairs_are_different_samples_each_once(rng):
    x = np.arange(4.0)[:, None, None]
    left, right = features.pairs(x, 6, seed=0)
    drawn = {tuple(sorted(pair)) for pair in zip(left.flat, right.flat, strict=True)}
    assert len(drawn) == 6 and all(i != j for i, j in drawn)
    with pytest.raises(ValueError, match="count"):
        features.pairs(x, 7, seed=0)


@pytest.mark.slow
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


def test_trained_networks_see_the_images_of_the_folder(tmp_path):
    write_noise(tmp_path, (f"{k}.png" for k in range(4)))
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
    extracted = features.compute(config, layers, lambda *at: None)
    assert extracted[layers[0]].shape == extracted[layers[1]].shape == (4, 64, 3)
    files = draw_files(tmp_path, 4, np.random.default_rng(config.seed))
    expected = read_squares(tmp_path, files, 8)
    np.testing.assert_array_equal(np.concatenate(seen[True]), expected)
    np.testing.assert_array_equal(
        np.concatenate(seen[False]), features.images(config, 8)
    )
    with pytest.raises(ValueError, match="--data must name its folder"):
        features.compute(SMOKE, [Layer(160, 0, Colors(True))], lambda *at: None)


def test_plot_pareto_shows_times_in_ms_and_what_is_missing():
    groups = {"ours": {"fast": (0.001, 0.9), "exact": (0.01, 1.0)}, "none": {}}
    groups["peer"] = {"slow": (0.1, 1.0)}
    ax = plot_pareto(groups, title="S = 4")
    lines = {line.get_label(): line for line in ax.lines}
    np.testing.assert_allclose(lines["ours"].get_xdata(), [1, 10])
    np.testing.assert_allclose(lines["ours"].get_ydata(), [10, 0], atol=1e-9)
    # A group without methods keeps its color, so that axes can be compared.
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

    sizes = [size(64, 1.0), size(256, 0.98), size(4096, 0.915)]
    table = {"sizes": sizes, "busy": 0.66}
    claims = list(findings.findings({"table5": table}))
    assert not any("S = 64 " in c.statement for c in claims)
    cheap = [c for c in claims if "cheapest approximation" in c.statement]
    # At most 10 % may be missing at S=256, 8 % at S=4096.
    assert [c.verdict for c in cheap] == ["agrees", "differs"]
    (growth,) = [c for c in claims if "linearly" in c.statement]
    (ours,), (theirs,) = growth.ours[0].values, growth.paper[0].values
    assert (round(ours.value, 2), round(theirs.value, 2)) == (1.0, 1.04)
    (share,) = [c for c in claims if "of its core" in c.statement]
    assert share.ours[0].values[0].value == 66
    assert list(findings.findings({})) == []
    assert TABLE_5["SciPy"][4096].milliseconds == 8750


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
    config = dataclasses.replace(SMOKE, sections=tuple(known))
    with pytest.raises(MemoryError):
        sections.run(config, Session(tmp_path))
    results = sections.run(config, Session(tmp_path))
    alone = sections.run(config, Session(tmp_path, only=("second",)))
    assert alone == {"second": results["second"]}
    assert started == [first, second, second]
    assert [result["answer"] for result in results.values()] == [42, 43]
