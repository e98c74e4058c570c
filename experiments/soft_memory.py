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

from collections.abc import Mapping
from typing import Any

from experiments._common.benchmark import Benchmark, command
from experiments._common.worker import Report, worker
from experiments._soft.memory import SCALES, MemoryConfig, Taken, backward, forward
from semrsm_jax.cli.console import size

_PARTS = {"forward": forward, "backward": backward}


def measured(config: MemoryConfig, report: Report) -> dict[str, Taken]:
    """Each part in a process of its own, one after the other."""
    taken: dict[str, Any] = {}
    for name, part in _PARTS.items():
        with worker(report) as call:
            taken[name] = call(part, config).value
    return taken


def lines(config: MemoryConfig, taken: Mapping[str, Taken]) -> list[str]:
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


app = command(Benchmark("soft_memory", __doc__ or "", SCALES, measured, lines))

if __name__ == "__main__":
    app()
