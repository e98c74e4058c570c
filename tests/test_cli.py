import contextlib
import dataclasses
import json
import os
import pty
import subprocess
import sys
import threading
from pathlib import Path

import numpy as np
import pytest
from safetensors.numpy import save_file
from shell import refused, run

import semrsm_jax as sj
from semrsm_jax import demo, engine
from semrsm_jax.demo import Stage
from semrsm_jax.pairs import executor
from semrsm_jax.store import load_rsm, save_rsm, sha256

SOLVER = ("--solver", "scipy")


def features(seed=0, shape=(5, 3, 2, 4)) -> np.ndarray:
    return np.random.default_rng(seed).normal(size=shape).astype(np.float32)


@pytest.fixture
def folder(tmp_path, monkeypatch) -> Path:
    """A working folder with x.npy (N, H, W, C) and y.npy (M, S, C)."""
    monkeypatch.chdir(tmp_path)
    np.save("x.npy", features())
    np.save("y.npy", features(1, (4, 6, 4)))
    return tmp_path


# rsm

SOFT = ("--matcher", "sinkhorn")
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


@pytest.mark.parametrize("name", MATCHERS)
def test_rsm_equals_the_function_for_every_matcher(folder, name):
    options, matcher = MATCHERS[name]
    code, out, _ = run("rsm", "x.npy", "-o", "x.npz", "--matcher", name, *options)
    assert code == 0
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
def test_rsm_equals_the_function_for_every_kernel(folder, options, kernel):
    code, _, _ = run(
        "rsm", "x.npy", "-o", "x.npy.npz", "--matcher", "identity", "--kernel", *options
    )
    assert code == 0
    file = load_rsm("x.npy.npz")
    tokens = sj.to_tokens(features())
    expected = sj.rsm(tokens, matcher=sj.Identity(), kernel=kernel)
    np.testing.assert_array_equal(file.rsm, expected)
    np.testing.assert_array_equal(kernel(file.statistics), expected)


@pytest.mark.parametrize("suffix", [".npy", ".npz", ".safetensors"])
def test_rsm_between_two_files_with_spaces_and_other_letters(folder, suffix):
    Path("x.npy").rename("ein [red] Häuschen.npy")
    output = folder / "neu hier" / f"größe 日本{suffix}"
    code, out, err = run(
        "rsm", "ein [red] Häuschen.npy", "y.npy", "-o", output, *SOLVER
    )
    assert code == 0
    expected = sj.rsm(
        sj.to_tokens(features()), features(1, (4, 6, 4)), sj.Exact(solver="scipy")
    )
    np.testing.assert_array_equal(load_rsm(output).rsm, expected)
    assert "RSM of ein [red] Häuschen.npy and y.npy" in out
    assert f"written to     {output}" in out
    assert err == ""


def test_metadata_says_how_the_rsm_was_made(folder):
    save_file({"a": features(), "b": features(2)}, "z.safetensors")
    arguments = (
        "rsm",
        "z.safetensors",
        "-o",
        "z.npz",
        "--key",
        "b",
        "--layout",
        "nchw",
    )
    arguments += ("--center", "channel", "--kernel", "rbf", *SOLVER)
    assert run(*arguments)[0] == 0
    file = load_rsm("z.npz")
    tokens = sj.center(sj.to_tokens(features(2), "NCHW"))
    matcher, kernel = sj.Exact(solver="scipy"), sj.RBF()
    stats = sj.pair_statistics(tokens, matcher=matcher)
    np.testing.assert_allclose(file.rsm, kernel(stats), rtol=1e-6)
    assert file.metadata["matcher"] == {
        "name": "Exact",
        "tolerance": 1e-6,
        "solver": "scipy",
    }
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
def test_two_files_are_centred_by_the_mean_of_the_second(folder, axis):
    code, _, _ = run(
        *("rsm", "x.npy", "y.npy", "-o", "o.npy"),
        *("--center", axis, "--matcher", "identity"),
    )
    assert code == 0
    x, y = features().reshape(5, 6, 4), features(1, (4, 6, 4))
    mean = y.mean((0, 1)) if axis == "channel" else y.mean(0)
    expected = sj.rsm(x - mean, y - mean, sj.Identity())
    np.testing.assert_allclose(np.load("o.npy"), expected, rtol=1e-4, atol=1e-4)


def test_memory_budget_does_not_change_the_rsm(folder):
    for name, budget in (("a.npy", "1KB"), ("b.npy", "0.5GiB")):
        command = ("rsm", "x.npy", "-o", name, "--memory-budget", budget)
        assert run(*command, *SOLVER)[0] == 0
    np.testing.assert_array_equal(np.load("a.npy"), np.load("b.npy"))


def test_summary_fits_a_screen_and_names_the_next_step(folder):
    code, out, err = run("rsm", "x.npy", "-o", "my x.npz", *SOLVER)
    assert code == 0
    assert err == ""
    assert len(out.splitlines()) <= 20
    assert max(map(len, out.splitlines())) <= 88
    assert "samples        5 x 5" in out
    assert "tokens S       6 (NHWC)" in out
    assert "10 pairs matched" in out
    assert "value / bound  1.000000 on average" in out
    assert "Next: semrsm compare 'my x.npz' ANOTHER_RSM" in out


def test_quiet_says_nothing(folder):
    assert run("rsm", "x.npy", "-o", "o.npz", "-q", *SOLVER) == (0, "", "")
    assert Path("o.npz").exists()


def test_one_sample_and_silent_features_are_summarised(folder):
    np.save("one.npy", features(shape=(1, 6, 4)))
    np.save("zero.npy", np.zeros((3, 6, 4)))
    assert run("rsm", "one.npy", "-o", "one.npz", *SOLVER)[0] == 0
    code, out, _ = run("rsm", "zero.npy", "-o", "zero.npz", *SOLVER)
    assert code == 0
    assert "no pair has a bound above 0" in out


def test_existing_output_needs_overwrite(folder):
    Path("o.npz").write_text("before")
    message = refused("rsm", "x.npy", "-o", "o.npz")
    assert message == "Error: output o.npz exists; --overwrite replaces it"
    assert Path("o.npz").read_text() == "before"
    assert run("rsm", "x.npy", "-o", "o.npz", "--overwrite", *SOLVER)[0] == 0
    assert load_rsm("o.npz").rsm.shape == (5, 5)


def test_input_is_never_replaced(folder):
    before = Path("x.npy").read_bytes()
    message = refused("rsm", "x.npy", "-o", "./x.npy", "--overwrite")
    assert "is an input, and would replace it" in message
    assert Path("x.npy").read_bytes() == before


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("no.npy",), "no.npy does not exist"),
        ((".",), "bad.npy is not a .npy file; it starts with b'bad'"),
        (("bad.npy",), "bad.npy is not a .npy file; it starts with b'bad'"),
        (("complex.npy",), "floats or integers of at most 64 bits, got dtype complex"),
        (("nan.npy",), "nan.npy, samples 0 to 1, must be finite in float32, got 1 Na"),
        (("flat.npy",), "flat.npy: features must have 3 axes (N, S, C) or 4 (N, H,"),
        (
            ("x.npy", "--layout", "NSC"),
            "layout 'NSC' needs 3 axes, got shape (5, 3,",
        ),
        (("x.npy", "--key", "a"), "holds one array without a name, got key='a'"),
        (("x.npy", "wide.npy"), "must have the same channels, got 4 and 7"),
        (("x.npy", "--window", 4), "--window does not fit --matcher exact, which take"),
        (("x.npy", "--matcher", "greedy", "--k", 1), "--k does not fit --matcher gree"),
        (("x.npy", "--matcher", "identity", *SOLVER), "identity, which takes no optio"),
        (("x.npy", "--matcher", "hungarian"), "one of exact, batch-optimal, topk-gr"),
        (("x.npy", "--matcher", "topk-greedy"), "k must be at most the number of tok"),
        (("x.npy", "--matcher", "circular-shift"), "circular-shift needs --grid"),
        (("x.npy", "--max-iterations", 4), "--max-iterations does not fit --matcher"),
        (("x.npy", *SOFT, "--k", 4), "takes --epsilon, --relative, --tolerance, --max"),
        (("x.npy", *SOFT, "--epsilon", -1), "epsilon must be a finite number above 0"),
        (("x.npy", *SOFT, "--relative"), "--relative states the unit of --eps"),
        (("x.npy", "--matcher", "circular-shift", "--grid", "3"), "HxW, for example"),
        (("x.npy", "--matcher", "circular-shift", "--grid", "4x2"), "grid"),
        (("x.npy", "--tolerance", -1), "tolerance must be a finite number of at leas"),
        (("x.npy", "--tolerance", "nan"), "tolerance must be a finite number"),
        (("x.npy", "--bandwidth", "2"), "--bandwidth does not fit --kernel linear"),
        (("x.npy", "--kernel", "rbf", "--bandwidth", "0"), "bandwidth must be a fini"),
        (("x.npy", "--kernel", "rbf", "--bandwidth", "mean"), "'paper', got 'mean'"),
        (("x.npy", "--memory-budget", "lots"), "size such as 512MB, 2GiB or 100000"),
        (("x.npy", "--memory-budget", "0MB"), "must be at least 1 byte, got '0MB'"),
        (("x.npy", "--memory-budget", "9" * 400), "size such as 512MB"),
        (("x.npy", "-o", "o.txt"), "output o.txt must end in one of .npy, .npz, .saf"),
        (("x.npy", "-o", "x.npy/o.npz"), "output x.npy/o.npz cannot be written: "),
    ],
)
def test_bad_input_is_one_message_and_nothing_is_written(folder, arguments, message):
    np.save("complex.npy", np.ones((2, 3, 4), complex))
    np.save("nan.npy", np.where(np.arange(24) == 3, np.nan, 1).reshape(2, 3, 4))
    np.save("flat.npy", np.ones((2, 3)))
    np.save("wide.npy", np.ones((2, 3, 7)))
    Path("bad.npy").write_text("bad")
    before = sorted(os.listdir())
    output = () if "-o" in arguments else ("-o", "o.npz")
    assert message in refused("rsm", *arguments, *output)
    assert sorted(os.listdir()) == before


def test_output_is_refused_before_any_work(folder, monkeypatch):
    Path("o.npz").touch()
    monkeypatch.setattr(engine, "run", lambda *_, **__: pytest.fail("worked"))
    assert "--overwrite" in refused("rsm", "x.npy", "-o", "o.npz")


def test_missing_output_and_no_command_show_the_way(folder):
    assert "Missing option '--output'" in refused("rsm", "x.npy")
    _, out, err = run()
    assert "semrsm compare layer1.npz layer2.npz" in out + err


def failing(error):
    def fail(*_, **__):
        raise error

    return fail


@pytest.mark.parametrize(
    "error",
    [
        KeyboardInterrupt(),
        MemoryError(),
        OSError(28, "full"),
        RuntimeError("RESOURCE_EXHAUSTED: 1 TB"),
    ],
)
def test_interrupt_and_full_memory_or_disk_leave_nothing(folder, monkeypatch, error):
    monkeypatch.setattr(executor, "match_pairs", failing(error))
    before = sorted(os.listdir())
    code, out, err = run("rsm", "x.npy", "-o", "o.npz")
    assert out == ""
    assert sorted(os.listdir()) == before
    if isinstance(error, KeyboardInterrupt):
        assert code == 130
        assert err.endswith("Interrupted. No half-written file is left behind.\n")
    else:
        assert code == 1
        assert len(err.splitlines()) == 1


def test_a_fault_of_the_program_is_not_dressed_up(folder, monkeypatch):
    monkeypatch.setattr(executor, "match_pairs", failing(RuntimeError("a bug")))
    with pytest.raises(RuntimeError, match="a bug"):
        run("rsm", "x.npy", "-o", "o.npz")


@pytest.fixture
def rsms(folder) -> tuple[np.ndarray, np.ndarray]:
    # Symmetric, as RSMs are, so that the unbiased estimates exist.
    k, l = (z @ z.T for z in features(3, (2, 6, 5)))  # noqa: E741
    save_rsm("k.npz", k, metadata={"matcher": {"name": "Exact"}})
    save_rsm("l.npy", l)
    return k, l


# match


def test_match_equals_the_function_in_every_output(folder):
    x, y = features().reshape(5, 6, 4)[1], features(1, (4, 6, 4))[3]
    expected = sj.match(x, y, matcher=sj.Exact(solver="scipy"))
    arguments = ("match", "x.npy", "y.npy", "--i", 1, "--j", 3, *SOLVER)
    for name in ("m.npy", "m.npz", "m.json"):
        assert run(*arguments, "-o", name)[0] == 0
    np.testing.assert_array_equal(np.load("m.npy"), expected.permutation)
    with np.load("m.npz") as file:
        np.testing.assert_array_equal(file["permutation"], expected.permutation)
        assert file["value"] == expected.value
        assert file["upper_bound"] == expected.upper_bound
    _, out, _ = run(*arguments, "--json")
    for text in (out, Path("m.json").read_text()):
        found = json.loads(text)
        assert found["permutation"] == np.asarray(expected.permutation).tolist()
        assert found["value"] == float(expected.value)
        assert found["upper_bound"] == float(expected.upper_bound)


def test_soft_match_tells_how_soft_it_is(folder):
    x, y = features().reshape(5, 6, 4)[1], features(1, (4, 6, 4))[3]
    expected = sj.match(x, y, matcher=sj.Sinkhorn(0.3, relative=True))
    arguments = ("match", "x.npy", "y.npy", "--i", 1, "--j", 3, *SOFT)
    arguments += ("--epsilon", 0.3, "--relative")
    code, out, _ = run(*arguments, "--json", "-o", "m.npz")
    assert code == 0
    found = json.loads(out)
    for name in ("value", "upper_bound", "epsilon", "converged", "n_iters"):
        assert found[name] == getattr(expected, name).item(), name
    plan = np.asarray(expected.plan, np.float64)
    entropy = -(plan * np.log(plan)).sum(1).mean()
    np.testing.assert_allclose(found["entropy"], entropy, rtol=1e-5)
    with np.load("m.npz") as file:
        np.testing.assert_array_equal(file["plan"], expected.plan)
        np.testing.assert_array_equal(file["permutation"], expected.permutation)
        assert file["entropy"] == found["entropy"]
    code, out, _ = run(*arguments)
    assert code == 0
    for name in ("epsilon", "converged", "n iters", "entropy", "Sinkhorn(epsilon=0.3"):
        assert name in out


def test_ladder_equals_the_function(folder):
    x, y = features(shape=(2, 12, 4))
    np.save("a.npy", x)
    np.save("b.npy", y)
    arguments = ("match", "a.npy", "b.npy", "--ladder", "--grid", "3x4")
    expected = sj.invariance_ladder(x, y, grid=(3, 4))
    code, out, _ = run(*arguments, "--json")
    assert code == 0
    found = json.loads(out)
    assert [s["value"] for s in found["steps"]] == expected.value.tolist()
    assert [s["share"] for s in found["steps"]] == expected.share.tolist()
    assert found["attainable"] == float(expected.attainable)
    code, out, _ = run(*arguments)
    assert code == 0
    for name in ("Identity", "CircularShift", "BatchOptimal", "Exact"):
        assert name in out
    for extra in (("--window", 3), ("--matcher", "greedy"), ("-o", "m.npz")):
        assert "does not fit --ladder" in refused(*arguments, *extra)


def test_bound_tightens_what_is_proven(folder):
    x = features(shape=(3, 24, 4))
    np.save("a.npy", x)
    sample = ("match", "a.npy", "a.npy", "--i", 0, "--j", 1, "--matcher", "greedy")
    plain = json.loads(run(*sample, "--json")[1])
    proven = json.loads(run(*sample, "--bound", 2, "--json")[1])
    expected = sj.match(x[0], x[1], matcher=sj.Greedy(), bound=sj.DualBound(2))
    assert proven["upper_bound"] == float(expected.upper_bound) < plain["upper_bound"]
    arguments = ("rsm", "a.npy", "-o", "k.npz", "--matcher", "greedy", "--bound", 2)
    assert run(*arguments)[0] == 0
    stats = sj.pair_statistics(x, matcher=sj.Greedy(), bound=sj.DualBound(2))
    with np.load("k.npz") as file:
        np.testing.assert_array_equal(file["upper_bound"], stats.upper_bound)
    assert "--bound must be" in refused(*sample, "--bound", 0)


def test_floor_reaches_the_matcher(folder):
    x = features(shape=(2, 12, 4))
    np.save("a.npy", x)
    arguments = ("match", "a.npy", "a.npy", "--i", 0, "--j", 1, "--floor", "identity")
    batch = ("--matcher", "batch-optimal", "--window", 3)
    found = json.loads(run(*arguments, *batch, "--json")[1])
    matcher = sj.BatchOptimal(window=3, floor="identity")
    assert found["value"] == float(sj.match(x[0], x[1], matcher=matcher).value)
    assert "--floor does not fit --matcher exact" in refused(*arguments)


def test_match_of_single_samples_previews_unmatched_tokens(folder):
    np.save("a.npy", features(shape=(20, 4)))
    np.save("b.npy", features(shape=(15, 4)))
    code, out, _ = run("match", "a.npy", "b.npy", *SOLVER)
    assert code == 0
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


def test_match_reads_only_the_sample_it_needs(folder):
    x = features(shape=(3, 6, 4))
    x[2] = np.nan
    np.save("x.npy", x)
    assert run("match", "x.npy", "x.npy", "--i", 0, "--j", 1, *SOLVER)[0] == 0
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
        (("a.npy", "a.npy", "-o", "m.txt"), "must end in one of .npy, .npz, .json"),
        (("a.npy", "a.npy", "-o", "a.npy", "--overwrite"), "is an input"),
    ],
)
def test_match_refuses_what_it_cannot_match(folder, arguments, message):
    np.save("a.npy", features(shape=(6, 4)))
    np.save("b.npy", features(shape=(6, 5)))
    assert message in refused("match", *arguments)


# demo


@pytest.fixture
def tiny_demo(folder, monkeypatch):
    """The demo with one stage, and noise for its RSMs: its wiring is at stake."""
    real = demo.run

    def run_small(config, progress):
        stages = (Stage("resnet.encoder.stages.3", sj.Exact(solver="scipy")),)
        return real(dataclasses.replace(config, stages=stages, replicates=20), progress)

    stage = "resnet.encoder.stages.3"
    tokens = np.random.default_rng(1).normal(size=(40, 4, 3)).astype("f4")
    noise = np.random.default_rng(0).uniform(size=(20, 20))
    monkeypatch.setattr(demo, "run", run_small)
    for name, fake in {
        "_network": lambda *_: None,
        "rsm": lambda *_, **__: noise,
        "normalize": lambda images: images,
        "extract": lambda _, images, *__, **___: {stage: tokens[: len(images)]},
    }.items():
        monkeypatch.setattr(demo.measure, name, fake)


def test_demo_writes_figure_and_numbers(tiny_demo):
    code, out, err = run("demo", "-o", "my demo", "--crops", 20, "--seed", 1)
    assert (code, err) == (0, "")
    files = ["report.html", "translation.json", "translation.png"]
    assert sorted(os.listdir("my demo")) == files
    # Both windows of each of the 20 crops, at the one stage.
    page = Path("my demo/report.html").read_text(encoding="utf-8")
    assert page.count(', upper"') == page.count(', lower"') == 20
    assert Path("my demo/translation.png").read_bytes().startswith(b"\x89PNG")
    numbers = json.loads(Path("my demo/translation.json").read_text())
    assert numbers["config"]["crops"] == 20
    assert numbers["config"]["seed"] == 1
    assert "Trained weights:" in out and "Random weights:" in out
    assert [row["weights"] for row in numbers["table"]] == [
        *("trained",) * 2,
        *("random",) * 2,
    ]
    semantic = numbers["table"][1]
    assert f"{semantic['auroc']:.3f}" in out
    assert f"{semantic['overlapping']:.3f}" in out
    assert f"{semantic['unrelated']:.3f}" in out
    assert f"{semantic['gain_low']:.2f}-{semantic['gain_high']:.2f}" in out
    assert max(map(len, out.splitlines())) <= 80
    message = refused("demo", "-o", "my demo", "--crops", 20)
    assert "translation.png exists; --overwrite replaces it" in message
    code, out, _ = run("demo", "--crops", 20, "--seed", 1)
    assert code == 0
    assert "Nothing was written; to keep the figure and all numbers: -o FOLDER" in out


@pytest.mark.parametrize("exact", [False, True])
def test_demo_matches_exactly_on_request(folder, monkeypatch, exact):
    class Done(ValueError):
        pass

    seen = []

    def stop(config, progress):
        seen.extend(stage.matcher for stage in config.stages)
        raise Done("configured")

    monkeypatch.setattr(demo, "run", stop)
    assert "configured" in refused("demo", *["--exact"] * exact)
    assert (seen == [sj.Exact()] * 4) is exact


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("--crops", 7), "crops must be a"),
        (("--crops", -10), "crops must be"),
        (("--seed", -1), "seed must be at least 0"),
        (("-o", "x.npy"), "x.npy is a file"),
    ],
)
def test_demo_refuses_bad_settings(folder, arguments, message):
    assert message in refused("demo", *arguments)


# The program as a whole


@pytest.mark.parametrize(
    "command",
    [(), *((n,) for n in ("rsm", "compare", "correlate", "retrieve", "match", "demo"))],
)
def test_help_teaches_by_an_example(command):
    for flag in ("--help", "-h"):
        code, out, _ = run(*command, flag)
        assert code == 0
        assert "semrsm" in out
        assert "Example: semrsm" in out or "A typical session" in out


def test_version():
    code, out, _ = run("--version")
    assert code == 0
    assert out.startswith("semrsm_jax ")


def semrsm(*arguments, **options) -> subprocess.CompletedProcess:
    command = [sys.executable, "-m", "semrsm_jax", *map(str, arguments)]
    return subprocess.run(command, capture_output=True, timeout=60, **options)


def test_program_pipes_json_and_survives_odd_terminals(rsms):
    environment = os.environ | {"PYTHONIOENCODING": "ascii", "FORCE_COLOR": "1"}
    Path("k.npz").rename("größe.npz")
    done = semrsm("compare", "größe.npz", "l.npy", "--json", env=environment)
    assert (done.returncode, done.stderr) == (0, b"")
    assert json.loads(done.stdout)["rsms"][0] == "größe.npz"
    done = semrsm("compare", "größe.npz", "l.npy", env=environment)
    assert (done.returncode, done.stderr) == (0, b"")
    assert b"gr\\xf6\\xdfe.npz" in done.stdout
    name = os.fsdecode(b"\xff.npy")
    done = semrsm("compare", "l.npy", name, env=environment)
    assert done.returncode == 2
    assert done.stderr.startswith(b"\x1b[31mError: ") or b"Error: " in done.stderr
    assert b"Traceback" not in done.stderr


def on_terminal(*command) -> tuple[str, str]:
    """The stdout of a program, and what it shows on a terminal as stderr."""
    terminal, stderr = pty.openpty()
    shown = []

    def drain():
        # A terminal buffers little: unread, it would halt the program. Once the
        # program has ended, reading is an error on Linux.
        with contextlib.suppress(OSError):
            while part := os.read(terminal, 4096):
                shown.append(part)

    reader = threading.Thread(target=drain)
    reader.start()
    environment = os.environ | {"TERM": "xterm", "COLUMNS": "120"}
    done = subprocess.run(
        command, stdout=subprocess.PIPE, stderr=stderr, env=environment, check=True
    )
    os.close(stderr)
    reader.join()
    os.close(terminal)
    return done.stdout.decode(), b"".join(shown).decode()


def test_progress_is_shown_on_a_terminal_unless_quiet(folder):
    command = [sys.executable, "-m", "semrsm_jax", "rsm", "x.npy", "-o", "o.npz"]
    command += ["--matcher", "identity", "--memory-budget", "1"]
    out, shown = on_terminal(*command)
    assert "RSM of x.npy" in out
    assert "Matching pairs" in shown
    assert "10/10" in shown
    assert "pairs/s" in shown
    assert on_terminal(*command, "--quiet", "--overwrite") == ("", "")


FULL_DISK = """
import resource, sys
from semrsm_jax.cli import app
resource.setrlimit(resource.RLIMIT_FSIZE, (1024, 1024))
app(["rsm", "big.npy", "-o", "o.npz", "--matcher", "identity"])
"""


def test_full_disk_is_one_message_and_no_file(folder):
    np.save("big.npy", features(shape=(20, 3, 4)))
    before = sorted(os.listdir())
    done = subprocess.run([sys.executable, "-c", FULL_DISK], capture_output=True)
    assert done.returncode == 1
    assert done.stderr.startswith(b"Error: ")
    assert len(done.stderr.splitlines()) == 1
    assert sorted(os.listdir()) == before
