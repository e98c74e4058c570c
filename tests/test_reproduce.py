"""All experiments run one after the other, and one page says what they found."""

import json
import subprocess
import sys
from dataclasses import dataclass, replace
from typing import NamedTuple

import numpy as np
import pytest
from study_runs import run_study
from typer.testing import CliRunner

from experiments.frame.finding import Finding, Quantity, Section
from experiments.frame.study import Study
from experiments.reproduce.command import command, folders
from experiments.reproduce.run import STUDIES, Outcome, Plan, remaining
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
            figures={"": self.draw, "second": self.draw, "third": lambda result: None},
            findings=self.findings,
            section=Section(
                title=f"The {name}, tried",
                question=f"What does {name} do?",
                differs={"bundled": "All of it is made up."},
                captions={"": "What it looks like.", "third": "Never drawn."},
                minutes={"bundled": 1.0},
            ),
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

    def findings(self, result):
        total, plus = Quantity("", [sum(result.values)], digits=1), Quantity("plus")
        paper = tuple(Quantity(text) for text in ("1.5", "minus", "not asked"))
        return [
            Finding("totals | agree", "Table 1", paper[:1], (total,), "agrees"),
            Finding("signs", "Fig. 9", paper[1:2], (plus,), "differs", "it is a fake."),
            Finding("new", "", paper[2:], (Quantity("", [4], digits=0),)),
        ]

    def draw(self, result):
        figure = new_figure((1, 1))
        figure.add_subplot()
        return figure


@pytest.fixture
def fakes():
    return Fake("first"), Fake("second")


def by_name(*fakes):
    return {fake.name: fake.study for fake in fakes}


def reproduce(studies, folder, *arguments):
    return CliRunner().invoke(command(studies), ["-o", str(folder), *arguments])


def test_page_sets_ours_beside_the_papers(fakes, tmp_path):
    result = reproduce(by_name(*fakes), tmp_path / "new")
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
    studies = by_name(*fakes)
    result = reproduce(studies, tmp_path)
    assert result.exit_code == 1 and "RuntimeError: part 1" in result.output
    assert "Failed: first; the page says why" in result.output
    page = (tmp_path / "results.md").read_text()
    assert "**This experiment failed**" in page and "part 1 | is\nbroken" in page
    assert "![What it looks like.](second/second.png)" in page
    assert "Traceback" in (tmp_path / "first" / "first-error.txt").read_text()
    assert second.computed == [0, 1, 2]
    # Repaired, only what is missing is computed, and nothing of the error is left.
    first.fails_at = None
    assert reproduce(studies, tmp_path).exit_code == 0
    assert first.computed == [0, 1, 2] and second.computed == [0, 1, 2]
    assert "failed" not in (tmp_path / "results.md").read_text()
    assert not (tmp_path / "first" / "first-error.txt").exists()


def test_study_that_lacks_a_module_or_is_not_judged_is_one_that_fails(fakes, tmp_path):
    def findings(result):
        return {}["missing"]

    first, second = fakes
    first.study = replace(first.study, needs={"missing": "no-such-extra"})
    second.study = replace(second.study, findings=findings)
    result = reproduce(by_name(first, second), tmp_path)
    assert result.exit_code == 1 and "KeyError: 'missing'" in result.output
    message = "ImportError: first needs missing: pip install no-such-extra"
    assert message in " ".join(result.output.split())
    page = (tmp_path / "results.md").read_text()
    assert page.count("**This experiment failed**") == 2
    assert "## 1. The first, tried" in page and "## 2. The second, tried" in page


def test_interrupted_run_goes_on_and_keeps_its_time(fakes, tmp_path, monkeypatch):
    first, second = fakes
    studies = by_name(*fakes)

    def interrupted(result):
        raise KeyboardInterrupt

    monkeypatch.setitem(second.study.figures, "", interrupted)
    assert reproduce(studies, tmp_path).exit_code == 130
    # The page is that of what was done.
    page = (tmp_path / "results.md").read_text()
    assert "![What it looks like.](first/first.png)" in page and "Not run yet" in page
    monkeypatch.setitem(second.study.figures, "", second.draw)
    assert reproduce(studies, tmp_path).exit_code == 0
    assert first.computed == second.computed == [0, 1, 2]
    seconds = json.loads((tmp_path / "first" / "first.json").read_text())["seconds"]
    assert reproduce(studies, tmp_path).exit_code == 0
    again = json.loads((tmp_path / "first" / "first.json").read_text())["seconds"]
    assert again == seconds


def test_only_some_are_run_and_the_others_are_shown_as_they_are(fakes, tmp_path):
    first, second = fakes
    studies = by_name(*fakes)
    assert reproduce(studies, tmp_path, "--only", "second").exit_code == 0
    assert first.computed == [] and second.computed == [0, 1, 2]
    assert "Not run yet" in (tmp_path / "results.md").read_text()
    assert reproduce(studies, tmp_path, "--only", "first").exit_code == 0
    page = (tmp_path / "results.md").read_text()
    assert "Not run yet" not in page and "second/second.png" in page
    result = reproduce(studies, tmp_path, "--only", "third")
    assert result.exit_code == 2 and "first" in result.output


def test_results_of_another_scale_are_neither_replaced_nor_shown(fakes, tmp_path):
    studies = by_name(*fakes)
    assert reproduce(studies, tmp_path, "--scale", "smoke").exit_code == 0
    result = reproduce(studies, tmp_path)
    assert result.exit_code == 1 and "--overwrite" in result.output
    document = json.loads((tmp_path / "first" / "first.json").read_text())
    assert document["scale"] == "smoke"
    assert reproduce(studies, tmp_path, "--overwrite").exit_code == 0
    result = reproduce(studies, tmp_path, "--scale", "paper")
    assert result.exit_code == 1 and "no scale 'paper'" in result.output


def test_data_reaches_the_experiment_that_it_is_for(tmp_path):
    first, second = Fake("first", data="A folder."), Fake("second")
    studies = by_name(first, second)
    result = reproduce(studies, tmp_path, "--data", "first=some/folder")
    assert result.exit_code == 0, result.output
    assert str(first.seen.data) == "some/folder" and second.seen.data is None
    result = reproduce(studies, tmp_path / "b", "--data", "second=some/folder")
    assert result.exit_code == 1 and "second takes no --data" in result.output


def test_pretrained_scale_has_the_studies_that_know_it_and_takes_one_folder(tmp_path):
    first, second, third = (
        Fake(name, data="A folder." if name != "third" else "")
        for name in ("first", "second", "third")
    )
    for fake in (first, third):
        scales = {**fake.study.scales, "pretrained": Config(parts=1)}
        fake.study = replace(fake.study, scales=scales)
    studies = by_name(first, second, third)
    arguments = ("--scale", "pretrained", "--images", "some/folder")
    result = reproduce(studies, tmp_path, *arguments)
    assert result.exit_code == 0, result.output
    assert str(first.seen.data) == "some/folder" and third.seen.data is None
    assert second.seen is None
    page = (tmp_path / "results.md").read_text()
    assert "The third, tried" in page and "The second, tried" not in page
    # One that is named fails where it has no such scale.
    result = reproduce(studies, tmp_path, *arguments, "--only", "second")
    assert result.exit_code == 1 and "no scale 'pretrained'" in result.output
    result = reproduce(studies, tmp_path, "--images", "some/folder")
    assert result.exit_code == 2 and "--images is for the scale" in result.output


@pytest.mark.parametrize("given", ["first", "first=", "third=folder"])
def test_bad_data_is_refused(given):
    with pytest.raises(ValueError, match="EXPERIMENT=FOLDER|must be one of"):
        folders([given], ["first"])


@pytest.mark.parametrize(
    ("name", "scale", "text"),
    [
        ("translation", "paper", "*.JPEG"),
        ("retrieval", "paper", "EgoObjectsV1_unified_eval.json"),
        ("retrieval", "paper-cityscapes", "gtFine/val"),
        ("output_correlation", "paper", "ILSVRC2012_val_"),
        ("output_correlation", "paper-table4", "image-net.org"),
        ("cka", "paper", "https://www.cs.toronto.edu/~kriz/"),
    ],
)
def test_missing_data_say_where_to_get_them_before_a_network_is_fetched(
    name, scale, text, tmp_path, monkeypatch
):
    study = STUDIES[name]
    monkeypatch.setattr("semrsm_jax.models.locate", lambda *_: pytest.fail("fetched"))
    nowhere = ("--data", tmp_path / "no")
    for given, message in (((), "must name its folder"), (nowhere, "does not exist")):
        result = run_study(study, tmp_path / "out", *given, scale=scale)
        assert result.exit_code == 2 and message in result.output
        assert "http" in result.output and text in result.output


@pytest.mark.slow
def test_studies_are_imported_without_what_they_need():
    needs = {module for study in STUDIES.values() for module in study.needs}
    missing = dict.fromkeys(needs | {"torch", "threadpoolctl"})
    code = f"import sys; sys.modules |= {missing}; import experiments.reproduce.run"
    subprocess.run([sys.executable, "-c", code], check=True)


def test_time_remaining_follows_the_pace_of_this_machine(fakes, tmp_path):
    plan = Plan(by_name(*fakes), "bundled", tmp_path)
    section = fakes[0].study.section

    def took(seconds):
        return [Outcome("first", section, "first", {}, seconds=seconds)]

    assert remaining(plan, []) == 120
    assert remaining(plan, took(90.0)) == 90
    # Results that existed already show nothing of the pace.
    assert remaining(plan, took(0.5)) == 60
    assert remaining(Plan(by_name(*fakes), "paper", tmp_path), []) is None


def test_studies_are_listed_in_the_help():
    help_text = CliRunner().invoke(command(STUDIES), ["--help"]).output
    for part in ("--only", "--data", "--overwrite", "results.md", *STUDIES):
        assert part in help_text
