"""What the engine costs and what it keeps: overhead, scaling, memory.

    python -m experiments.benchmarks.engine  # some minutes, 2 quiet cores
    python -m experiments.benchmarks.engine --scale smoke  # everything tiny

It needs the extra cluster, and writes engine.json to results/engine. The measurements
that are compared take turns within one run. Each is printed with its goal:

    overhead     a run, features on disk and statistics in a store, takes at most 1.10
                 times as much a pair as `rsm` in memory; so does `search` that matches
                 every pair
    cluster      two local Dask workers of one thread give at least 1.6 times the pairs
                 a second of one, at S=1024
    memory       at N=400 the peak is at most 1.2 times that at N=100 (S=256, C=64,
                 features on disk, each in a new process), and the cost of a pair within
                 10 %
"""

import statistics
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from experiments.frame.command_line import command
from experiments.frame.finding import Measurement
from experiments.frame.study import benchmark
from experiments.frame.timing import take_turns
from experiments.frame.worker import Report, peak_memory, usable_cores, worker
from semrsm_jax import Exact, rsm, search
from semrsm_jax.engine import local_cluster
from semrsm_jax.engine import run as run_engine
from semrsm_jax.store import RunStore


@dataclass(frozen=True)
class Size:
    """Features (N, S, C), and the goal for the ratio that is measured on them."""

    samples: int
    tokens: int
    channels: int
    goal: float


@dataclass(frozen=True)
class EngineConfig:
    """All that the benchmark's work depends on.

    Attributes:
      has_goals: whether its sizes are those that the goals are set for.
      overhead: runs and searches held against `rsm`.
      overhead_rounds: turns of the three.
      cluster: the run of one worker and of two.
      cluster_rounds: turns of both.
      memory: samples of the small and of the large run; tokens and channels of both.
      memory_rounds: processes for each.
      memory_goal: the largest ratio of their peaks.
      pair_goal: the largest ratio of what a pair takes.
    """

    has_goals: bool = True
    overhead: tuple[Size, ...] = (
        Size(320, 49, 512, 1.10),
        Size(160, 256, 256, 1.10),
        Size(64, 1024, 128, 1.10),
    )
    overhead_rounds: int = 5
    cluster: Size = Size(64, 1024, 64, 1.6)
    cluster_rounds: int = 3
    memory: tuple[int, int, int, int] = (100, 400, 256, 64)
    memory_rounds: int = 3
    memory_goal: float = 1.2
    pair_goal: float = 1.1


SCALES = {
    "full": EngineConfig(),
    "smoke": EngineConfig(
        has_goals=False,
        overhead=(Size(8, 16, 4, 1.1),),
        overhead_rounds=2,
        cluster=Size(8, 16, 4, 1.6),
        cluster_rounds=1,
        memory=(6, 12, 16, 4),
        memory_rounds=1,
    ),
}


def overhead(config: EngineConfig, size: Size, report: Report) -> dict[str, Any]:
    """A run, from disk to disk, and a search of all pairs, against `rsm` in memory."""
    with tempfile.TemporaryDirectory() as folder:
        path = write_features(Path(folder), size.samples, size.tokens, size.channels)
        x = np.load(path)
        calls: dict[str, Callable[[int], Any]] = {
            "rsm": lambda number: np.asarray(rsm(x, matcher=Exact())),
            "run": lambda number: _run(path, Path(folder) / f"{number}.zarr").grid,
            "search": lambda number: search(x, x, prune=False).pairs,
        }
        description = f"overhead S={size.tokens}"
        turns = take_turns(
            calls, config.overhead_rounds, report, description, warm=True
        )
    # Nothing is matched with itself but by a search.
    triangle = size.samples * (size.samples - 1) // 2
    pairs = {"rsm": triangle, "run": triangle, "search": size.samples**2}
    costs = {name: np.divide(turns.seconds[name], pairs[name]) for name in calls}
    return {
        "tokens": size.tokens,
        "channels": size.channels,
        "samples": size.samples,
        "milliseconds_a_pair": {
            name: 1e3 * turns.median(name) / pairs[name] for name in calls
        },
        # Turns that took the same moment, so that what else runs meets both.
        "ratios": {
            name: float(np.median(costs[name] / costs["rsm"]))
            for name in ("run", "search")
        },
        "goal": size.goal,
    }


def cluster(config: EngineConfig, report: Report) -> dict[str, Any]:
    """Pairs a second of two local workers against those of one."""
    size = config.cluster
    with (
        tempfile.TemporaryDirectory() as folder,
        local_cluster(1) as one,
        local_cluster(2) as two,
    ):
        path = write_features(Path(folder), size.samples, size.tokens, size.channels)
        clients, tile = {"1": one, "2": two}, max(1, size.samples // 8)

        def run_on(workers: str, number: int) -> Path:
            store = Path(folder) / f"{workers}-{number}.zarr"
            return _run(path, store, cluster=clients[workers], tile=tile).path

        calls = {workers: partial(run_on, workers) for workers in clients}
        description = f"cluster S={size.tokens}"
        turns = take_turns(calls, config.cluster_rounds, report, description, warm=True)
    pairs = size.samples * (size.samples - 1) // 2
    rates = {name: pairs / turns.median(name) for name in calls}
    return {
        "tokens": size.tokens,
        "pairs": pairs,
        "pairs_per_second": rates,
        "ratio": rates["2"] / rates["1"],
        "goal": size.goal,
    }


def run_once(
    samples: int, tokens: int, channels: int, report: Report
) -> dict[str, float]:
    """Peak memory of this process, which did nothing before, and time of a pair."""
    report(f"memory N={samples}", 0, 1)
    with tempfile.TemporaryDirectory() as folder:
        path = write_features(Path(folder), samples, tokens, channels)
        # Compiled by a run of the very shapes, of as many tiles.
        marks: list[tuple[float, int]] = []
        store = _run(
            path,
            Path(folder) / "run.zarr",
            tile=min(32, samples),
            progress=lambda p: marks.append((time.perf_counter(), p.done)),
        )
    report(f"memory N={samples}", 1, 1)
    # The first tenth compiles.
    total = store.grid.pair_count
    first, last = next(m for m in marks if m[1] >= total / 10), marks[-1]
    return {
        "peak_bytes": peak_memory(),
        "milliseconds_a_pair": 1e3 * (last[0] - first[0]) / max(1, last[1] - first[1]),
    }


def write_features(folder: Path, samples: int, tokens: int, channels: int) -> Path:
    """A file of rectified random features, written a sample at a time."""
    path = folder / "features.npy"
    rng = np.random.default_rng(0)
    rows = np.lib.format.open_memmap(
        path, "w+", np.float32, (samples, tokens, channels)
    )
    for n in range(samples):
        rows[n] = np.maximum(rng.normal(size=(tokens, channels)), 0)
    rows.flush()
    return path


def _run(path: Path, store: Path, **options: Any) -> RunStore:
    features = np.load(path, mmap_mode="r")
    return run_engine(features, store=store, matcher=Exact(), **options)


def measure(config: EngineConfig, report: Report) -> dict[str, Any]:
    """Runs the parts one after the other, never two at a time."""
    with worker(report) as call:
        overheads = [call(overhead, config, size).value for size in config.overhead]
    with worker(report) as call:
        scaling = call(cluster, config).value
    small, large, tokens, channels = config.memory
    runs: dict[int, list[dict[str, float]]] = {small: [], large: []}
    for _ in range(config.memory_rounds):
        for samples, results in runs.items():
            with worker(report) as call:
                results.append(call(run_once, samples, tokens, channels).value)
    memory = {
        name: {n: statistics.median(r[name] for r in rs) for n, rs in runs.items()}
        for name in ("peak_bytes", "milliseconds_a_pair")
    }
    return {
        "cores": usable_cores(),
        "overhead": overheads,
        "cluster": scaling,
        "memory": memory,
    }


def measurements(
    config: EngineConfig, result: Mapping[str, Any]
) -> Iterator[Measurement]:
    """Costs with their ratios, which have the goals."""
    for part in result["overhead"]:
        name = f"S={part['tokens']}, C={part['channels']}"
        for kind, cost in part["milliseconds_a_pair"].items():
            yield Measurement(f"{name}, {kind}", cost, "ms a pair")
        for kind, value in part["ratios"].items():
            yield Measurement(f"{name}, {kind} / rsm, ratio", value, goal=part["goal"])
    part = result["cluster"]
    name = f"cluster S={part['tokens']}"
    for workers, rate in part["pairs_per_second"].items():
        yield Measurement(f"{name}, workers: {workers}", rate, "pairs a second")
    yield Measurement(f"{name}, ratio", part["ratio"], "", ">=", part["goal"])
    memory = result["memory"]
    for name, kind, unit, scale, goal in (
        ("memory", "peak_bytes", "MiB", 2**-20, config.memory_goal),
        ("cost", "milliseconds_a_pair", "ms a pair", 1, config.pair_goal),
    ):
        small, large = memory[kind].values()
        for samples, value in zip(config.memory[:2], (small, large), strict=True):
            yield Measurement(f"{name}, N={samples}", scale * value, unit)
        yield Measurement(f"{name}, ratio", large / small, goal=goal)


app = command(benchmark("engine", __doc__, SCALES, measure, measurements))

if __name__ == "__main__":
    app()
