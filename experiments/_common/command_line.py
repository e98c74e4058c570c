"""What the command lines of all experiments share."""

import importlib.util
from collections.abc import Callable, Mapping

import typer

from semrsm_jax.cli.console import guarded


def app_of(doc: str, main: Callable[..., None]) -> typer.Typer:
    """An application of one command.

    Args:
      doc: its help; lines that are indented stay as they are.
      main: the command, whose signature declares the options.
    """
    app = typer.Typer(
        add_completion=False,
        pretty_exceptions_enable=False,
        context_settings={"help_option_names": ["-h", "--help"]},
    )
    # \b keeps the lines of a paragraph as they are.
    app.command(help=doc.replace("\n\n    ", "\n\n\b\n    "))(guarded(main))
    return app


def check_installed(name: str, needs: Mapping[str, str]) -> None:
    """Raises ImportError before the work, not after it.

    Args:
      name: of the experiment.
      needs: module -> the distribution that brings it.
    """
    for module, distribution in needs.items():
        if importlib.util.find_spec(module) is None:
            raise ImportError(f"{name} needs {module}: pip install {distribution}")
