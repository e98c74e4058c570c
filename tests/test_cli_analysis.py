"""semrsm compare, correlate and retrieve."""

import csv
import json
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from shell import as_json, done, refused, run

import semrsm_jax as sj
from semrsm_jax.comparison.inference import (
    CKA,
    RSA,
    bootstrap_interval,
    difference_test,
    holm,
    paired_test,
    permutation_test,
)
from semrsm_jax.engine import Features
from semrsm_jax.engine import run as engine_run
from semrsm_jax.store import save_rsm

N, M = 8, 11


def retrieved(*arguments) -> dict:
    """What ``semrsm retrieve`` prints as JSON; it may warn that one side has no ids."""
    code, out, err = run("retrieve", *arguments, "--json")
    assert code == 0
    for line in err.splitlines():
        assert line.startswith("Warning: ") and "taken as they come" in line
    return json.loads(out)


@pytest.fixture
def folder(tmp_path, monkeypatch, rng) -> Path:
    """Square RSMs a, b, c of one set, and d and e (N, M) between two."""
    monkeypatch.chdir(tmp_path)
    for name in "abc":
        z = rng.normal(size=(N, 5))
        np.save(f"{name}.npy", (z @ z.T).astype(np.float32))
    for name in "de":
        np.save(f"{name}.npy", rng.normal(size=(N, M)))
    return tmp_path


def load(*names):
    return [np.load(f"{name}.npy") for name in names]


# compare


@pytest.mark.parametrize("estimator", ["biased", "unbiased"])
def test_compare_gives_the_matrix_of_each_with_each(folder, estimator):
    arguments = ("compare", "a.npy", "b.npy", "c.npy", "--estimator", estimator)
    found = as_json(*arguments)
    assert found["rsms"] == ["a.npy", "b.npy", "c.npy"]
    assert (found["method"], found["estimator"]) == ("cka", estimator)
    assert found["samples"] == N and found["pairs"] == []
    expected = sj.cka_matrix(load(*"abc"), estimator=estimator)
    np.testing.assert_array_equal(found["matrix"], expected)
    out = done(*arguments)
    assert f"CKA ({estimator}) over {N} samples" in out
    assert f"{expected[0, 1]:.4f}" in out and "b.npy" in out


@pytest.mark.parametrize("method", ["hsic", "spearman", "kendall-tau-a"])
def test_compare_by_other_measures(folder, method):
    a, b = load(*"ab")
    expected = {
        "hsic": lambda: sj.hsic(a, b),
        "spearman": lambda: sj.rsa(a, b, "spearman"),
        "kendall-tau-a": lambda: sj.rsa(a, b, "kendall_tau_a"),
    }[method]()
    found = as_json("compare", "a.npy", "b.npy", "--method", method)
    assert found["matrix"][0][1] == pytest.approx(float(expected), rel=1e-5)
    assert found["matrix"][0][1] == found["matrix"][1][0]


def test_compare_with_intervals_and_p_values(folder):
    options = ("--bootstrap", 20, "--permutations", 19, "--seed", 3)
    found = as_json(
        "compare", "a.npy", "b.npy", "c.npy", "--method", "pearson", *options
    )
    assert [(row["a"], row["b"]) for row in found["pairs"]] == [
        ("a.npy", "b.npy"),
        ("a.npy", "c.npy"),
        ("b.npy", "c.npy"),
    ]
    b, c = load(*"bc")
    row = found["pairs"][2]
    interval = bootstrap_interval(b, c, RSA("pearson"), key=3, resamples=20)
    test = permutation_test(b, c, RSA("pearson"), key=3, resamples=19)
    assert row["low"] == float(interval.low) and row["high"] == float(interval.high)
    assert row["p_value"] == float(test.p_value)
    corrected = holm(np.array([row["p_value"] for row in found["pairs"]]))
    assert [row["p_holm"] for row in found["pairs"]] == corrected.tolist()
    out = done("compare", "a.npy", "b.npy", "--estimator", "unbiased", *options)
    interval = bootstrap_interval(*load(*"ab"), CKA("unbiased"), key=3, resamples=20)
    assert f"95% {float(interval.low):.4f} to {float(interval.high):.4f}" in out


def test_compare_applies_a_kernel_and_reads_the_layers_of_a_run(folder, rng):
    x = {name: rng.normal(size=(6, 3, 4)) for name in ("first", "second")}
    stats = {n: sj.pair_statistics(z, matcher=sj.Identity()) for n, z in x.items()}
    for name, each in stats.items():
        save_rsm(f"{name}.npz", sj.Linear()(each), each)
    engine_run(x, store="run.zarr", matcher=sj.Identity())
    expected = sj.cka_matrix([sj.RBF()(each) for each in stats.values()])
    kernel = ("--kernel", "rbf")
    files = as_json("compare", "first.npz", "second.npz", *kernel)
    np.testing.assert_allclose(files["matrix"], expected, rtol=1e-5)
    store = as_json("compare", "run.zarr", *kernel)
    assert store["rsms"] == ["run.zarr:first", "run.zarr:second"]
    np.testing.assert_allclose(store["matrix"], expected, rtol=1e-4)
    message = refused("compare", "a.npy", "b.npy", *kernel)
    assert "without the statistics" in message


@pytest.mark.parametrize("suffix", [".png", ".pdf", ".svg"])
def test_compare_draws_and_never_overwrites_silently(folder, suffix):
    path = f"deep/er/cka{suffix}"
    arguments = ("compare", "a.npy", "b.npy", "--plot", path)
    assert f"Heatmap: {path}" in done(*arguments)
    magic = {".png": b"\x89PNG", ".pdf": b"%PDF", ".svg": b"<?xml"}[suffix]
    assert Path(path).read_bytes().startswith(magic)
    assert "exists; --overwrite replaces it" in refused(*arguments)
    done(*arguments, "--overwrite")
    assert [p.name for p in Path("deep/er").iterdir()] == [f"cka{suffix}"]


def test_compare_writes_nan_as_null(folder):
    # An RSM whose unbiased HSIC with itself is negative, see `cka`.
    k = np.triu(np.arange(36.0).reshape(6, 6) ** 2) - np.tril(np.ones((6, 6)) * 900)
    np.save("k.npy", k)
    np.save("l.npy", np.cov(np.random.default_rng(1).normal(size=(6, 9))))
    found = as_json(
        "compare", "k.npy", "l.npy", "--estimator", "unbiased", "--plot", "k.png"
    )
    assert found["matrix"][0] == [None, None]
    assert found["matrix"][1][1] == pytest.approx(1)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("a.npy",), "at least 2 RSMs must be given"),
        (("a.npy", "a.npy"), "a.npy was given twice"),
        (("a.npy", "small.npy"), "must be over the same samples, got 8 and 3"),
        (("a.npy", "d.npy"), "d.npy must hold a square RSM, got shape (8, 11)"),
        (("a.npy", "x.npy"), "x.npy must hold an RSM (N, M), got shape (5, 3, 2)"),
        (("a.npy", "nan.npy"), "must be finite"),
        (("a.npy", "none.png"), "none.png does not exist"),
        (("tiny.npy", "small.npy", "--estimator", "unbiased"), "at least 4 samples"),
        (("a.npy", "b.npy", "--bandwidth", "2"), "--bandwidth needs --kernel rbf"),
        (("a.npy", "b.npy", "--method", "hsic", "--bootstrap", 9), "do not fit"),
        (("a.npy", "b.npy", "--plot", "c.jpg"), "must end in one of .png, .pdf, .svg"),
        (("a.npy", "b.npy", "--bootstrap", 9, "--confidence", 2), "confidence must"),
    ],
)
def test_compare_refuses(folder, arguments, message):
    np.save("small.npy", np.eye(3))
    np.save("tiny.npy", np.eye(3) + 1)
    np.save("x.npy", np.ones((5, 3, 2)))
    np.save("nan.npy", np.full((N, N), np.nan))
    assert message in refused("compare", *arguments)


# correlate


@pytest.fixture
def outputs(folder, rng) -> np.ndarray:
    logits = 2 * rng.normal(size=(N, 4))
    np.save("logits.npy", logits)
    p = np.exp(logits) / np.exp(logits).sum(1, keepdims=True)
    np.savez("p.npz", p=p, other=p)
    return logits


def test_correlate_equals_the_function(outputs):
    found = as_json("correlate", "a.npy", "b.npy", "--logits", "logits.npy")
    assert (found["against"], found["samples"], found["classes"]) == ("JSD", N, 4)
    for name, row in zip("ab", found["correlations"], strict=True):
        expected = sj.output_correlation(*load(name), outputs, from_logits=True)
        assert row == {"rsm": f"{name}.npy", **expected._asdict()}
    probabilities = ("--probabilities", "p.npz", "--key", "p", "--negative")
    other = as_json("correlate", "a.npy", *probabilities, "--no-ranks", "--all-pairs")
    assert other["against"] == "-JSD"
    (row,) = other["correlations"]
    assert row["pearson"] == pytest.approx(-found["correlations"][0]["pearson"])
    assert row["spearman"] is None and row["pairs"] == N * (N - 1)
    out = done("correlate", "a.npy", "--logits", "logits.npy")
    assert f"Pearson   {found['correlations'][0]['pearson']:+.6f}" in out


def test_correlate_with_intervals_and_a_figure(outputs):
    arguments = ("correlate", "a.npy", "b.npy", "--logits", "logits.npy")
    found = as_json(*arguments, "--bootstrap", 20, "--plot", "c.pdf")
    assert Path("c.pdf").read_bytes().startswith(b"%PDF")
    divergence = sj.jensen_shannon_matrix(outputs, from_logits=True)
    a, b = load(*"ab")
    first, second = found["correlations"]
    interval = bootstrap_interval(a, divergence, RSA("spearman"), key=0, resamples=20)
    assert first["spearman_low"] == pytest.approx(float(interval.low))
    assert "less_first" not in first
    test = difference_test(
        (b, divergence), (a, divergence), RSA("pearson"), key=0, resamples=20
    )
    assert second["less_first"]["p_value"] == pytest.approx(float(test.p_value))
    out = done(*arguments, "--bootstrap", 20)
    assert "Pearson less that of the first" in out


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("a.npy",), "either --logits or --probabilities"),
        (("a.npy", "--logits", "logits.npy", "--probabilities", "p.npz"), "not both"),
        (("a.npy", "--probabilities", "logits.npy"), "p must be probabilities"),
        (("a.npy", "--logits", "a.npy", "--plot", "a.npy"), "must end in one of .png"),
        (("a.npy", "--logits", "short.npy"), "short.npy must have shape (N, classes)"),
        (("d.npy", "--logits", "logits.npy"), "must hold a square RSM"),
        (("upper.npy", "--logits", "logits.npy"), "K must be symmetric"),
    ],
)
def test_correlate_refuses(outputs, arguments, message):
    np.save("short.npy", outputs[:3])
    np.save("upper.npy", np.triu(load("a")[0]))
    assert message in refused("correlate", *arguments)


# labels


@pytest.fixture
def labels(folder, rng) -> tuple[np.ndarray, np.ndarray]:
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


# retrieve


def test_retrieve_scores_what_is_nearest(labels):
    q, db = labels
    both = ("--queries", "q.csv", "--database", "db.npz", "--exclude", "none", "--k", 4)
    found = retrieved("d.npy", "e.npy", *both)
    assert (found["queries"], found["database"], found["k"]) == (N, M, 4)
    for name, row in zip("de", found["scores"], strict=True):
        index = sj.nearest(*load(name), 4).index
        scores = sj.scores_at_k(index, q, db)
        np.testing.assert_allclose(row["mean"], scores.mean.mean(0), rtol=1e-6)
        np.testing.assert_allclose(row["best"], scores.best.mean(0), rtol=1e-6)
    iou = retrieved("d.npy", *both, "--score", "iou")
    expected = sj.scores_at_k(sj.nearest(*load("d"), 4).index, q, db, sj.class_iou)
    np.testing.assert_allclose(iou["scores"][0]["best"], expected.best.mean(0), 1e-6)
    _, out, _ = run("retrieve", "d.npy", *both)
    assert f"F1 best  @1 {found['scores'][0]['best'][0]:.4f}" in out


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
        found = retrieved("run.zarr", "--queries", name, "--k", 3)
        np.testing.assert_allclose(found["scores"][0]["mean"], expected, rtol=1e-5)
    message = refused("retrieve", "run.zarr", "--queries", "db.csv")
    assert "8 of 8 are missing, for example 'q/0.png'" in message


def test_retrieve_takes_the_results_of_a_search(labels):
    q, db = labels
    index, similarity = sj.nearest(*load("d"), 5)
    np.savez("found.npz", index=index, similarity=similarity)
    both = ("--queries", "q.csv", "--database", "db.csv", "--k", 4)
    found = retrieved("found.npz", *both)
    expected = sj.scores_at_k(index[:, :4], q, db).mean.mean(0)
    np.testing.assert_allclose(found["scores"][0]["mean"], expected, rtol=1e-6)
    assert (found["queries"], found["database"], found["exclude"]) == (N, None, None)
    assert f"{N} queries\n" in run("retrieve", "found.npz", *both)[1]
    for arguments, message in (
        (("found.npz", "d.npy"), "cannot be given together"),
        (("found.npz", "found.npz", "--k", 2), "given twice"),
        (("found.npz", "--exclude", "none", "--k", 2), "do not fit results"),
        (("found.npz",), "holds 5 neighbors a query, --k asks for 10"),
        (("found.npz", *both[:2], "--k", 2), "from -1 to 7, the database"),
    ):
        assert message in refused("retrieve", *arguments)


def test_retrieve_scores_what_search_wrote(labels, rng):
    q, db = labels
    x, y = rng.normal(size=(N, 2, 3)), rng.normal(size=(M, 2, 3))
    np.save("x.npy", x.astype(np.float32))
    np.save("y.npy", y.astype(np.float32))
    done("search", "x.npy", "y.npy", "-k", 3, "--matcher", "identity", "-o", "xy.npz")
    both = ("--queries", "q.csv", "--database", "db.csv", "--k", 3)
    found = retrieved("xy.npz", *both)
    index = sj.nearest(np.einsum("nsc,msc->nm", x, y), 3).index
    expected = sj.scores_at_k(index, q, db).mean.mean(0)
    np.testing.assert_allclose(found["scores"][0]["mean"], expected, rtol=1e-6)


def test_retrieve_with_intervals_and_paired_tests(labels):
    both = ("--queries", "q.csv", "--database", "db.csv", "--k", 3)
    arguments = ("d.npy", "e.npy", *both, "--resamples", 50)
    found = retrieved(*arguments, "--plot", "s.svg")
    assert Path("s.svg").read_bytes().startswith(b"<?xml")
    groups = np.arange(N) % 3
    rule = sj.same_group(groups, np.arange(M) % 3)
    d, e = (
        np.asarray(sj.scores_at_k(sj.nearest(K, 3, rule).index, *labels).mean)
        for K in load(*"de")
    )
    test = paired_test(e, d, key=0, resamples=50, groups=groups)
    less = found["scores"][1]["mean_less_first"]
    np.testing.assert_allclose(less["p_value"], test.p_value)
    np.testing.assert_allclose(less["difference"], test.difference, atol=1e-6)
    interval = found["scores"][0]["mean_interval"]
    mean = np.array(found["scores"][0]["mean"])
    assert (interval["low"] <= mean).all() and (mean <= interval["high"]).all()
    assert "F1@1 less that of the first" in run("retrieve", *arguments)[1]


def test_retrieve_draws_a_gallery(labels, rng):
    for name, count in (("q", N), ("db", M)):
        Path("images", name).mkdir(parents=True)
        for i in range(count):
            pixels = rng.integers(0, 255, (20 + i, 30, 3), np.uint8)
            Image.fromarray(pixels).save(f"images/{name}/{i}.png")
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
    found = ("retrieve", "s.npz", "--k", 1, "--gallery", "h.png")
    message = refused(*found, "--images", "images/q")
    assert "there must be an image for each sample, got 8" in message


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
        (("d.npy", "-o", "r.txt"), "must end in one of .json"),
        (
            ("d.npy", "--queries", "q.csv", "--database", "few.csv"),
            "only one has fork, large, knife",
        ),
        (
            ("a.npy", "--queries", "one.csv"),
            "no query has a neighbor: all are excluded",
        ),
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
