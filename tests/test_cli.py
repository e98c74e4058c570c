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

import numpy as np
import pytest
import typer
from shell import SOLVER, features, refused, run

from semrsm_jax import engine
from semrsm_jax.cli import _COMMANDS
from semrsm_jax.cli.console import guarded
from semrsm_jax.pairs import executor
from semrsm_jax.store import load_rsm, save_rsm

SOFT = ("--matcher", "sinkhorn")


@pytest.mark.slow
def test_existing_output_needs_overwrite(features_folder):
    Path("o.npz").write_text("before")
    message = refused("rsm", "x.npy", "-o", "o.npz")
    assert message == "Error: output o.npz exists; --overwrite replaces it"
    assert Path("o.npz").read_text() == "before"
    assert run("rsm", "x.npy", "-o", "o.npz", "--overwrite", *SOLVER)[0] == 0
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
        (("complex.npy",), "floats or integers of at most 64 bits, got dtype complex"),
        (("nan.npy",), "nan.npy, samples 0 to 1, must be finite in float32, got 1 Na"),
        (("flat.npy",), "flat.npy: features must have 3 axes (N, S, C) or 4 (N, H,"),
        (("x.npy", "--layout", "NSC"), "layout 'NSC' needs 3 axes, got features of"),
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
def test_bad_input_is_one_message_and_writes_nothing(
    features_folder, arguments, message
):
    np.save("complex.npy", np.ones((2, 3, 4), complex))
    np.save("nan.npy", np.where(np.arange(24) == 3, np.nan, 1).reshape(2, 3, 4))
    np.save("flat.npy", np.ones((2, 3)))
    np.save("wide.npy", np.ones((2, 3, 7)))
    Path("bad.npy").write_text("bad")
    before = sorted(os.listdir())
    output = () if "-o" in arguments else ("-o", "o.npz")
    assert message in refused("rsm", *arguments, *output)
    assert sorted(os.listdir()) == before


def test_output_is_refused_before_any_work(features_folder, monkeypatch):
    Path("o.npz").touch()
    monkeypatch.setattr(engine, "run", lambda *_, **__: pytest.fail("worked"))
    assert "--overwrite" in refused("rsm", "x.npy", "-o", "o.npz")


def test_missing_output_and_no_command_are_explained(features_folder):
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
def test_interrupt_and_full_memory_leave_nothing(features_folder, monkeypatch, error):
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


def test_a_fault_of_the_program_is_not_hidden(features_folder, monkeypatch):
    monkeypatch.setattr(executor, "match_pairs", failing(RuntimeError("a bug")))
    with pytest.raises(RuntimeError, match="a bug"):
        run("rsm", "x.npy", "-o", "o.npz")


@pytest.fixture
def rsms(features_folder) -> tuple[np.ndarray, np.ndarray]:
    # Symmetric, as RSMs are, so that the unbiased estimates exist.
    k, l = (z @ z.T for z in features(3, (2, 6, 5)))  # noqa: E741
    save_rsm("k.npz", k, metadata={"matcher": {"name": "Exact"}})
    save_rsm("l.npy", l)
    return k, l


# The program as a whole


@pytest.mark.parametrize("name", ["", *(module.NAME for module in _COMMANDS)])
def test_help_teaches_by_an_example(name):
    for flag in ("--help", "-h"):
        code, out, _ = run(*name.split(), flag)
        assert code == 0
        assert f"Example: semrsm {name}" in out or (not name and "A typical" in out)


def test_version():
    code, out, _ = run("--version")
    assert code == 0
    assert out.startswith("semrsm_jax ")


def semrsm(*arguments, **options) -> subprocess.CompletedProcess:
    command = [sys.executable, "-m", "semrsm_jax", *map(str, arguments)]
    return subprocess.run(command, capture_output=True, timeout=60, **options)


@pytest.mark.slow
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


FULL_DISK = """
import resource, sys
from semrsm_jax.cli import app
resource.setrlimit(resource.RLIMIT_FSIZE, (1024, 1024))
app(["rsm", "big.npy", "-o", "o.npz", "--matcher", "identity"])
"""


@pytest.mark.slow
def test_full_disk_is_one_message_and_no_file(features_folder):
    np.save("big.npy", features(shape=(20, 3, 4)))
    before = sorted(os.listdir())
    # Programs that the disk has no room for are not kept, which JAX warns of.
    settings = {k: v for k, v in os.environ.items() if "COMPILATION_CACHE" not in k}
    command = [sys.executable, "-c", FULL_DISK]
    done = subprocess.run(command, capture_output=True, env=settings)
    assert done.returncode == 1
    assert done.stderr.startswith(b"Error: ")
    assert len(done.stderr.splitlines()) == 1
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
