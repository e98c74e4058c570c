"""A study run from the command line, and what all of its files must be."""

import csv
import json

import pytest
from stored_runs import times
from typer.testing import CliRunner

from experiments.frame.command_line import command

# What figures end in that the scale pretrained alone has.
OTHER_SCALES = ("-efficientnet.png", "-efficientnet-random.png")


def run_study(study, folder, *arguments, scale="smoke"):
    """The result of the command; `folder` is that of the files."""
    return CliRunner().invoke(
        command(study), ["--scale", scale, "-o", str(folder), *map(str, arguments)]
    )


def run_smoke(study, folder):
    """Runs the smoke scale, checks the files, and gives the JSON document."""
    result = run_study(study, folder)
    assert result.exit_code == 0, result.output
    document = json.loads(study.paths(folder)[".json"].read_text())
    check_files(study, folder, document)
    assert all(name in result.stdout for name in document["summary"])
    return document


def check_resumes(monkeypatch, owner, name, stops, run, folder, pattern="c.*"):
    """A run that is interrupted in a function goes on: no file is written again.

    The call is the first of which `stops` is true, given all arguments until then.
    Gives the result, the arguments of all calls of the second run, and what was kept.
    """
    function, calls, kept = getattr(owner, name), [], None

    def noting(*arguments, **options):
        calls.append(arguments)
        if kept is None and stops(calls):
            raise KeyboardInterrupt
        return function(*arguments, **options)

    monkeypatch.setattr(owner, name, noting)
    with pytest.raises(KeyboardInterrupt):
        run()
    calls.clear()
    kept = times(folder, pattern)
    assert kept
    result = run()
    assert kept.items() <= times(folder, pattern).items()
    return result, calls, kept


def check_files(study, folder, document):
    """Checks the numbers, the table and the figures that a smoke run left."""
    paths = study.paths(folder)
    for end in OTHER_SCALES:
        paths.pop(end, None)
    own = {p for p in folder.iterdir() if p.is_file() and p.stem.startswith(study.name)}
    assert own == set(paths.values())
    for end, path in paths.items():
        assert not end.endswith(".png") or path.read_bytes().startswith(b"\x89PNG")
    with paths[".csv"].open(newline="") as stream:
        table = list(csv.DictReader(stream))
    assert len(table) == len(document["rows"]) > 0
    assert list(table[0]) == list(document["rows"][0])
    assert document["scale"] == "smoke" and document["config"]
    assert {"jax", "flax", "numpy"} <= set(document["environment"]["versions"])
    assert document["seconds"] > 0
