"""The table of algorithms, from which the shell, manifests and reports take theirs."""

import dataclasses
import json
from pathlib import Path

import numpy as np
import pytest
import sybil
from shell import run
from sybil.parsers.markdown import PythonCodeBlockParser

import semrsm_jax as sj
from semrsm_jax.cli import build_app
from semrsm_jax.registry import (
    BASELINES,
    BOUNDS,
    KERNELS,
    MATCHERS,
    MEASURES,
    label,
    rebuild,
)
from semrsm_jax.store.manifest import described

TABLES = (MATCHERS, KERNELS, BOUNDS, BASELINES, MEASURES)
ENTRIES = {name: e for table in TABLES for name, e in table.items()}
REQUIRED = {"circular-shift": {"grid": (2, 3)}}
EXTENDING = Path(__file__).parent.parent / "docs" / "extending.md"


@pytest.mark.parametrize("name", ENTRIES)
def test_every_algorithm_is_described_and_rebuilt(name):
    entry = ENTRIES[name]
    algorithm = entry.cls(**REQUIRED.get(name, {}))
    stored = json.loads(json.dumps(described(algorithm)))
    assert rebuild(stored) == algorithm
    assert label(algorithm).startswith(name)
    assert entry.help.endswith(".")
    fields = [f.name for f in dataclasses.fields(entry.cls)]
    assert [s.name for s in entry.settings] + [*entry.hidden] == sorted(
        fields, key=lambda f: f in entry.hidden
    )
    assert all(setting.help for setting in entry.settings), name


def test_settings_have_types_defaults_and_the_text_of_the_docstring():
    grid, epsilon = MATCHERS["circular-shift"].settings[0], None
    assert (grid.name, grid.types, grid.required) == ("grid", (tuple[int, int],), True)
    for setting in MATCHERS["sinkhorn"].settings:
        epsilon = setting if setting.name == "epsilon" else epsilon
    assert epsilon is not None and epsilon.default is None
    assert epsilon.types == (float,)
    assert epsilon.help.startswith("strength of the entropy, in units of the affinity")
    assert epsilon.help.endswith("OTT's rule.")


def test_labels_hold_what_differs_from_the_defaults():
    assert label(sj.Exact()) == "exact"
    assert label(sj.Sinkhorn(0.5, max_iterations=9)) == (
        "sinkhorn (epsilon 0.5, max iterations 9)"
    )
    assert label(sj.StraightThrough(sj.Greedy())) == "straight-through (forward greedy)"
    assert label(len) == repr(len)


def test_what_is_not_in_the_table_is_not_rebuilt():
    by_hand = {"name": "ByHand"}
    part = {"name": "StraightThrough", "forward": by_hand}
    for description in (None, {}, by_hand, part, {"name": "f", "repr": "<f>"}):
        assert rebuild(description) is None
    with pytest.raises(TypeError, match="unexpected keyword"):
        rebuild({"name": "Exact", "speed": 3})


@pytest.fixture
def tables(monkeypatch):
    """Tables that a test may extend."""
    for table in (MATCHERS, KERNELS):
        for name in table:
            monkeypatch.setitem(table, name, table[name])  # restores the order too
    before = {id(table): set(table) for table in (MATCHERS, KERNELS)}
    yield
    for table in (MATCHERS, KERNELS):
        for name in set(table) - before[id(table)]:
            del table[name]


@pytest.mark.slow
def test_the_documented_matcher_and_kernel_work_everywhere(
    tables, tmp_path, monkeypatch
):
    monkeypatch.chdir(tmp_path)
    parsed = sybil.Sybil([PythonCodeBlockParser()]).parse(EXTENDING)
    blocks = [e for e in parsed.examples() if "flax" not in str(e.parsed)]
    for block in blocks:
        block.evaluate()
    assert {"by-norm", "laplace"} <= set(MATCHERS) | set(KERNELS)
    # What the page wrote: the matching, the run and the report of it.
    by_norm = parsed.namespace["ByNorm"]()
    program = build_app()
    match = ("match", "x.npy", "x.npy", "--i", 0, "--j", 1, "--matcher", "by-norm")
    code, out, _ = run(*match, "--json", app=program)
    assert code == 0
    x = np.load("x.npy")
    expected = sj.match(x[0], x[1], matcher=by_norm)
    assert json.loads(out)["permutation"] == np.asarray(expected.permutation).tolist()
    shown = run("rsm", "--help", app=program)[1].replace("│", " ")
    assert "by-norm: Pairs the tokens of two" in " ".join(shown.split())
    kernel = ("--kernel", "laplace", "--scale", 10, "--matcher", "identity")
    assert run("rsm", "x.npy", "-o", "k.npy", *kernel, app=program)[0] == 0
    laplace = parsed.namespace["Laplace"](10.0)
    rsm = sj.rsm(x, matcher=sj.Identity(), kernel=laplace)
    np.testing.assert_array_equal(np.load("k.npy"), rsm)
    assert label(laplace) == "laplace (scale 10.0)"
    page = Path("report.html").read_text(encoding="utf-8")
    assert '"by-norm"' in page
