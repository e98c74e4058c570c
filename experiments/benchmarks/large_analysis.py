"""What the analyses of an RSM of 20,000 samples take: memory and time.

An RSM that lies on disk (float32, 1.6 GB) is correlated with the Jensen-Shannon
divergence of class probabilities, and searched for neighbors; the peak of resident
memory is that of a process of its own for each, less what the imports take.

    python -m experiments.benchmarks.large_analysis  # minutes, 1.6 GB of disk
    python -m experiments.benchmarks.large_analysis --scale smoke  # tiny, seconds

It writes large_analysis.json to results/large_analysis. Pages of the file that are
mapped count as resident, although the system may drop them at any time; what is
measured, anonymous memory, is what the process itself holds.
"""

import tempfile
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import jax.numpy as jnp
import numpy as np

from experiments.frame.command_line import command
from experiments.frame.finding import Measurement
from experiments.frame.study import benchmark
from experiments.frame.worker import Report, worker
from semrsm_jax import (
    jensen_shannon_divergence,
    nearest,
    output_correlation,
    same_sample,
)


@dataclass(frozen=True)
class LargeConfig:
    """All that the benchmark's work depends on.

    Attributes:
      samples: rows and columns of the RSM.
      classes: of the probabilities.
    """

    samples: int = 20_000
    classes: int = 1000


SCALES = {"full": LargeConfig(), "smoke": LargeConfig(600, 3)}


def _anonymous() -> int:
    """Bytes of anonymous memory that this process holds now, on Linux."""
    for line in Path("/proc/self/status").read_text().splitlines():
        if line.startswith("RssAnon"):
            return 1024 * int(line.split()[1])
    raise OSError("/proc/self/status has no line RssAnon")


def _write(path: Path, samples: int) -> None:
    """A symmetric matrix: cosines of random vectors, some rows at a time."""
    rng = np.random.default_rng(0)
    z = rng.normal(size=(samples, 16)).astype(np.float32)
    z /= np.linalg.norm(z, axis=1, keepdims=True)
    matrix = np.lib.format.open_memmap(path, "w+", np.float32, (samples, samples))
    for start in range(0, samples, 512):
        matrix[start : start + 512] = z[start : start + 512] @ z.T
    matrix.flush()


def _correlate(K: Any, classes: int, ranks: bool) -> dict[str, Any]:
    rng = np.random.default_rng(1)
    logits = 2 * rng.normal(size=(len(K), classes)).astype(np.float32)
    return output_correlation(K, logits, from_logits=True, ranks=ranks)._asdict()


def _neighbors(K: Any, classes: int) -> dict[str, Any]:
    """Ten neighbors of each row."""
    del classes
    first = nearest(K, 10, same_sample(len(K))).similarity[:, 0]
    return {"mean similarity of the first": float(first.mean())}


_ANALYSES: dict[str, Callable[[Any, int], dict[str, Any]]] = {
    "pearson": partial(_correlate, ranks=False),
    "pearson_and_spearman": partial(_correlate, ranks=True),
    "neighbors": _neighbors,
}


def analyze(
    name: str, config: LargeConfig, path: Path, report: Report
) -> dict[str, Any]:
    """Time and memory of one analysis; to be called in a process of its own."""
    report(name, 0, 1)
    jensen_shannon_divergence(jnp.ones(1), jnp.ones(1))
    before, peak, stop = _anonymous(), 0, threading.Event()

    def watch() -> None:
        nonlocal peak
        while not stop.wait(0.02):
            peak = max(peak, _anonymous())

    watcher = threading.Thread(target=watch)
    watcher.start()
    start = time.perf_counter()
    result = _ANALYSES[name](np.load(path, mmap_mode="r"), config.classes)
    seconds = time.perf_counter() - start
    stop.set()
    watcher.join()
    report(name, 1, 1)
    return {
        "analysis": name,
        "seconds": seconds,
        "anonymous_peak_bytes": max(peak - before, 0),
        **result,
    }


def measure(config: LargeConfig, report: Report) -> dict[str, Any]:
    """Each analysis in a process of its own: peaks are never given back."""
    rows = []
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "K.npy"
        report("Writing the RSM", 0, None)
        _write(path, config.samples)
        for name in _ANALYSES:
            with worker(report) as call:
                rows.append(call(analyze, name, config, path).value)
    return {"results": rows}


def measurements(
    config: LargeConfig, result: Mapping[str, Any]
) -> Iterator[Measurement]:
    """Time and memory of each analysis."""
    for row in result["results"]:
        name = f"{row['analysis']}, N={config.samples}"
        yield Measurement(f"{name}: time", row["seconds"], "s")
        yield Measurement(f"{name}: memory", row["anonymous_peak_bytes"] / 2**20, "MiB")


app = command(benchmark("large_analysis", __doc__, SCALES, measure, measurements))

if __name__ == "__main__":
    app()
