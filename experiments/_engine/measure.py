"""The measurements, each to be called in a process of its own."""

import statistics
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from experiments._common.timing import take_turns
from experiments._common.worker import Report, peak_memory
from experiments._engine.config import EngineConfig, Size
from semrsm_jax import Exact
from semrsm_jax._affinity import token_products
from semrsm_jax.engine import local_cluster
from semrsm_jax.engine import run as run_engine
from semrsm_jax.matching import _auction
from semrsm_jax.store import RunStore


def overhead(config: EngineConfig, size: Size, report: Report) -> dict[str, Any]:
    """A run, from disk to disk, against products and solver calls in memory."""
    with tempfile.TemporaryDirectory() as folder:
        path = write_features(Path(folder), size.samples, size.tokens, size.channels)
        store = _run(path, Path(folder) / "warm.zarr")
        in_flight = int(store.made["pairs_in_flight"])
        x = jnp.asarray(np.load(path))
        calls = {
            "bare": lambda number: bare(x, in_flight),
            "engine": lambda number: _run(path, Path(folder) / f"{number}.zarr").path,
        }
        calls["bare"](0)
        description = f"overhead S={size.tokens}"
        turns = take_turns(calls, config.overhead_rounds, report, description)
        # Turns that took the same moment, so that what else runs meets both.
        ratios = [
            ours / alone
            for ours, alone in zip(
                turns.seconds["engine"], turns.seconds["bare"], strict=True
            )
        ]
        pairs = store.grid.pair_count
    return {
        "tokens": size.tokens,
        "pairs": pairs,
        "tile": store.grid.side,
        "milliseconds_a_pair": {
            name: 1e3 * turns.median(name) / pairs for name in calls
        },
        "ratio": statistics.median(ratios),
        "goal": size.goal,
    }


def bare(x: jax.Array, in_flight: int) -> None:
    """Products and solver calls for each pair of samples, and nothing else."""
    left, right = np.triu_indices(len(x), 1)
    for start in range(0, len(left), in_flight):
        part = slice(start, start + in_flight)
        _auction.solve(np.asarray(token_products(x[left[part]], x[right[part]])))


def cluster(config: EngineConfig, report: Report) -> dict[str, Any]:
    """Pairs a second of two local workers against those of one."""
    size = config.cluster
    with tempfile.TemporaryDirectory() as folder:
        path = write_features(Path(folder), size.samples, size.tokens, size.channels)
        with local_cluster(1) as one, local_cluster(2) as two:
            clients = {"1": one, "2": two}

            def call(workers: str) -> Callable[[int], Path]:
                return lambda number: (
                    _run(
                        path,
                        Path(folder) / f"{workers}-{number}.zarr",
                        cluster=clients[workers],
                        tile=max(1, size.samples // 8),
                    ).path
                )

            calls = {workers: call(workers) for workers in clients}
            for warm in calls.values():
                warm(-1)
            description = f"cluster S={size.tokens}"
            turns = take_turns(calls, config.cluster_rounds, report, description)
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
