"""The command line as a whole: help, errors, terminals, full disks."""

import contextlib
import json
import os
import pty
import subprocess
import sys
import threading
import time
from pathlib import Path
from unittest.mock import Mock

import numpy as np
import pytest
import typer
from shell import SOLVER, done, features, refused, run
from stored_runs import full_disk

from semrsm_jax import engine
from semrsm_jax.cli import app
from semrsm_jax.cli.console import guarded
from semrsm_jax.pairs import executor
from semrsm_jax.store import load_rsm, save_rsm

SOFT = ("--matcher", "sinkhorn")


def test_existing_output_needs_overwrite(features_folder, monkeypatch):
    Path("o.npz").write_text("before")
    with monkeypatch.context() as patch:
        patch.setattr(engine, "run", lambda *_, **__: pytest.fail("worked"))
        message = refused("rsm", "x.npy", "-o", "o.npz")
    assert message == "Error: output o.npz exists; --overwrite replaces it"
    assert Path("o.npz").read_text() == "before"
    done("rsm", "x.npy", "-o", "o.npz", "--overwrite", *SOLVER)
    assert load_rsm("o.npz").rsm.shape == (5, 5)


def test_input_is_never_replaced(features_folder):
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
        (("nan.npy",), "nan.npy, samples 0 to 1, must be finite in float32, got 1 Na"),
        (("flat.npy",), "flat.npy: features must have 3 axes (N, S, C) or 4 (N, H,"),
        (("x.npy", "--window", 4), "--window does not fit --matcher exact, which take"),
        (("x.npy", "--matcher", "greedy", "--k", 1), "--k does not fit --matcher gree"),
        (("x.npy", "--matcher", "identity", *SOLVER), "identity, which takes no optio"),
        (("x.npy", "--matcher", "hungarian"), "one of exact, batch-optimal, topk-gr"),
        (("x.npy", "--matcher", "circular-shift"), "circular-shift needs --grid"),
        (("x.npy", "--max-iterations", 4), "--max-iterations does not fit --matcher"),
        (("x.npy", *SOFT, "--k", 4), "takes --epsilon, --relative, --tolerance, --max"),
        (("x.npy", *SOFT, "--relative"), "--relative states the unit of --eps"),
        (("x.npy", "--matcher", "circular-shift", "--grid", "3"), "HxW, for example"),
        (("x.npy", "--bandwidth", "2"), "--bandwidth does not fit --kernel linear"),
        (("x.npy", "--memory-budget", "lots"), "size such as 512MB, 2GiB or 100000"),
        (("x.npy", "--memory-budget", "0MB"), "must be at least 1 byte, got '0MB'"),
        (("x.npy", "--memory-budget", "9" * 400), "size such as 512MB"),
    ],
)
def test_bad_input_is_one_message_and_writes_nothing(
    features_folder, arguments, message
):
    np.save("nan.npy", np.where(np.arange(24) == 3, np.nan, 1).reshape(2, 3, 4))
    np.save("flat.npy", np.ones((2, 3)))
    Path("bad.npy").write_text("bad")
    before = sorted(os.listdir())
    output = () if "-o" in arguments else ("-o", "o.npz")
    assert message in refused("rsm", *arguments, *output)
    assert sorted(os.listdir()) == before


def test_missing_output_and_no_command_are_explained(features_folder):
    assert "Missing option '--output'" in refused("rsm", "x.npy")
    _, out, err = run()
    assert "semrsm compare layer1.npz layer2.npz" in out + err


@pytest.mark.parametrize(
    "error",
    [
        KeyboardInterrupt(),
        MemoryError(),
        OSError(28, "full"),
        RuntimeError("RESOURCE_EXHAUSTED: 1 TB"),
    ],
)
def test_interrupt_and_full_memory_leave_nothing(features_folder, monkeypatch, error):
    monkeypatch.setattr(executor, "match_pairs", Mock(side_effect=error))
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


def test_a_fault_of_the_program_is_not_hidden(features_folder, monkeypatch):
    bug = Mock(side_effect=RuntimeError("a bug"))
    monkeypatch.setattr(executor, "match_pairs", bug)
    with pytest.raises(RuntimeError, match="a bug"):
        run("rsm", "x.npy", "-o", "o.npz")


@pytest.mark.parametrize("name", ["", *(c.name for c in app.registered_commands)])
def test_help_teaches_by_an_example(name):
    for flag in ("--help", "-h"):
        out = done(*name.split(), flag)
        assert f"Example: semrsm {name}" in out or (not name and "A typical" in out)


def test_version():
    out = done("--version")
    assert out.startswith("semrsm_jax ")


@pytest.mark.slow
def test_program_pipes_json_and_survives_odd_terminals(features_folder):
    environment = os.environ | {"PYTHONIOENCODING": "ascii", "FORCE_COLOR": "1"}
    # Symmetric, as RSMs are.
    for name, z in zip(("größe", "l"), features(3, (2, 6, 5)), strict=True):
        save_rsm(f"{name}.npz", z @ z.T)

    def compare(*arguments):
        command = [sys.executable, "-m", "semrsm_jax", "compare", *arguments]
        return subprocess.run(command, capture_output=True, env=environment, timeout=60)

    ended = compare("größe.npz", "l.npz", "--json")
    assert (ended.returncode, ended.stderr) == (0, b"")
    assert json.loads(ended.stdout)["rsms"][0] == "größe.npz"
    ended = compare("größe.npz", "l.npz")
    assert (ended.returncode, ended.stderr) == (0, b"")
    assert b"gr\\xf6\\xdfe.npz" in ended.stdout
    ended = compare("l.npz", os.fsdecode(b"\xff.npy"))
    assert ended.returncode == 2
    assert b"Error: " in ended.stderr and b"Traceback" not in ended.stderr


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


@pytest.mark.slow
def test_progress_is_shown_on_a_terminal_unless_quiet(features_folder):
    command = [sys.executable, "-m", "semrsm_jax", "rsm", "x.npy", "-o", "o.npz"]
    command += ["--matcher", "identity", "--memory-budget", "1"]
    out, shown = on_terminal(*command)
    assert "RSM of x.npy" in out
    assert "Matching pairs" in shown
    assert "10/10" in shown
    assert "pairs/s" in shown
    assert on_terminal(*command, "--quiet", "--overwrite") == ("", "")


def test_full_disk_is_one_message_and_no_file(features_folder):
    np.save("big.npy", features(shape=(20, 3, 4)))
    command = ("rsm", "big.npy", "--matcher", "identity")
    # Compiles: programs that the disk has no room for would be left cut off.
    done(*command, "-o", "whole.npz")
    before = sorted(os.listdir())
    with full_disk(1024):
        code, out, err = run(*command, "-o", "o.npz")
    assert (code, out) == (1, "")
    assert err.startswith("Error: ") and len(err.splitlines()) == 1
    assert sorted(os.listdir()) == before


def test_an_interrupt_that_python_drops_is_repeated(capsys):
    """In `__del__` and in callbacks of the garbage collector nothing can be raised."""

    class Dropping:
        def __del__(self):
            raise KeyboardInterrupt

    @guarded
    def command():
        before = Dropping()
        del before
        for _ in range(1000):  # 10 s, of which an interrupt leaves little
            time.sleep(0.01)

    hook = sys.unraisablehook
    with pytest.raises(typer.Exit) as ended:
        command()
    assert ended.value.exit_code == 130 and sys.unraisablehook is hook
    assert "Interrupted" in capsys.readouterr().err
