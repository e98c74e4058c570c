"""``semrsm search``: files in, neighbors out, and what is said of bad input."""

import json

import numpy as np
import pytest
from safetensors.numpy import save_file
from typer.testing import CliRunner

from semrsm_jax import Cosine, rsm
from semrsm_jax.cli import app
from semrsm_jax.retrieval import nearest, same_group


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    folder = tmp_path_factory.mktemp("with space é")
    rng = np.random.default_rng(0)
    np.save(folder / "queries.npy", rng.normal(size=(3, 2, 3, 4)).astype("f4"))
    database = rng.normal(size=(9, 6, 4)).astype("f4")
    np.save(folder / "database.npy", database)
    ids = [f"frame {n} ü" for n in range(9)]
    metadata = {"ids": json.dumps(ids)}
    save_file({"a": database, "b": database}, folder / "two.safetensors", metadata)
    (folder / "groups.txt").write_text("\n".join("xyz" + "xxxyyyzzz") + "\n")
    return folder


def run(*arguments):
    return CliRunner().invoke(app, ["search", *map(str, arguments)])


def test_neighbors_are_written_with_what_they_took(folder, tmp_path):
    output = tmp_path / "new" / "n.npz"
    files = folder / "queries.npy", folder / "database.npy"
    result = run(*files, "-k", 4, "--kernel", "cosine", "-o", output)
    assert result.exit_code == 0, result.output
    assert "3 x 9, the best 4" in result.stdout and "27 of 27 pairs" in result.stdout
    queries, database = np.load(files[0]).reshape(3, 6, 4), np.load(files[1])
    wanted = nearest(np.asarray(rsm(queries, database, kernel=Cosine())), 4)
    with np.load(output) as file:
        np.testing.assert_array_equal(file["index"], wanted.index)
        np.testing.assert_allclose(file["similarity"], wanted.similarity, 1e-5, 1e-6)
        metadata = json.loads(str(file["metadata"]))
    assert metadata["kernel"] == "Cosine()" and metadata["solved_share"] == 1.0
    again = run(*files, "-o", output)
    assert again.exit_code == 2 and "--overwrite" in again.stderr


def test_json_names_the_samples_and_groups_are_left_out(folder, tmp_path):
    output, arguments = tmp_path / "n.json", ("--key", "a", "-k", 9, "-q")
    result = run(
        folder / "two.safetensors",
        folder / "two.safetensors",
        *arguments,
        "--exclude",
        "self",
        "-o",
        output,
    )
    assert result.exit_code == 0 and result.stdout == "", result.output
    first, *_ = json.loads(output.read_text())["neighbors"]
    assert first["query"] == "frame 0 ü" and len(first["neighbors"]) == 8
    assert "frame 0 ü" not in [n["sample"] for n in first["neighbors"]]
    files = folder / "queries.npy", folder / "database.npy"
    groups = ("--exclude", folder / "groups.txt", "--all")
    result = run(*files, *groups, "-o", tmp_path / "g.npz")
    assert result.exit_code == 0, result.output
    rule = same_group(np.array([*"xyz"]), np.array([*"xxxyyyzzz"]))
    queries, database = np.load(files[0]).reshape(3, 6, 4), np.load(files[1])
    wanted = nearest(np.asarray(rsm(queries, database)), 5, rule)
    np.testing.assert_array_equal(np.load(tmp_path / "g.npz")["index"], wanted.index)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("queries.npy", "none.npy"), "none.npy does not exist"),
        (("queries.npy", "database.npy", "--exclude", "self"), "got 3 and 9"),
        (("queries.npy", "database.npy", "--exclude", "none.txt"), "cannot be read"),
        (("queries.npy", "queries.npy", "--exclude", "groups.txt"), "got 12"),
        (("queries.npy", "database.npy", "-k", "0"), "k must be at least 1"),
        (("queries.npy", "two.safetensors"), "several arrays"),
        (("queries.npy", "database.npy", "--bandwidth", "1"), "--kernel linear"),
    ],
)
def test_bad_input_ends_with_one_message(folder, tmp_path, arguments, message):
    arguments = [
        folder / a if a[-4:] in (".npy", ".txt") or "." in a else a for a in arguments
    ]
    result = run(*arguments, "-o", tmp_path / "n.npz")
    assert result.exit_code == 2 and message in result.stderr.replace("\n", " ")
    assert not [*tmp_path.iterdir()]


def test_help_teaches(monkeypatch):
    monkeypatch.setenv("COLUMNS", "100")
    text = run("--help").stdout
    for word in ("semrsm search queries.npy", "--exclude", "index (Q, k)", "--all"):
        assert word in text
