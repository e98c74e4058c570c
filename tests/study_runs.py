"""A study run from the command line, and what all of its files must be."""

import csv
import json

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
