"""The command line as tests call it, and the files that it reads."""

import json

import numpy as np
import typer
from typer.testing import CliRunner

from semrsm_jax.cli import app as semrsm

SOLVER = ("--solver", "scipy")
N, M = 8, 11


def features(seed=0, shape=(5, 3, 2, 4)) -> np.ndarray:
    return np.random.default_rng(seed).normal(size=shape).astype(np.float32)


def load(*names) -> list[np.ndarray]:
    return [np.load(f"{name}.npy") for name in names]


def run(*arguments, app: typer.Typer = semrsm) -> tuple[int, str, str]:
    """Exit code, stdout and stderr; a traceback is a failure of its own."""
    result = CliRunner().invoke(app, [str(a) for a in arguments])
    if result.exception and not isinstance(result.exception, SystemExit):
        raise result.exception
    return result.exit_code, result.stdout, result.stderr


def refused(*arguments) -> str:
    """The one message of a command that must end with exit code 2."""
    code, out, err = run(*arguments)
    assert (code, out) == (2, "")
    assert "Traceback" not in err
    return " ".join(err.replace("│", " ").split())


def done(*arguments) -> str:
    """The stdout of a command that must succeed without any message."""
    code, out, err = run(*arguments)
    assert (code, err) == (0, "")
    return out


def as_json(*arguments) -> dict:
    """What a command prints with ``--json``."""
    return json.loads(done(*arguments, "--json"))
