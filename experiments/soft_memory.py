"""Memory: a soft matching whose plan is never held, forward and backward.

    python -m experiments.soft_memory                  # a minute or two, 2 cores
    python -m experiments.soft_memory --scale smoke    # everything tiny, seconds

It writes soft_memory.json to results/soft_memory. Two samples of 16,384 tokens and 64
channels are matched with `Sinkhorn`; their plan would take 1 GiB, as would each array
that goes with it. Forward is `match` with all that it says, rounding included; backward
the gradient of a cosine similarity in the tokens of both. Each runs in a new process,
whose peak counts everything: Python, JAX, compilation, tokens and results.

Goal: either process holds less than 1 GiB at any time.
"""

import dataclasses
import json
from pathlib import Path
from typing import Annotated, Any

import typer

from experiments._common.environment import environment, plain
from experiments._runtime.cli import show_progress
from experiments._runtime.worker import Report, worker
from experiments._soft.memory import SCALES, MemoryConfig, Taken, backward, forward
from semrsm_jax import _checks
from semrsm_jax.cli._console import guarded, say, size
from semrsm_jax.store import check_output, new_file

_PACKAGES = ("semrsm_jax", "jax", "jaxlib", "numpy")
_PARTS = {"forward": forward, "backward": backward}

app = typer.Typer(
    add_completion=False,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)


# \b keeps the lines of a paragraph as they are, here of the indented ones.
@app.command(help=(__doc__ or "").replace("\n\n    ", "\n\n\b\n    "))
@guarded
def main(
    scale: Annotated[
        str, typer.Option(help=f"How much to run: {' or '.join(SCALES)}.")
    ] = "bundled",
    output: Annotated[
        Path, typer.Option("--output", "-o", help="Folder for the figures.")
    ] = Path("results/soft_memory"),
    overwrite: Annotated[
        bool, typer.Option("--overwrite", help="Replace the file of another run.")
    ] = False,
) -> None:
    """Measures, prints what came out with its goal, and writes it."""
    _checks.one_of("scale", scale, tuple(SCALES))
    path = check_output(output / "soft_memory.json", overwrite, suffixes=(".json",))
    config = SCALES[scale]
    with show_progress() as show:
        taken = measured(config, show)
    document = {
        "config": plain(dataclasses.asdict(config)),
        "environment": environment(_PACKAGES),
        **{part: plain(found) for part, found in taken.items()},
    }
    with new_file(path, overwrite) as temporary:
        temporary.write_text(json.dumps(document, indent=2))
    for line in lines(config, taken):
        say(line)
    say(f"Written: {path}")


def measured(config: MemoryConfig, show: Report) -> dict[str, Taken]:
    """Each part in a process of its own, one after the other."""
    taken: dict[str, Any] = {}
    for name, part in _PARTS.items():
        with worker(show) as call:
            taken[name] = call(part, config).value
    return taken


def lines(config: MemoryConfig, taken: dict[str, Taken]) -> list[str]:
    """Each part's peak, with the goal."""
    found = []
    for name, part in taken.items():
        line = (
            f"{name} S={config.tokens}, C={config.channels}: peak "
            f"{size(part.peak_bytes)}, {size(part.peak_bytes - part.before_bytes)} of "
            f"it by the work, in {part.seconds:.1f} s"
        )
        if part.n_iters is not None:
            line += f", {part.n_iters} iterations"
        if config.has_goals:
            met = part.peak_bytes < config.goal_bytes
            goal = size(config.goal_bytes)
            line += f"; goal below {goal}: {'met' if met else 'NOT met'}"
        found.append(line)
    return found


if __name__ == "__main__":
    app()
