"""semrsm match."""

import json
from pathlib import Path

import numpy as np
import pytest
from shell import SOLVER, as_json, done, features, refused

import semrsm_jax as sj

SOFT = ("--matcher", "sinkhorn")


def test_match_equals_the_function_in_every_output(features_folder):
    x, y = features().reshape(5, 6, 4)[1], features(1, (4, 6, 4))[3]
    expected = sj.match(x, y, matcher=sj.Exact(solver="scipy"))
    arguments = ("match", "x.npy", "y.npy", "--i", 1, "--j", 3, *SOLVER)
    for name in ("m.npy", "m.npz", "m.json"):
        done(*arguments, "-o", name)
    np.testing.assert_array_equal(np.load("m.npy"), expected.permutation)
    with np.load("m.npz") as file:
        np.testing.assert_array_equal(file["permutation"], expected.permutation)
        assert file["value"] == expected.value
        assert file["upper_bound"] == expected.upper_bound
    written = json.loads(Path("m.json").read_text())
    for document in (as_json(*arguments), written):
        assert document["permutation"] == np.asarray(expected.permutation).tolist()
        assert document["value"] == float(expected.value)
        assert document["upper_bound"] == float(expected.upper_bound)


@pytest.mark.slow
def test_soft_match_tells_how_soft_it_is(features_folder):
    x, y = features().reshape(5, 6, 4)[1], features(1, (4, 6, 4))[3]
    expected = sj.match(x, y, matcher=sj.Sinkhorn(0.3, relative=True))
    arguments = ("match", "x.npy", "y.npy", "--i", 1, "--j", 3, *SOFT)
    arguments += ("--epsilon", 0.3, "--relative")
    document = as_json(*arguments, "-o", "m.npz")
    for name in ("value", "upper_bound", "epsilon", "converged", "n_iters"):
        assert document[name] == getattr(expected, name).item(), name
    plan = np.asarray(expected.plan, np.float64)
    entropy = -(plan * np.log(plan)).sum(1).mean()
    np.testing.assert_allclose(document["entropy"], entropy, rtol=1e-5)
    with np.load("m.npz") as file:
        np.testing.assert_array_equal(file["plan"], expected.plan)
        np.testing.assert_array_equal(file["permutation"], expected.permutation)
        assert file["entropy"] == document["entropy"]
    out = done(*arguments)
    for name in ("epsilon", "converged", "n iters", "entropy", "Sinkhorn(epsilon=0.3"):
        assert name in out


@pytest.mark.slow
def test_ladder_equals_the_function(features_folder):
    x, y = features(shape=(2, 12, 4))
    np.save("a.npy", x)
    np.save("b.npy", y)
    arguments = ("match", "a.npy", "b.npy", "--ladder", "--grid", "3x4")
    expected = sj.invariance_ladder(x, y, grid=(3, 4))
    document = as_json(*arguments)
    assert [s["value"] for s in document["steps"]] == expected.value.tolist()
    assert [s["share"] for s in document["steps"]] == expected.share.tolist()
    assert document["attainable"] == float(expected.attainable)
    out = done(*arguments)
    for name in ("Identity", "CircularShift", "BatchOptimal", "Exact"):
        assert name in out
    for extra in (("--window", 3), ("--matcher", "greedy"), ("-o", "m.npz")):
        assert "does not fit --ladder" in refused(*arguments, *extra)


@pytest.mark.slow
def test_bound_tightens_what_is_proven(features_folder):
    x = features(shape=(3, 24, 4))
    np.save("a.npy", x)
    sample = ("match", "a.npy", "a.npy", "--i", 0, "--j", 1, "--matcher", "greedy")
    plain = as_json(*sample)
    proven = as_json(*sample, "--bound", 2)
    expected = sj.match(x[0], x[1], matcher=sj.Greedy(), bound=sj.DualBound(2))
    assert proven["upper_bound"] == float(expected.upper_bound) < plain["upper_bound"]
    arguments = ("rsm", "a.npy", "-o", "k.npz", "--matcher", "greedy", "--bound", 2)
    done(*arguments)
    stats = sj.pair_statistics(x, matcher=sj.Greedy(), bound=sj.DualBound(2))
    with np.load("k.npz") as file:
        np.testing.assert_array_equal(file["upper_bound"], stats.upper_bound)
    assert "--bound must be" in refused(*sample, "--bound", 0)


def test_floor_reaches_the_matcher(features_folder):
    x = features(shape=(2, 12, 4))
    np.save("a.npy", x)
    arguments = ("match", "a.npy", "a.npy", "--i", 0, "--j", 1, "--floor", "identity")
    batch = ("--matcher", "batch-optimal", "--window", 3)
    document = as_json(*arguments, *batch)
    matcher = sj.BatchOptimal(window=3, floor="identity")
    assert document["value"] == float(sj.match(x[0], x[1], matcher=matcher).value)
    assert "--floor does not fit --matcher exact" in refused(*arguments)


def test_match_of_single_samples_previews_unmatched_tokens(features_folder):
    np.save("a.npy", features(shape=(20, 4)))
    np.save("b.npy", features(shape=(15, 4)))
    out = done("match", "a.npy", "b.npy", *SOLVER)
    assert "20 tokens of a.npy with 15 of b.npy, 4 channels" in out
    assert "All of them: -o matching.npz" in out
    expected = sj.match(
        np.load("a.npy"), np.load("b.npy"), matcher=sj.Exact(solver="scipy")
    )
    shown = [
        f"{i}->{'none' if j < 0 else j}"
        for i, j in enumerate(np.asarray(expected.permutation)[:12].tolist())
    ]
    assert " ".join(shown) + " ..." in out


def test_match_reads_only_the_sample_it_needs(features_folder):
    x = features(shape=(3, 6, 4))
    x[2] = np.nan
    np.save("x.npy", x)
    done("match", "x.npy", "x.npy", "--i", 0, "--j", 1, *SOLVER)
    assert "must be finite" in refused("match", "x.npy", "x.npy", "--i", 0, "--j", 2)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("x.npy", "y.npy"), "x.npy: holds 5 samples; --i must say which"),
        (("x.npy", "y.npy", "--i", 0), "y.npy: holds 4 samples; --j must say which"),
        (("x.npy", "y.npy", "--i", 5, "--j", 0), "--i must be from 0 to 4, got 5"),
        (("x.npy", "y.npy", "--i", -1, "--j", 0), "--i must be from 0 to 4, got -1"),
        (("a.npy", "a.npy", "--i", 2), "holds one sample, of shape (6, 4); got --i 2"),
        (("a.npy", "b.npy"), "a.npy and b.npy: x_i (..., S, C) and y_j (..., T, C)"),
        (("a.npy", "a.npy", "-o", "a.npy", "--overwrite"), "is an input"),
    ],
)
def test_match_refuses_what_it_cannot_match(features_folder, arguments, message):
    np.save("a.npy", features(shape=(6, 4)))
    np.save("b.npy", features(shape=(6, 5)))
    assert message in refused("match", *arguments)
