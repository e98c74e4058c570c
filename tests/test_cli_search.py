"""``semrsm search``: files in, neighbors out, and what is said of bad input."""

import json

import numpy as np
import pytest
from safetensors.numpy import save_file
from shell import done, refused

from semrsm_jax import Cosine, rsm
from semrsm_jax.retrieval import (
    Neighbors,
    holds_neighbors,
    load_neighbors,
    nearest,
    same_group,
    save_neighbors,
)


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


def test_neighbors_are_written_with_what_they_took(folder, tmp_path):
    output = tmp_path / "new" / "n.npz"
    files = folder / "queries.npy", folder / "database.npy"
    out = done("search", *files, "-k", 4, "--kernel", "cosine", "-o", output)
    assert "3 x 9, the best 4" in out and "27 of 27 pairs" in out
    queries, database = np.load(files[0]).reshape(3, 6, 4), np.load(files[1])
    wanted = nearest(np.asarray(rsm(queries, database, kernel=Cosine())), 4)
    file = load_neighbors(output)
    np.testing.assert_array_equal(file.neighbors.index, wanted.index)
    np.testing.assert_allclose(file.neighbors[1], wanted.similarity, 1e-5, 1e-6)
    assert file.query_ids is None
    assert file.metadata["kernel"] == "Cosine()" and file.metadata["solved_share"] == 1
    assert "--overwrite" in refused("search", *files, "-o", output)


def test_samples_have_their_ids_and_groups_are_left_out(folder, tmp_path):
    arguments = ("search", *[folder / "two.safetensors"] * 2, "--key", "a", "-k", 9)
    arguments += ("-q", "--exclude", "self", "-o")
    assert done(*arguments, tmp_path / "n.json") == ""
    first, *_ = json.loads((tmp_path / "n.json").read_text())["neighbors"]
    assert first["query"] == "frame 0 ü" and len(first["neighbors"]) == 8
    assert "frame 0 ü" not in [n["sample"] for n in first["neighbors"]]
    done(*arguments, tmp_path / "n.npz")
    ids = tuple(f"frame {n} ü" for n in range(9))
    assert load_neighbors(tmp_path / "n.npz")[1:3] == (ids, ids)
    frames = np.load(folder / "database.npy")
    np.savez(tmp_path / "q.npz", a=frames[[4, 2]], ids=[ids[4], ids[2]])
    done("search", tmp_path / "q.npz", *arguments[2:], tmp_path / "q.json")
    rows = json.loads((tmp_path / "q.json").read_text())["neighbors"]
    for row in rows:
        assert row["query"] not in [n["sample"] for n in row["neighbors"]]
    files = folder / "queries.npy", folder / "database.npy"
    groups = ("--exclude", folder / "groups.txt", "--all")
    done("search", *files, *groups, "-o", tmp_path / "g.npz")
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
        (("queries.npy", "two.safetensors"), "several arrays"),
        (("queries.npy", "database.npy", "--bandwidth", "1"), "--kernel linear"),
    ],
)
def test_bad_input_ends_with_one_message(folder, tmp_path, arguments, message):
    paths = [folder / a if "." in a else a for a in arguments]
    assert message in refused("search", *paths, "-o", tmp_path / "n.npz")
    assert not [*tmp_path.iterdir()]


ONE = {"index": [[1]], "similarity": [[1.0]]}


@pytest.mark.parametrize(
    ("arrays", "message"),
    [
        ({"x": np.ones(2)}, "must hold the arrays 'index' and 'similarity'"),
        ({"index": [[0.5]], "similarity": [[1.0]]}, "an index .Q, k. of integers"),
        ({"index": [[1]], "similarity": [1.0]}, "of the shape of its index"),
        ({**ONE, "query_ids": [*"ab"]}, r"query_ids \(1,\) as text"),
        (b"PK\x03\x04", "n.npz is truncated or damaged"),
        (b"\x93NUMPY", "n.npz is not a .npz file but a .npy array"),
        (None, "does not exist"),
    ],
)
def test_files_without_neighbors_are_named(tmp_path, arrays, message):
    path = tmp_path / "n.npz"
    if isinstance(arrays, bytes):
        path.write_bytes(arrays)
        with pytest.raises(ValueError, match=message):
            holds_neighbors(path)
    elif arrays is not None:
        np.savez(path, **arrays)
    with pytest.raises(ValueError, match=message):
        load_neighbors(path)


def test_ids_of_neighbors_are_checked(tmp_path):
    neighbors = Neighbors(*map(np.array, ONE.values()))
    with pytest.raises(ValueError, match="query_ids must name 1 samples, got 2"):
        save_neighbors(tmp_path / "n.npz", neighbors, query_ids=["a", "b"])
    save_neighbors(tmp_path / "n.json", neighbors, database_ids=np.array(["a", "b"]))
    assert '"sample": "b"' in (tmp_path / "n.json").read_text()
