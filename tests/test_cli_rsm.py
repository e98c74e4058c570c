"""semrsm rsm into a file."""

from pathlib import Path

import numpy as np
import pytest
from safetensors.numpy import save_file
from shell import SOLVER, done, features, run

import semrsm_jax as sj
from semrsm_jax.store import load_rsm, sha256

MATCHERS = {
    "exact": (SOLVER, sj.Exact(solver="scipy")),
    "batch-optimal": (
        ("--window", 4, "--sweeps", 1, "--tolerance", 0, *SOLVER),
        sj.BatchOptimal(4, 1, 0.0, "scipy"),
    ),
    "topk-greedy": (("--k", 2, *SOLVER), sj.TopKGreedy(2, solver="scipy")),
    "greedy": ((), sj.Greedy()),
    "circular-shift": (("--grid", "3x2"), sj.CircularShift((3, 2))),
    "identity": ((), sj.Identity()),
    "sinkhorn": (
        ("--epsilon", 0.5, "--relative", "--max-iterations", 90, "--anneal", 2),
        sj.Sinkhorn(0.5, relative=True, max_iterations=90, anneal=2.0),
    ),
}


@pytest.mark.slow
@pytest.mark.parametrize("name", MATCHERS)
def test_rsm_equals_the_function_for_every_matcher(features_folder, name):
    options, matcher = MATCHERS[name]
    out = done("rsm", "x.npy", "-o", "x.npz", "--matcher", name, *options)
    expected = sj.rsm(sj.to_tokens(features()), matcher=matcher)
    np.testing.assert_array_equal(load_rsm("x.npz").rsm, expected)
    assert repr(matcher) in out


@pytest.mark.parametrize(
    ("options", "kernel"),
    [
        (("linear",), sj.Linear()),
        (("cosine",), sj.Cosine()),
        (("RBF",), sj.RBF()),
        (("rbf", "--bandwidth", "2.5"), sj.RBF(2.5)),
        (("rbf", "--bandwidth", "official"), sj.RBF("official")),
    ],
)
def test_rsm_equals_the_function_for_every_kernel(features_folder, options, kernel):
    done(
        "rsm", "x.npy", "-o", "x.npy.npz", "--matcher", "identity", "--kernel", *options
    )
    file = load_rsm("x.npy.npz")
    tokens = sj.to_tokens(features())
    expected = sj.rsm(tokens, matcher=sj.Identity(), kernel=kernel)
    np.testing.assert_array_equal(file.rsm, expected)
    np.testing.assert_array_equal(kernel(file.statistics), expected)


def test_rsm_between_two_files_with_spaces_and_other_letters(features_folder):
    Path("x.npy").rename("ein [red] Häuschen.npy")
    output = features_folder / "neu hier" / "größe 日本.npz"
    out = done("rsm", "ein [red] Häuschen.npy", "y.npy", "-o", output, *SOLVER)
    expected = sj.rsm(
        sj.to_tokens(features()), features(1, (4, 6, 4)), sj.Exact(solver="scipy")
    )
    np.testing.assert_array_equal(load_rsm(output).rsm, expected)
    assert "RSM of ein [red] Häuschen.npy and y.npy" in out
    assert f"written to     {output}" in out


def test_metadata_says_how_the_rsm_was_made(features_folder):
    save_file({"a": features(), "b": features(2)}, "z.safetensors")
    done(
        *("rsm", "z.safetensors", "-o", "z.npz", "--key", "b", "--layout", "nchw"),
        *("--center", "channel", "--kernel", "rbf", *SOLVER),
    )
    file = load_rsm("z.npz")
    tokens = sj.center(sj.to_tokens(features(2), "NCHW"))
    matcher, kernel = sj.Exact(solver="scipy"), sj.RBF()
    stats = sj.pair_statistics(tokens, matcher=matcher)
    np.testing.assert_allclose(file.rsm, kernel(stats), rtol=1e-6)
    exact = {"name": "Exact", "tolerance": 1e-6, "solver": "scipy"}
    assert file.metadata["matcher"] == exact
    assert file.metadata["kernel"] == {"name": "RBF", "bandwidth": None}
    assert file.metadata["sigma"] == pytest.approx(float(kernel.sigma(stats)))
    assert file.metadata["center"] == "channel"
    assert file.metadata["dtype"] == "float32"
    assert file.metadata["inputs"] == [
        {
            "file": "z.safetensors",
            "key": "b",
            "sha256": sha256("z.safetensors"),
            "shape": [5, 3, 2, 4],
            "dtype": "float32",
            "layout": "NCHW",
        }
    ]


@pytest.mark.parametrize("axis", ["channel", "position"])
def test_two_files_are_centered_by_the_mean_of_the_second(features_folder, axis):
    done(
        *("rsm", "x.npy", "y.npy", "-o", "o.npy"),
        *("--center", axis, "--matcher", "identity"),
    )
    x, y = features().reshape(5, 6, 4), features(1, (4, 6, 4))
    mean = y.mean((0, 1)) if axis == "channel" else y.mean(0)
    expected = sj.rsm(x - mean, y - mean, sj.Identity())
    np.testing.assert_allclose(np.load("o.npy"), expected, rtol=1e-4, atol=1e-4)


@pytest.mark.slow
def test_memory_budget_does_not_change_the_rsm_and_quiet_says_nothing(features_folder):
    for name, budget in (("a.npy", "1KB"), ("b.npy", "0.5GiB")):
        command = ("rsm", "x.npy", "-o", name, "--memory-budget", budget)
        assert done(*command, "--quiet", *SOLVER) == ""
    np.testing.assert_array_equal(np.load("a.npy"), np.load("b.npy"))


def test_summary_fits_a_screen_and_names_the_next_step(features_folder):
    out = done("rsm", "x.npy", "-o", "my x.npz", *SOLVER)
    assert len(out.splitlines()) <= 20
    assert max(map(len, out.splitlines())) <= 88
    assert "samples        5 x 5" in out
    assert "tokens S       6 (NHWC)" in out
    assert "10 pairs matched" in out
    assert "value / bound  1.000000 on average" in out
    assert "Next: semrsm compare 'my x.npz' ANOTHER_RSM" in out


@pytest.mark.slow
def test_one_sample_and_zero_features_are_summarized(features_folder):
    np.save("one.npy", features(shape=(1, 6, 4)))
    np.save("zero.npy", np.zeros((3, 6, 4)))
    done("rsm", "one.npy", "-o", "one.npz", *SOLVER)
    out = done("rsm", "zero.npy", "-o", "zero.npz", *SOLVER)
    assert "no pair has a bound above 0" in out


def test_an_order_of_axes_that_looks_like_pytorchs_is_warned_of(features_folder):
    np.save("t.npy", np.ones((2, 8, 3, 3), "f"))
    code, _, err = run("plan", "t.npy")
    assert code == 0 and err.startswith("Warning: features of shape (2, 8, 3, 3) is")
    assert err.count("\n") == 1
    assert run("plan", "t.npy", "--layout", "NCHW")[2] == ""
