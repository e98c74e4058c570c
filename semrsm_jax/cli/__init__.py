"""The command line, ``semrsm``: one file a command, each with the help it shows.

A command parses its options, calls the library, and prints. Packages that are slow to
import are imported where a command needs them, so that help is immediate.
"""

from typing import Annotated

import typer

from semrsm_jax._version import __version__
from semrsm_jax.cli import (
    compare,
    correlate,
    demo,
    extract,
    match,
    models,
    plan,
    report,
    retrieve,
    rsm,
    search,
    see,
    status,
)
from semrsm_jax.cli._algorithm_options import with_expanded_options
from semrsm_jax.cli.console import guarded, say

_HELP = """How similar two images are to a network, wherever in the image things are.

A typical session, on features of shape (N, H, W, C) or (N, S, C) that you saved with numpy.save:

  semrsm rsm layer1.npy -o layer1.npz

  semrsm rsm layer2.npy -o layer2.npz

  semrsm compare layer1.npz layer2.npz

semrsm see makes a report of a folder of images by any network, semrsm extract computes features. To see results without any images: semrsm demo"""  # noqa: E501 (lines are wrapped when shown)

_COMMANDS = (
    see,
    extract,
    models,
    rsm,
    plan,
    status,
    compare,
    correlate,
    search,
    retrieve,
    match,
    report,
    demo,
)


def build_app() -> typer.Typer:
    """The program ``semrsm`` with the algorithms that the registry holds now.

    A script of yours that adds its matchers to `semrsm_jax.registry` and then calls
    ``build_app()()`` is ``semrsm`` with these matchers.
    """
    program = typer.Typer(
        name="semrsm",
        help=_HELP,
        no_args_is_help=True,
        context_settings={"help_option_names": ["-h", "--help"]},
        # A traceback that reaches the user is a fault of this program.
        pretty_exceptions_enable=False,
    )
    for module in _COMMANDS:
        command = with_expanded_options(module.command)
        name = module.__name__.rpartition(".")[2]
        program.command(name, help=module.HELP)(guarded(command))
    program.callback()(_main)
    return program


def _show_version(wanted: bool) -> None:
    if wanted:
        say(f"semrsm_jax {__version__}")
        raise typer.Exit


def _main(
    version: Annotated[
        bool,
        typer.Option(
            "--version",
            callback=_show_version,
            is_eager=True,
            help="Show the version and exit.",
        ),
    ] = False,
) -> None:
    del version


app = build_app()
