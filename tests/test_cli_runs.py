"""semrsm rsm into a store, semrsm plan, semrsm status."""

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
from shell import SOLVER, as_json, done, features, refused, run

import semrsm_jax as sj
from semrsm_jax import engine
from semrsm_jax.store import (
    RunStore,
    load_rsm,
    open_run,
    open_runs,
    open_similarities,
    open_similarity,
    save_features,
)
from semrsm_jax.store.layers import layer_folders

SHAPE = (11, 3, 2, 4)


@pytest.fixture
def folder(tmp_path, monkeypatch) -> Path:
    monkeypatch.chdir(tmp_path)
    np.save("x.npy", features(shape=SHAPE))
    np.save("y.npy", features(1, (5, 6, 4)))
    np.savez("layers.npz", conv1=features(0, SHAPE), conv2=features(2, SHAPE))
    return tmp_path


RSM = ("rsm", "x.npy", "--matcher", "identity", "--tile", 4)


@pytest.mark.slow
@pytest.mark.parametrize(
    ("inputs", "center"), [(("x.npy",), "none"), (("x.npy", "y.npy"), "channel")]
)
def test_every_output_holds_the_same_bits(folder, inputs, center):
    command = ("rsm", *inputs, "--center", center, "--tile", 4, *SOLVER)
    done(*command, "-o", "k.zarr")
    for name, kernel in {"linear": sj.Linear(), "rbf": sj.RBF()}.items():
        expected = open_similarity("k.zarr", kernel)[:]
        for output in ("k.npy", "k.npz", "k.safetensors"):
            options = ("-o", output, "--kernel", name, "--overwrite")
            done(*command, *options)
            loaded = load_rsm(output)
            np.testing.assert_array_equal(loaded.rsm, expected)
            if loaded.statistics is not None:
                stored = open_run("k.zarr").statistics(0, 11)
                for a, b in zip(loaded.statistics, stored, strict=True):
                    np.testing.assert_array_equal(a, b)
    assert not list(folder.glob("*.partial"))


@pytest.mark.parametrize("output", ["k.npz", "k.safetensors", "k.zarr"])
def test_ids_travel_with_the_rsm(folder, output):
    ids = [f"image {n}" for n in range(11)]
    save_features("x.npz", {"a": features(shape=SHAPE)}, ids=ids)
    done("rsm", "x.npz", "y.npy", "--matcher", "identity", "-o", output)
    similarity = open_similarity(output)
    assert list(similarity.x_ids or ()) == ids
    assert similarity.y_ids is None


def test_a_tile_is_no_larger_than_the_matrix(folder):
    done("rsm", "x.npy", "-o", "k.zarr", "--tile", 3000, *SOLVER)
    assert open_run("k.zarr").grid.side == 11


def test_an_interrupted_file_is_resumed(folder, monkeypatch):
    command = ("rsm", "x.npy", "-o", "k.npz", "--tile", 4, *SOLVER)
    done(*command)
    expected = load_rsm("k.npz").rsm
    write, written = RunStore.write, []

    def interrupted(store, tile, matrices):
        write(store, tile, matrices)
        written.append(tile)
        if len(written) == 3:
            raise KeyboardInterrupt

    monkeypatch.setattr(RunStore, "write", interrupted)
    code, out, err = run(*command, "--overwrite")
    assert (code, out) == (130, "")
    assert "finished tiles are kept in " in err and "k.npz.partial" in err
    assert run("status", "k.npz.partial")[0] == 3
    out = done(*command, "--overwrite", "--json-log", "log.jsonl")
    assert "resumed" in out
    assert len(written) == 6
    np.testing.assert_array_equal(load_rsm("k.npz").rsm, expected)
    assert not list(folder.glob("*.partial"))
    assert json.loads(Path("log.jsonl").read_text().splitlines()[-1])["resumed"] > 0


def test_a_run_begun_in_python_goes_on_in_the_shell_with_status_and_log(folder):
    settings = {"matcher": sj.Identity(), "tile": 4}
    store = engine.run(features(shape=(11, 6, 4)), store="x.zarr", **settings)
    store.forget(list(store.grid)[2])
    code, out, _ = run("status", "x.zarr")
    assert code == 3
    assert "not finished" in out
    assert "5 of 6, 4 x 4" in out
    for progress in ("resumed", "nothing to match"):
        out = done(*RSM, "-o", "x.zarr", "--json-log", "log.jsonl")
        for text in ("6 (NHWC)", progress, "Next: semrsm status x.zarr"):
            assert text in out
    document = as_json("status", "x.zarr", "--verify")
    (one,) = document["runs"]
    assert document["finished"]
    assert (one["pairs"], one["pairs_done"], one["tiles_missing"]) == (55, 55, 0)
    lines = [json.loads(line) for line in Path("log.jsonl").read_text().splitlines()]
    assert [line["event"] for line in lines].count("finished") == 2
    assert {"time", "done", "total", "resumed", "rate", "eta"} <= set(lines[-1])
    assert lines[-1]["done"] == lines[-1]["total"] == 55
    assert lines[-1]["resumed"] > 0


@pytest.mark.slow
def test_a_soft_run_resumes_and_is_no_other(folder):
    soft = ("--matcher", "sinkhorn", "--epsilon", 0.5, "--relative")
    command = ("rsm", "x.npy", "-o", "x.zarr", "--tile", 4, *soft)
    done(*command)
    store = open_run("x.zarr")
    assert store.manifest.matcher["epsilon"] == 0.5
    assert store.manifest.matcher["relative"] is True
    store.forget(list(store.grid)[2])
    out = done(*command)
    assert "resumed" in out
    matcher = sj.Sinkhorn(0.5, relative=True)
    expected = sj.rsm(features(shape=(11, 6, 4)), matcher=matcher)
    np.testing.assert_allclose(
        open_similarity("x.zarr", sj.Linear())[:], expected, rtol=1e-4, atol=1e-4
    )
    assert "0.5" in refused(*command, "--epsilon", 0.6)
    assert as_json("plan", "x.npy", *soft)["pairs"] == 66


def test_status_names_damage(folder):
    run(*RSM, "-o", "x.zarr", "-q")
    chunk = Path("x.zarr/inner/c.1.0")
    chunk.write_bytes(bytes(chunk.stat().st_size))
    done("status", "x.zarr")
    code, out, _ = run("status", "x.zarr", "--verify")
    assert code == 3
    assert "tile 1.0" in out
    assert "differs from its checksum" in out


def test_several_layers(folder):
    command = ("rsm", "layers.npz", "-o", "l.zarr", "--matcher", "identity")
    out = done(*command, "--layer", "all")
    assert "conv1, conv2" in out
    assert set(open_runs("l.zarr")) == {"conv1", "conv2"}
    out = done("status", "l.zarr")
    assert out.count("55 of 55") == 2
    assert "exclude each other" in refused(*command, "--layer", "conv1", "--key", "b")
    assert "key must be one of 'conv1', 'conv2'" in refused(*command, "--layer", "no")


def test_layers_that_are_not_begun_are_named(folder):
    x = {"conv1": features(shape=(11, 6, 4))}
    engine.run(x, store="l.zarr", matcher=sj.Identity())
    layer_folders("l.zarr", ["conv1", "conv2"])
    code, out, _ = run("status", "l.zarr")
    assert code == 3 and "l.zarr: not finished" in out
    assert "not begun" in out and "conv2" in out
    for read in (open_run, open_runs, lambda path: open_similarities([path])):
        with pytest.raises(ValueError, match="layers 'conv2' are not begun"):
            read("l.zarr")
    assert not open_run("l.zarr", "conv1").missing()


def test_plan(folder):
    out = done("plan", "x.npy", "--matcher", "identity")
    for name in ("pairs       55", "time", "memory", "disk", "pairs/s"):
        assert name in out
    document = as_json("plan", "x.npy", "y.npy", "--matcher", "identity")
    assert document["pairs"] == 55 and document["samples"] == [11, 5]
    assert sorted(p.name for p in folder.iterdir()) == ["layers.npz", "x.npy", "y.npy"]


def test_what_does_not_fit_is_refused(folder):
    assert "serves every kernel" in refused(*RSM, "-o", "x.zarr", "--kernel", "rbf")
    assert "the run in it is resumed" in refused(*RSM, "-o", "x.zarr", "--overwrite")
    command = ("rsm", "layers.npz", "-o", "x.npz", "--layer", "all")
    assert "--layer needs an output that ends in .zarr" in refused(*command)
    assert "--workers must be at least 1" in refused(
        *RSM, "-o", "x.zarr", "--workers", 0
    )
    assert "exclude each other" in refused(
        *RSM, "-o", "x.zarr", "--workers", 1, "--cluster", "tcp://localhost:1"
    )
    message = refused(*RSM, "-o", "x.zarr", "--json-log", "no/log")
    assert "JSON log no/log cannot be written" in message
    assert not Path("x.zarr").exists()
    assert "does not exist" in refused("status", "no.zarr")
    assert "is no zarr array or group" in refused("status", folder)
    run(*RSM, "-o", "x.zarr")
    other = ("rsm", "y.npy", "-o", "x.zarr", "--matcher", "identity")
    assert "holds another run, of x sha256" in refused(*other)


@pytest.mark.slow
def test_ctrl_c_keeps_what_is_done_and_says_how_to_go_on(tmp_path):
    np.save(tmp_path / "x.npy", features(shape=(400, 8, 8, 16)))
    command = [sys.executable, "-m", "semrsm_jax", "rsm", "x.npy", "-o", "run.zarr"]
    command += ["--solver", "scipy", "--tile", "8"]
    child = subprocess.Popen(
        command, cwd=tmp_path, stderr=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    )
    end = time.monotonic() + 120
    records = tmp_path / "run.zarr" / "crc32c"
    while len(list(records.glob("c.*"))) < 4 and time.monotonic() < end:
        time.sleep(0.02)
    os.kill(child.pid, signal.SIGINT)
    out, err = child.communicate(timeout=120)
    assert child.returncode == 130
    assert "To go on, run the same command again" in err
    assert "Traceback" not in err
    assert out == ""
    store = open_run(tmp_path / "run.zarr")
    assert 0 < len(store.missing()) < len(list(store.grid))
    assert store.damaged() == {}
