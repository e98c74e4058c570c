"""semrsm retrieve."""

import csv
import json
from pathlib import Path

import numpy as np
import pytest
from class_images import write_noise
from PIL import Image
from shell import M, N, done, load, refused, run

import semrsm_jax as sj
from semrsm_jax.comparison.inference import paired_test
from semrsm_jax.engine import Features
from semrsm_jax.engine import run as engine_run


def retrieved(*arguments) -> dict:
    """What ``semrsm retrieve`` prints as JSON; it may warn that one side has no ids."""
    code, out, err = run("retrieve", *arguments, "--json")
    assert code == 0
    for line in err.splitlines():
        assert line.startswith("Warning: ") and "taken as they come" in line
    return json.loads(out)


@pytest.fixture
def labels(matrices, rng) -> tuple[np.ndarray, np.ndarray]:
    """Counts q (N, 3) and db (M, 3), with ids and groups, as .csv and as .npz."""
    both = []
    for name, count in (("q", N), ("db", M)):
        counts = rng.integers(0, 3, (count, 3))
        counts[:, 0] += 1
        ids = [f"{name}/{i}.png" for i in range(count)]
        groups = [f"video {i % 3}" for i in range(count)]
        with open(f"{name}.csv", "w", newline="") as stream:
            writer = csv.writer(stream)
            writer.writerow(["cup", "id", "fork, large", "group", "knife"])
            writer.writerows(
                [c[0], i, c[1] or "", g, c[2]]
                for c, i, g in zip(counts.tolist(), ids, groups, strict=True)
            )
        np.savez(f"{name}.npz", counts=counts, ids=ids, groups=np.arange(count) % 3)
        both.append(counts)
    return tuple(both)


def test_retrieve_scores_what_is_nearest(labels):
    q, db = labels
    both = ("--queries", "q.csv", "--database", "db.npz", "--exclude", "none", "--k", 4)
    document = retrieved("d.npy", "e.npy", *both)
    assert (document["queries"], document["database"], document["k"]) == (N, M, 4)
    for name, row in zip("de", document["scores"], strict=True):
        index = sj.nearest(*load(name), 4).index
        scores = sj.scores_at_k(index, q, db)
        np.testing.assert_allclose(row["mean"], scores.mean.mean(0), rtol=1e-6)
        np.testing.assert_allclose(row["best"], scores.best.mean(0), rtol=1e-6)
    iou = retrieved("d.npy", *both, "--score", "iou")
    expected = sj.scores_at_k(sj.nearest(*load("d"), 4).index, q, db, sj.class_iou)
    np.testing.assert_allclose(iou["scores"][0]["best"], expected.best.mean(0), 1e-6)
    _, out, _ = run("retrieve", "d.npy", *both)
    assert f"F1 best  @1 {document['scores'][0]['best'][0]:.4f}" in out


def test_retrieve_excludes_the_group_then_the_query_itself(labels):
    groups = (np.arange(N) % 3, np.arange(M) % 3)
    both = ("--queries", "q.csv", "--database", "db.csv")
    retrieved("d.npy", *both, "--k", 3, "-o", "r.json")
    written = json.loads(Path("r.json").read_text())
    expected = sj.nearest(*load("d"), 3, sj.same_group(*groups))
    assert written["exclude"] == "group"
    assert written["neighbors"]["d.npy"]["index"] == expected.index.tolist()
    similarity = written["neighbors"]["d.npy"]["similarity"]
    np.testing.assert_allclose(similarity, expected.similarity)
    assert len(written["neighbors"]["d.npy"]["best"]) == N
    own = retrieved("a.npy", "--k", 2)
    assert own["exclude"] == "self" and own["scores"] == []
    # Fewer than k may be left: JSON has no NaN.
    done("retrieve", "a.npy", "--k", 9, "-o", "s.json")
    own = json.loads(Path("s.json").read_text())["neighbors"]["a.npy"]
    assert own["index"][0][7:] == [-1, -1] and own["similarity"][0][7:] == [None, None]


def test_retrieve_goes_by_ids_where_there_are_any(labels, rng):
    """A run holds ids: labels in another order, classes too, give the same scores."""
    x = rng.normal(size=(N, 3, 4)).astype(np.float32)
    ids = [f"q/{i}.png" for i in range(N)]
    engine_run(Features(x, ids=ids), store="run.zarr", matcher=sj.Identity())
    rows = list(csv.reader(open("q.csv", newline="")))
    shuffled = [rows[0], *reversed(rows[1:])]
    with open("reversed.csv", "w", newline="") as stream:
        csv.writer(stream).writerows([row[::-1] for row in shuffled])
    K = np.asarray(sj.rsm(x, matcher=sj.Identity()))
    index = sj.nearest(K, 3, sj.same_group(np.arange(N) % 3)).index
    expected = sj.scores_at_k(index, labels[0], labels[0]).mean.mean(0)
    for name in ("q.csv", "reversed.csv"):
        document = retrieved("run.zarr", "--queries", name, "--k", 3)
        np.testing.assert_allclose(document["scores"][0]["mean"], expected, rtol=1e-5)
    message = refused("retrieve", "run.zarr", "--queries", "db.csv")
    assert "8 of 8 are missing, for example 'q/0.png'" in message


@pytest.mark.slow
def test_retrieve_takes_the_results_of_a_search(labels, rng):
    q, db = labels
    x, y = rng.normal(size=(N, 2, 3)), rng.normal(size=(M, 2, 3))
    np.save("x.npy", x.astype(np.float32))
    np.save("y.npy", y.astype(np.float32))
    search = ("search", "x.npy", "y.npy", "-k", 5, "--matcher", "identity")
    done(*search, "-o", "neighbors.npz")
    both = ("--queries", "q.csv", "--database", "db.csv", "--k", 4)
    document = retrieved("neighbors.npz", *both)
    index = sj.nearest(np.einsum("nsc,msc->nm", x, y), 4).index
    expected = sj.scores_at_k(index, q, db).mean.mean(0)
    np.testing.assert_allclose(document["scores"][0]["mean"], expected, rtol=1e-6)
    shown = (document["queries"], document["database"], document["exclude"])
    assert shown == (N, None, None)
    assert f"{N} queries\n" in run("retrieve", "neighbors.npz", *both)[1]
    for arguments, message in (
        (("neighbors.npz", "d.npy"), "cannot be given together"),
        (("neighbors.npz", "neighbors.npz", "--k", 2), "given twice"),
        (("neighbors.npz", "--exclude", "none", "--k", 2), "do not fit results"),
        (("neighbors.npz",), "holds 5 neighbors a query, --k asks for 10"),
        (("neighbors.npz", *both[:2], "--k", 2), "from -1 to 7, the database"),
    ):
        assert message in refused("retrieve", *arguments)


@pytest.mark.slow
def test_retrieve_with_intervals_and_paired_tests(labels):
    both = ("--queries", "q.csv", "--database", "db.csv", "--k", 3)
    arguments = ("d.npy", "e.npy", *both, "--resamples", 20, "--groups", "none")
    document = retrieved(*arguments, "--plot", "s.svg", "--quiet")
    assert Path("s.svg").read_bytes().startswith(b"<?xml")
    groups = np.arange(N) % 3
    rule = sj.same_group(groups, np.arange(M) % 3)
    d, e = (
        np.asarray(sj.scores_at_k(sj.nearest(K, 3, rule).index, *labels).mean)
        for K in load(*"de")
    )
    test = paired_test(e, d, key=0, resamples=20)
    less = document["scores"][1]["mean_less_first"]
    np.testing.assert_allclose(less["p_value"], test.p_value)
    np.testing.assert_allclose(less["difference"], test.difference, atol=1e-6)
    interval = document["scores"][0]["mean_interval"]
    mean = np.array(document["scores"][0]["mean"])
    assert (interval["low"] <= mean).all() and (mean <= interval["high"]).all()
    assert "F1@1 less that of the first" in run("retrieve", *arguments)[1]
    # Three videos are too few to test a difference.
    code, out, err = run("retrieve", *arguments[:-2])
    assert code == 0 and "less that of the first" not in out
    assert "too few to test a difference" in err


@pytest.mark.slow
def test_retrieve_draws_a_gallery(labels):
    for name, count in (("q", N), ("db", M)):
        write_noise(Path("images", name), (f"{i}.png" for i in range(count)))
    both = ("--queries", "q.csv", "--database", "db.csv")
    # By the ids of the labels, below one folder.
    retrieved("d.npy", *both, "--gallery", "g.png", "--images", "images")
    with Image.open("g.png") as figure:
        assert figure.width > figure.height > 300
    # By order, a folder a side, without labels.
    folders = ("--images", "images/db", "--query-images", "images/q")
    done("retrieve", "d.npy", "e.npy", "--gallery", "g.pdf", *folders)
    assert Path("g.pdf").read_bytes().startswith(b"%PDF")
    message = refused("retrieve", "d.npy", "--gallery", "h.png", "--images", "images/q")
    assert "images/q must hold 11 images, one a sample" in message
    np.savez("s.npz", index=[[10]] * N, similarity=np.ones((N, 1)))
    result = ("retrieve", "s.npz", "--k", 1, "--gallery", "h.png")
    message = refused(*result, "--images", "images/q")
    assert "there must be an image for each sample, got 8" in message


FEW = ("--queries", "q.csv", "--database", "few.csv")


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("d.npy", "--database", "db.csv"), "--database needs --queries"),
        (("d.npy", "--resamples", 9), "--resamples needs --queries"),
        (("d.npy", "--plot", "p.png"), "--plot needs --queries"),
        (("d.npy", "--gallery", "p.png"), "--gallery and --images need each other"),
        (("d.npy", "--exclude", "self"), "--exclude self needs a square RSM"),
        (("d.npy", "--exclude", "group"), "--exclude group needs groups"),
        (("d.npy", "--queries", "q.csv"), "must have 11 rows, one for each sample of"),
        (("a.npy", "d.npy"), "must be over the same samples, got 8 x 8 and 8 x 11"),
        (("d.npy", *FEW), "only one has fork, large, knife"),
        (("a.npy", "--queries", "one.csv"), "no query has a neighbor: all are exclud"),
    ],
)
def test_retrieve_refuses(labels, arguments, message):
    Path("few.csv").write_text("cup\n" + "1\n" * M)
    Path("one.csv").write_text("group,cup\n" + "v,1\n" * N)
    assert message in refused("retrieve", *arguments)


def test_results_are_never_overwritten_silently(labels):
    Path("r.json").write_text("mine")
    message = refused("retrieve", "a.npy", "-o", "r.json")
    assert "exists; --overwrite replaces it" in message
    assert Path("r.json").read_text() == "mine"
    done("retrieve", "a.npy", "-o", "r.json", "--overwrite", "--quiet")
    assert json.loads(Path("r.json").read_text())["k"] == 10
