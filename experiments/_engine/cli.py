"""The command line of the engine's benchmark."""

import statistics
from collections.abc import Mapping
from typing import Any

from experiments import engine
from experiments._common.benchmark import Benchmark, command
from experiments._common.worker import Report, usable_cores, worker
from experiments._engine import measure
from experiments._engine.config import SCALES, EngineConfig
from semrsm_jax.cli.console import size


def measured(config: EngineConfig, report: Report) -> dict[str, Any]:
    """Runs the parts one after the other, never two at a time."""
    with worker(report) as call:
        overheads = [
            call(measure.overhead, config, size).value for size in config.overhead
        ]
    with worker(report) as call:
        cluster = call(measure.cluster, config).value
    small, large, tokens, channels = config.memory
    runs: dict[int, list[dict[str, float]]] = {small: [], large: []}
    for _ in range(config.memory_rounds):
        for samples, found in runs.items():
            with worker(report) as call:
                once = call(measure.run_once, samples, tokens, channels)
            found.append(once.value)
    memory = {
        name: {
            n: statistics.median(r[name] for r in found) for n, found in runs.items()
        }
        for name in ("peak_bytes", "milliseconds_a_pair")
    }
    return {
        "cores": usable_cores(),
        "overhead": overheads,
        "cluster": cluster,
        "memory": memory,
    }


def lines(config: EngineConfig, results: Mapping[str, Any]) -> list[str]:
    """Each figure with its goal."""
    found = []
    for part in results["overhead"]:
        times = part["milliseconds_a_pair"]
        found.append(
            f"overhead S={part['tokens']}: {times['engine']:.3f} ms a pair, bare "
            f"{times['bare']:.3f}: ratio {part['ratio']:.3f}"
            + _goal(config, part["ratio"] <= part["goal"], f"at most {part['goal']}")
        )
    part = results["cluster"]
    one, two = part["pairs_per_second"].values()
    found.append(
        f"cluster S={part['tokens']}: {one:.1f} pairs/s of one worker, {two:.1f} of "
        f"two: ratio {part['ratio']:.2f}"
        + _goal(config, part["ratio"] >= part["goal"], f"at least {part['goal']}")
    )
    small, large = results["memory"]["peak_bytes"].values()
    found.append(
        f"memory: {size(small)} at N={config.memory[0]}, {size(large)} at "
        f"N={config.memory[1]}: ratio {large / small:.3f}"
        + _goal(
            config,
            large / small <= config.memory_goal,
            f"at most {config.memory_goal}",
        )
    )
    small, large = results["memory"]["milliseconds_a_pair"].values()
    found.append(
        f"cost: {small:.3f} and {large:.3f} ms a pair: ratio {large / small:.3f}"
        + _goal(
            config, large / small <= config.pair_goal, f"at most {config.pair_goal}"
        )
    )
    return found


def _goal(config: EngineConfig, met: bool, goal: str) -> str:
    if not config.has_goals:
        return ""
    return f"; goal {goal}: {'met' if met else 'NOT met'}"


app = command(Benchmark("engine", engine.__doc__ or "", SCALES, measured, lines))
