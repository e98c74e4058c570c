"""semrsm compare."""

from pathlib import Path

import numpy as np
import pytest
from shell import N, as_json, done, load, refused, run

import semrsm_jax as sj
from semrsm_jax.cli._sample_groups import ResamplingOptions
from semrsm_jax.comparison import CKA, RSA
from semrsm_jax.comparison.inference import bootstrap_interval, holm, permutation_test
from semrsm_jax.engine import run as engine_run
from semrsm_jax.registry import label
from semrsm_jax.store import open_similarities, save_rsm


@pytest.mark.slow
def test_align_pairs_tokens_before_features_are_compared(tmp_path, monkeypatch, rng):
    monkeypatch.chdir(tmp_path)
    x = rng.normal(size=(N, 1, 2, 1)).astype("f")
    y = np.stack([rng.permutation(each.reshape(2, 1)) for each in x])
    np.save("x.npy", x)
    np.save("y.npy", y)
    command = ("compare", "x.npy", "y.npy", "--measure", "pwcca")
    apart, aligned = as_json(*command), as_json(*command, "--align")
    expected = sj.measure_matrix(
        {"x": sj.align_tokens(sj.to_tokens(x)), "y": sj.align_tokens(sj.to_tokens(y))},
        measure=sj.PWCCA(),
    )
    np.testing.assert_allclose(aligned["matrix"], expected, atol=1e-5)
    assert not np.allclose(aligned["matrix"], apart["matrix"], atol=1e-2)


@pytest.mark.parametrize("estimator", ["biased", "unbiased"])
def test_compare_gives_the_matrix_of_each_with_each(matrices, estimator):
    arguments = ("compare", "a.npy", "b.npy", "c.npy", "--estimator", estimator)
    document = as_json(*arguments)
    assert document["rsms"] == ["a.npy", "b.npy", "c.npy"]
    shown = {"biased": "cka (estimator biased)", "unbiased": "cka"}[estimator]
    assert (document["measure"], document["estimator"]) == (shown, estimator)
    assert document["samples"] == N and document["pairs"] == []
    expected = sj.cka_matrix(load(*"abc"), estimator=estimator)
    np.testing.assert_array_equal(document["matrix"], expected)
    out = done(*arguments)
    assert f"CKA ({estimator}) over {N} samples" in out
    assert f"{expected[0, 1]:.4f}" in out and "b.npy" in out


@pytest.mark.parametrize(
    ("options", "measure"),
    [
        (("--measure", "hsic"), sj.HSIC("biased")),
        (("--method", "spearman"), sj.RSA("spearman")),
        (("--measure", "rsa", "--method", "kendall-tau-a"), sj.RSA("kendall_tau_a")),
        (("--measure", "mutual-knn", "--k", "2"), sj.MutualKNN(2)),
        (("--k", "3"), sj.MutualKNN(3)),
        (("--measure", "linear-predictivity"), sj.LinearPredictivity()),
    ],
    ids=str,
)
def test_compare_by_other_measures(matrices, options, measure):
    document = as_json("compare", "a.npy", "b.npy", *options)
    assert document["measure"] == label(measure)
    expected = sj.measure_matrix(load(*"ab"), measure=measure)
    np.testing.assert_allclose(document["matrix"], expected, rtol=1e-5)


def test_compare_of_features(tmp_path, monkeypatch, rng):
    monkeypatch.chdir(tmp_path)
    x, y = rng.normal(size=(20, 3, 2)), rng.normal(size=(20, 2, 2))
    np.save("x.npy", x)
    np.save("y.npy", y)
    command = ("compare", "x.npy", "y.npy", "--measure", "pwcca")
    document = as_json(*command)
    assert document["matrix"][0][1] == pytest.approx(float(sj.PWCCA()(x, y)), rel=1e-5)
    assert document["samples"] == 20
    message = refused(*command, "--kernel", "rbf")
    assert "does not fit --measure pwcca" in message


def test_compare_shows_the_noise_ceiling(matrices):
    arguments = ("compare", "a.npy", "b.npy", "c.npy", "--method", "pearson")
    shown = as_json(*arguments, "--noise-ceiling")["noise_ceiling"]
    expected = sj.noise_ceiling(np.stack(load(*"abc")), sj.RSA("pearson"))
    assert shown["lower"] == pytest.approx(float(expected.lower), rel=1e-5)
    assert f"Noise ceiling: {shown['lower']:.4f}" in done(*arguments, "--noise-ceiling")


@pytest.mark.slow
def test_compare_with_intervals_and_p_values(matrices):
    options = ("--bootstrap", 20, "--permutations", 19, "--seed", 3, "--quiet")
    document = as_json(
        "compare", "a.npy", "b.npy", "c.npy", "--method", "pearson", *options
    )
    assert [(row["a"], row["b"]) for row in document["pairs"]] == [
        ("a.npy", "b.npy"),
        ("a.npy", "c.npy"),
        ("b.npy", "c.npy"),
    ]
    b, c = load(*"bc")
    row = document["pairs"][2]
    interval = bootstrap_interval(b, c, RSA("pearson"), key=3, resamples=20)
    test = permutation_test(b, c, RSA("pearson"), key=3, resamples=19)
    assert row["low"] == float(interval.low) and row["high"] == float(interval.high)
    assert row["p_value"] == float(test.p_value)
    assert row["null_share"] == float(test.null_share)
    corrected = holm(np.array([row["p_value"] for row in document["pairs"]]))
    assert [row["p_holm"] for row in document["pairs"]] == corrected.tolist()
    arguments = ("compare", "a.npy", "b.npy", "--estimator", "unbiased", *options[:-1])
    code, out, err = run(*arguments)
    assert code == 0 and "8 samples or groups are few" in err
    interval = bootstrap_interval(*load(*"ab"), CKA("unbiased"), key=3, resamples=20)
    assert f"95% {float(interval.low):.4f} to {float(interval.high):.4f}" in out


@pytest.mark.slow
def test_compare_applies_a_kernel_and_reads_the_layers_of_a_run(matrices, rng):
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
    near = as_json("compare", "run.zarr", "--measure", "mutual-knn", "--k", 2)
    rsms = [sj.Linear()(each) for each in stats.values()]
    expected = sj.measure_matrix(rsms, measure=sj.MutualKNN(2))
    np.testing.assert_allclose(near["matrix"], expected, rtol=1e-5)
    message = refused("compare", "a.npy", "b.npy", *kernel)
    assert "without the statistics" in message


@pytest.mark.parametrize("suffix", [".png", ".pdf", ".svg"])
def test_compare_draws_and_never_overwrites_silently(matrices, suffix):
    path = f"deep/er/cka{suffix}"
    arguments = ("compare", "a.npy", "b.npy", "--plot", path)
    assert f"Heatmap: {path}" in done(*arguments)
    magic = {".png": b"\x89PNG", ".pdf": b"%PDF", ".svg": b"<?xml"}[suffix]
    assert Path(path).read_bytes().startswith(magic)
    assert "exists; --overwrite replaces it" in refused(*arguments)
    done(*arguments, "--overwrite")
    assert [p.name for p in Path("deep/er").iterdir()] == [f"cka{suffix}"]


def test_compare_writes_nan_as_null(matrices):
    # An RSM whose unbiased HSIC with itself is negative, see `cka`.
    k = np.triu(np.arange(36.0).reshape(6, 6) ** 2) - np.tril(np.ones((6, 6)) * 900)
    np.save("k.npy", k)
    np.save("l.npy", np.cov(np.random.default_rng(1).normal(size=(6, 9))))
    document = as_json(
        "compare", "k.npy", "l.npy", "--estimator", "unbiased", "--plot", "k.png"
    )
    assert document["matrix"][0] == [None, None]
    assert document["matrix"][1][1] == pytest.approx(1)


@pytest.fixture
def scenes(matrices, rng) -> np.ndarray:
    """k.npz and l.npz: two crops each of six scenes, which labels.csv names too."""
    ids = [f"scene{i // 2}_crop{i % 2}.png" for i in range(12)]
    for name in "kl":
        x = rng.normal(size=(12, 5))
        save_rsm(f"{name}.npz", x @ x.T, x_ids=ids, y_ids=ids)
    rows = [f"{name},{name[:6]}" for name in ids]
    Path("labels.csv").write_text("\n".join(["id,Scene", *rows[::-1]]))
    return np.arange(12) // 2


@pytest.mark.slow
def test_compare_by_groups_and_asks_for_them(scenes):
    arguments = ("compare", "k.npz", "l.npz", "--permutations", 19)
    K, L = (np.load(f"{name}.npz")["rsm"] for name in "kl")
    expected = permutation_test(K, L, CKA("biased"), key=0, resamples=19, groups=scenes)
    for options in (["prefix"], ["scene", "--labels", "labels.csv"]):
        document = as_json(*arguments, "--groups", *options)
        assert document["groups"] == 6
        assert document["pairs"][0]["p_value"] == pytest.approx(float(expected.p_value))
    code, out, err = run(*arguments)
    assert code == 0 and "6 groups" not in out
    assert "look like 6 groups by prefix, such as 'scene0'" in err
    assert err.count("\n") == 1 and "--groups none" in err
    for silent in (("--groups", "none"), ("--quiet",)):
        assert run(*arguments, *silent)[2] == ""
    assert "6 groups" in done("compare", "k.npz", "l.npz", "--groups", "prefix")
    drop = ("--estimator", "unbiased", "--groups", "prefix", "--drop-within")
    value = as_json("compare", "k.npz", "l.npz", *drop)["matrix"][0][1]
    expected = float(sj.cka(K, L, "unbiased", groups=scenes))
    assert value == pytest.approx(expected, rel=1e-4)


def test_groups_that_an_rsm_carries_are_taken(scenes):
    ids = [f"{i}.png" for i in range(12)]
    groups = [f"scene {i}" for i in scenes]
    for name in "kl":
        rsm = np.load(f"{name}.npz")["rsm"]
        named = {"x_ids": ids, "y_ids": ids, "x_groups": groups, "y_groups": groups}
        save_rsm(f"{name}.npz", rsm, **named, overwrite=True)
    document = as_json("compare", "k.npz", "l.npz")
    assert document["groups"] == 6
    opened = sj.store.open_similarity("k.npz")
    assert opened.x_groups == tuple(groups)
    K, L = (np.load(f"{name}.npz")["rsm"] for name in "kl")
    options = ("--groups", "none", "--permutations", 99, "--seed", 1)
    (pair,) = as_json("compare", "k.npz", "l.npz", *options)["pairs"]
    expected = permutation_test(K, L, CKA("biased"), key=1, resamples=99)
    assert pair["null_share"] == pytest.approx(float(expected.null_share))


def test_groups_are_paired_by_the_first_ids_that_there_are(scenes):
    np.save("bare.npy", np.eye(12))
    with pytest.warns(UserWarning, match="bare.npy has none"):
        opened = open_similarities(["bare.npy", "k.npz"])
    wanted = ResamplingOptions(groups="scene", labels=Path("labels.csv"))
    groups = wanted.members(opened, asked=False)
    assert groups == tuple(f"scene{group}" for group in scenes)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("--groups", "scene"), "needs --labels, a .csv that has this column"),
        (("--groups", "video", "--labels", "labels.csv"), "it has id, Scene"),
        (("--groups", "scene", "--labels", "other.csv"), "11 of 12 are missing"),
        (
            ("--groups", "scene", "--labels", "twice.csv"),
            "ids must be unique, got 'b' again",
        ),
        (("--groups", "scene", "--labels", "gap.csv"), "row 3, must hold a name"),
        (("--labels", "labels.csv"), "--labels needs --groups"),
        (("--drop-within",), "--drop-within needs --groups"),
        (("--groups", "prefix", "--drop-within"), "must be 'unbiased'"),
        (("--groups", "third", "--labels", "3.csv", "--permutations", 9), "0.167"),
    ],
)
def test_compare_refuses_groups(scenes, arguments, message):
    Path("other.csv").write_text("id,scene\nscene0_crop0.png,a\nb,b")
    Path("twice.csv").write_text("id,scene\na,a\nb,a\nb,b")
    Path("gap.csv").write_text("id,scene\na,a\nb,")
    Path("3.csv").write_text("\n".join(["third", *(f"{i // 4}" for i in range(12))]))
    assert message in refused("compare", "k.npz", "l.npz", *arguments)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("a.npy",), "at least 2 RSMs must be given"),
        (("a.npy", "a.npy"), "a.npy was given twice"),
        (("a.npy", "small.npy"), "must be over the same samples, got 8 and 3"),
        (("a.npy", "d.npy"), "d.npy must hold a square RSM, got shape (8, 11)"),
        (("a.npy", "x.npy"), "x.npy must hold an RSM (N, M), got shape (5, 3, 2)"),
        (("a.npy", "none.png"), "none.png does not exist"),
        (("a.npy", "b.npy", "--bandwidth", "2"), "--bandwidth needs --kernel rbf"),
        (("a.npy", "b.npy", "--measure", "hsic", "--bootstrap", 9), "does not fit"),
        (("a.npy", "b.npy", "--measure", "cca"), "--measure must be one of cka, hsic"),
        (("a.npy", "b.npy", "--measure", "svcca", "--k", 3), "--k does not fit"),
        (("a.npy", "b.npy", "--k", 3, "--noise-ceiling"), "needs --measure cka or rsa"),
        (("a.npy", "b.npy", "--align"), "--align needs a measure of features"),
    ],
)
def test_compare_refuses(matrices, arguments, message):
    np.save("small.npy", np.eye(3))
    np.save("x.npy", np.ones((5, 3, 2)))
    assert message in refused("compare", *arguments)
