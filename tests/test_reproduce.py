"""All experiments run one after the other, and one page says what they found."""

import json
import subprocess
import sys
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
import pytest
from typer.testing import CliRunner

pytest.importorskip("matplotlib")

from experiments._common.study import Study
from experiments._reproduce import paper
from experiments._reproduce.cli import command, folders
from experiments._reproduce.entries import (
    ENTRIES,
    output_correlation,
)
from experiments._reproduce.entry import Comparison, Entry, FromStudy
from experiments._reproduce.run import Outcome, Plan, remaining
from semrsm_jax.plotting.style import new_figure


@dataclass(frozen=True)
class Config:
    parts: int = 3
    data: str | None = None


class Result(NamedTuple):
    values: list[float]


class Fake:
    """A study of a few steps, which can be made to fail in the middle."""

    def __init__(self, name, data=""):
        self.name, self.fails_at, self.computed, self.seen = name, None, [], None
        self.study = Study(
            name=name,
            doc="A fake.",
            scales={"bundled": Config(), "smoke": Config(parts=2)},
            run=self.run,
            summary=lambda result: {"total": sum(result.values)},
            rows=lambda result: [{"value": value} for value in result.values],
            figures={"": self.draw, "second": self.draw},
            needs={},
            data=data,
        )

    def run(self, config, session):
        self.seen = config

        def part(number):
            def compute():
                if number == self.fails_at:
                    raise RuntimeError(f"part {number} | is\nbroken")
                self.computed.append(number)
                return {"value": np.array(number / 2)}

            session.report("Parts", number, config.parts)
            return float(session.step(f"part-{number}", compute)["value"])

        return Result([part(number) for number in range(config.parts)])

    def draw(self, result):
        figure = new_figure((1, 1))
        figure.add_subplot()
        return figure

    def entry(self, **changes):
        def compare(document):
            total = document["summary"]["total"]
            return [
                Comparison("totals | agree", "1.5", "Table 1", str(total), True),
                Comparison("signs", "minus", "Fig. 9", "plus", False, "it is a fake."),
                Comparison("new", "not asked", "", "4", None),
            ]

        settings = {
            "name": self.name,
            "title": f"The {self.name}, tried",
            "question": f"What does {self.name} do?",
            "load": lambda: FromStudy(self.study),
            "compare": compare,
            "differs": {"bundled": "All of it is made up."},
            "captions": {"": "What it looks like.", "third": "Never drawn."},
            "minutes": {"bundled": 1.0},
        }
        return Entry(**settings | changes)


@pytest.fixture
def fakes():
    return Fake("first"), Fake("second")


def reproduce(entries, folder, *arguments):
    return CliRunner().invoke(command(entries), ["-o", str(folder), *arguments])


def test_page_sets_ours_beside_the_papers(fakes, tmp_path):
    result = reproduce([fake.entry() for fake in fakes], tmp_path / "new")
    assert result.exit_code == 0, result.output
    page = (tmp_path / "new" / "results.md").read_text()
    for text in (
        "[The first, tried](#1-the-first-tried)",
        "## 1. The first, tried",
        "What does second do?",
        "| totals \\| agree | 1.5 | Table 1 | 1.5 | yes |",
        "| signs | minus | Fig. 9 | plus | **no** |",
        "| new | not asked |  | 4 |  |",
        "- signs: it is a fake.",
        "agrees in 1 of 2 findings",
        "All of it is made up.",
        "![What it looks like.](first/first.png)",
        "[first.json](first/first.json)",
        "jax ",
    ):
        assert text in page, text
    # Figures without a caption, or that were not drawn, are not shown.
    assert "first-second.png" not in page and "third" not in page
    assert (tmp_path / "new" / "first" / "first.png").exists()
    # An empty line stands around every table, or it would not be one.
    lines = page.splitlines()
    heads = [k for k, line in enumerate(lines) if line.startswith("| --- ")]
    assert len(heads) == 3 and all(not lines[k - 2] for k in heads)


def test_one_that_fails_does_not_stop_the_others(fakes, tmp_path):
    first, second = fakes
    first.fails_at = 1
    entries = [fake.entry() for fake in fakes]
    result = reproduce(entries, tmp_path)
    assert result.exit_code == 1
    assert "RuntimeError: part 1" in result.output
    assert "Failed: first; the page says why" in result.output
    page = (tmp_path / "results.md").read_text()
    assert "**This experiment failed**" in page and "part 1 | is\nbroken" in page
    assert "![What it looks like.](second/second.png)" in page
    assert "Traceback" in (tmp_path / "first" / "first-error.txt").read_text()
    assert second.computed == [0, 1, 2]
    # Mended, only what is missing is computed, and nothing of the error is left.
    first.fails_at = None
    assert reproduce(entries, tmp_path).exit_code == 0
    assert first.computed == [0, 1, 2] and second.computed == [0, 1, 2]
    assert "failed" not in (tmp_path / "results.md").read_text()
    assert not (tmp_path / "first" / "first-error.txt").exists()


def test_experiment_that_cannot_be_imported_or_compared_is_one_that_fails(
    fakes, tmp_path
):
    def load():
        raise ImportError("no such extra")

    def compare(document):
        return [Comparison("a", "b", "c", document["missing"], True)]

    first, second = fakes
    entries = [first.entry(load=load), second.entry(compare=compare)]
    result = reproduce(entries, tmp_path)
    assert result.exit_code == 1
    assert "ImportError: no such extra" in result.output
    assert "KeyError: 'missing'" in result.output
    assert (tmp_path / "results.md").read_text().count(
        "**This experiment failed**"
    ) == 2


def test_interrupted_run_goes_on_and_keeps_its_time(fakes, tmp_path, monkeypatch):
    first, second = fakes
    entries = [fake.entry() for fake in fakes]

    def interrupted(result):
        raise KeyboardInterrupt

    monkeypatch.setitem(second.study.figures, "", interrupted)
    assert reproduce(entries, tmp_path).exit_code == 130
    # The page is that of what was done.
    page = (tmp_path / "results.md").read_text()
    assert "![What it looks like.](first/first.png)" in page and "Not run yet" in page
    monkeypatch.setitem(second.study.figures, "", second.draw)
    assert reproduce(entries, tmp_path).exit_code == 0
    assert first.computed == second.computed == [0, 1, 2]
    seconds = json.loads((tmp_path / "first" / "first.json").read_text())["seconds"]
    assert reproduce(entries, tmp_path).exit_code == 0
    document = json.loads((tmp_path / "first" / "first.json").read_text())
    assert document["seconds"] == seconds


def test_only_some_are_run_and_the_others_are_shown_as_they_are(fakes, tmp_path):
    first, second = fakes
    entries = [fake.entry() for fake in fakes]
    assert reproduce(entries, tmp_path, "--only", "second").exit_code == 0
    assert first.computed == [] and second.computed == [0, 1, 2]
    assert "Not run yet" in (tmp_path / "results.md").read_text()
    assert reproduce(entries, tmp_path, "--only", "first").exit_code == 0
    page = (tmp_path / "results.md").read_text()
    assert "Not run yet" not in page and "second/second.png" in page
    result = reproduce(entries, tmp_path, "--only", "third")
    assert result.exit_code == 2 and "first" in result.output


def test_results_of_another_scale_are_neither_replaced_nor_shown(fakes, tmp_path):
    entries = [fake.entry() for fake in fakes]
    assert reproduce(entries, tmp_path, "--scale", "smoke").exit_code == 0
    result = reproduce(entries, tmp_path)
    assert result.exit_code == 1 and "--overwrite" in result.output
    assert (
        json.loads((tmp_path / "first" / "first.json").read_text())["scale"] == "smoke"
    )
    assert reproduce(entries, tmp_path, "--overwrite").exit_code == 0
    result = reproduce(entries, tmp_path, "--scale", "paper")
    assert result.exit_code == 1 and "no scale 'paper'" in result.output


def test_data_reaches_the_experiment_that_it_is_for(tmp_path):
    first, second = Fake("first", data="A folder."), Fake("second")
    entries = [first.entry(), second.entry()]
    result = reproduce(entries, tmp_path, "--data", "first=some/folder")
    assert result.exit_code == 0, result.output
    assert str(first.seen.data) == "some/folder" and second.seen.data is None
    result = reproduce(entries, tmp_path / "b", "--data", "second=some/folder")
    assert result.exit_code == 1 and "second takes no data" in result.output


@pytest.mark.parametrize("given", ["first", "first=", "third=folder"])
def test_bad_data_is_refused(given):
    with pytest.raises(ValueError, match="EXPERIMENT=FOLDER|must be one of"):
        folders([given], ["first"])


def test_time_remaining_follows_the_pace_of_this_machine(fakes, tmp_path):
    entries = [fake.entry() for fake in fakes]
    plan = Plan(entries, "bundled", tmp_path)
    assert remaining(plan, []) == 120
    assert remaining(plan, [Outcome(entries[0], {}, seconds=90.0)]) == 90
    # What was there already says nothing of the pace.
    assert remaining(plan, [Outcome(entries[0], {}, seconds=0.5)]) == 60
    assert remaining(Plan(entries, "paper", tmp_path), []) is None


def test_the_papers_tables_are_read_as_they_are_printed():
    clipseg = paper.EGOOBJECTS_F1[5000]["CLIPSeg"]
    assert clipseg["cosine"].gain == pytest.approx(0.555)
    assert paper.CITYSCAPES_IOU["SAM ViT/B32"]["inner product"] == (0.687, 0.677)
    for size, table in paper.EGOOBJECTS_F1.items():
        # The paper: invariance improves every one of them.
        assert all(p.gain > 0 for k in table.values() for p in k.values()), size
    with pytest.raises(TypeError):
        paper.CITYSCAPES_IOU["CLIP"] = {}


def test_outputs_agree_where_most_networks_do():
    def document(better):
        summary, rows = {"networks": 5}, []
        for metric in ("pearson", "spearman"):
            for kernel in paper.KERNELS:
                what = f"{metric.capitalize()}, {kernel}"
                summary |= {
                    f"{what}: networks where matching makes it more negative": better,
                    f"{what}: of these with an interval below 0": 1,
                    f"{what}: networks with an interval above 0": 0,
                }
                row = {"metric": metric, "kernel": kernel}
                rows.append(
                    row | {"spatio_semantic": -0.1, "semantic": -0.2, "pooled": -0.2}
                )
        return {"summary": summary, "rows": rows}

    compare = output_correlation.ENTRY.compare
    most, few = compare(document(3)), compare(document(2))
    # By rank the paper's inner product itself is better in 3 of 7 networks alone.
    assert [c.paper for c in most if not c.agrees] == ["in 3 of 7 networks"]
    assert [c.paper for c in few if c.agrees] == ["in 3 of 7 networks"]


def test_entries_have_names_of_their_own_and_are_found_in_the_help():
    names = [entry.name for entry in ENTRIES]
    assert len(set(names)) == len(names)
    help_text = CliRunner().invoke(command(ENTRIES), ["--help"]).output
    for part in ("--only", "--data", "--overwrite", "results.md", *names):
        assert part in help_text


def test_entry_point_leaves_thread_counts_to_the_workers():
    code = (
        "import sys, experiments.reproduce;"
        "print([m for m in ('numpy', 'jax') if m in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", code], check=True, capture_output=True)
    assert done.stdout == b"[]\n"


@pytest.mark.slow
def test_smoke_of_all_experiments(tmp_path):
    result = reproduce(ENTRIES, tmp_path, "--scale", "smoke")
    assert result.exit_code == 0, result.output
    page = (tmp_path / "results.md").read_text()
    for entry in ENTRIES:
        assert entry.question in page
        assert f"]({entry.place}/{entry.name}.json)" in page
        for end in entry.captions:
            assert f"]({entry.place}/{entry.name}{end and '-' + end}.png)" in page
    assert "Not run yet" not in page
