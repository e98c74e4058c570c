"""Exact assignment on an accelerator and over the host, in batches of pairs.

    python -m experiments.benchmarks.device  # at most 8 minutes on a GPU
    python -m experiments.benchmarks.device --scale smoke  # tiny, seconds

It writes device.json to results/device. For each size S it measures, on the device that
JAX uses, affinities on the device and permutations there:

    device      the solver in plain JAX, `solver="device"`
    host        `solver="auction"`: affinities to the host, its cores, and back
    torch       `batch_linear_assignment` of torch-linear-assignment, where installed
                and PyTorch sees the same GPU; its own figure on an A100 is 11.6 ms for
                208 problems of 300 x 300

and counts what the device solver does one after the other. The operations in a round of
bids are those of the compiled program, times `launch_seconds` each: the time to start
one kernel, below which no accelerator gets. A batch takes the rounds of its worst pair.
"""

import importlib.util
import re
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import jax
import numpy as np

from experiments.frame.command_line import command
from experiments.frame.finding import Measurement
from experiments.frame.study import benchmark
from experiments.frame.timing import take_turns
from experiments.frame.worker import Report, worker
from experiments.runtime import features
from experiments.runtime.config import SCALES as RUNTIME
from experiments.runtime.config import Layer
from semrsm_jax import linear_assignment
from semrsm_jax.matching import device_steps

# Operations that XLA starts as kernels of their own.
_KERNELS = re.compile(r" (fusion|custom-call|reduce|scatter|gather|sort|dot|while)\(")


@dataclass(frozen=True)
class DeviceConfig:
    """All that the benchmark's work depends on.

    Attributes:
      layers: of the untrained network, each a size S.
      pairs: of a batch.
      rounds: turns of all solvers.
      counted: pairs whose rounds are counted, at most; on a processor they are slow.
      launch_seconds: to start a kernel.
    """

    layers: tuple[Layer, ...] = (
        *(Layer(64, 3), Layer(56, 2), Layer(64, 2), Layer(64, 1)),
    )
    pairs: int = 256
    rounds: int = 5
    counted: int = 16
    launch_seconds: float = 4e-6


SCALES = {
    "bundled": DeviceConfig(),
    "smoke": DeviceConfig(RUNTIME["smoke"].depth, 4, 1, 2),
}


def sizes(config: DeviceConfig, report: Report) -> list[dict[str, Any]]:
    """The figures of every size."""
    runtime = RUNTIME["smoke" if config.rounds == 1 else "full"]
    tokens = features.compute(runtime, config.layers, report)
    return [_size(config, tokens[layer], report) for layer in config.layers]


def _size(config: DeviceConfig, tokens: np.ndarray, report: Report) -> dict[str, Any]:
    affinity = features.products(*features.pairs(tokens, config.pairs, seed=0))
    on_processor = jax.default_backend() == "cpu"
    if on_processor:  # it solves pair after pair
        affinity = affinity[: config.counted]
    calls: dict[str, Callable[[int], Any]] = {
        name: lambda number, solver=solver: linear_assignment(affinity, solver=solver)
        for name, solver in (("device", "device"), ("host", "auction"))
    }
    if peer := _torch_solver(affinity):
        calls["torch"] = peer
    description = f"device S={affinity.shape[-1]}"
    turns = take_turns(calls, config.rounds, report, description, warm=True)
    steps = np.asarray(device_steps(affinity[: config.counted]))
    kernels = kernels_of_a_round(affinity[0])
    return {
        "tokens": affinity.shape[-1],
        "pairs": len(affinity),
        "platform": jax.devices()[0].device_kind,
        "seconds": turns.medians(),
        "steps": {"median": float(np.median(steps)), "most": int(steps.max())},
        "kernels_of_a_round": kernels,
        "least_seconds": float(steps.max()) * kernels * config.launch_seconds,
    }


def kernels_of_a_round(affinity: jax.Array) -> int:
    """Kernels in the longest body of a loop of the device solver, as compiled here."""
    solver = jax.jit(lambda a: linear_assignment(a, solver="device"))
    text = solver.lower(affinity).compile().as_text() or ""
    bodies = set(re.findall(r"body=%([\w.-]+)", text))
    computations = re.split(r"\n(?=%|ENTRY)", text)
    counts = [
        len(_KERNELS.findall(computation))
        for computation in computations
        if (name := re.match(r"%([\w.-]+)", computation)) and name[1] in bodies
    ]
    return max(counts, default=0)


def _torch_solver(affinity: jax.Array) -> Callable[[int], Any] | None:
    """The peer, on a copy of the affinities; None where it cannot run."""
    if importlib.util.find_spec("torch_linear_assignment") is None:
        return None
    import torch
    from torch_linear_assignment import (  # pyright: ignore[reportMissingImports]
        batch_linear_assignment,
    )

    if jax.default_backend() != "gpu" or not torch.cuda.is_available():
        return None
    costs = -torch.from_numpy(np.asarray(affinity)).cuda()

    def call(number: int) -> Any:
        solved = batch_linear_assignment(costs)
        torch.cuda.synchronize()
        return solved

    return call


def measure(config: DeviceConfig, report: Report) -> dict[str, Any]:
    """All sizes, in one process, on the device that JAX uses."""
    with worker(report, cpu=False) as call:
        return {"sizes": call(sizes, config).value}


def measurements(
    config: DeviceConfig, result: Mapping[str, Any]
) -> Iterator[Measurement]:
    """Times a batch, the count of steps, and the time that they predict."""
    for size in result["sizes"]:
        where = f"S={size['tokens']}, {size['pairs']} pairs, {size['platform']}"
        for name, seconds in size["seconds"].items():
            yield Measurement(f"{where}: {name}", 1e3 * seconds, "ms")
        yield Measurement(f"{where}: steps, median", size["steps"]["median"])
        yield Measurement(f"{where}: steps, most", size["steps"]["most"])
        yield Measurement(f"{where}: kernels a step", size["kernels_of_a_round"])
        least = 1e3 * size["least_seconds"]
        yield Measurement(f"{where}: least time by its kernels", least, "ms")


app = command(benchmark("device", __doc__, SCALES, measure, measurements))

if __name__ == "__main__":
    app()
