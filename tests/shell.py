"""The command line as tests call it."""

import json

import typer
from typer.testing import CliRunner

from semrsm_jax.cli import app as semrsm


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
