"""What the analyses of an RSM of 20,000 samples take: memory and time.

An RSM that lies on disk (float32, 1.6 GB) is correlated with the Jensen-Shannon
divergence of class probabilities, and searched for neighbours; the peak of resident
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
from pathlib import Path
from typing import Any

import numpy as np

from experiments._common.benchmark import Benchmark, command
from experiments._common.worker import Report, worker
from semrsm_jax.cli.console import duration, size


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
    raise OSError("/proc/self/status does not tell RssAnon")


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
    from semrsm_jax import output_correlation

    rng = np.random.default_rng(1)
    logits = 2 * rng.normal(size=(len(K), classes)).astype(np.float32)
    return output_correlation(K, logits, from_logits=True, ranks=ranks)._asdict()


def _nearest(K: Any, classes: int) -> dict[str, Any]:
    from semrsm_jax import nearest, same_sample

    del classes
    found = nearest(K, 10, same_sample(len(K)))
    return {"mean similarity of the first": float(found.similarity[:, 0].mean())}


def pearson(K: Any, classes: int) -> dict[str, Any]:
    """Pearson's correlation alone."""
    return _correlate(K, classes, ranks=False)


def pearson_and_spearman(K: Any, classes: int) -> dict[str, Any]:
    """Both correlations."""
    return _correlate(K, classes, ranks=True)


def neighbors(K: Any, classes: int) -> dict[str, Any]:
    """Ten neighbours of each row."""
    return _nearest(K, classes)


def analyse(
    analysis: Callable[[Any, int], dict[str, Any]],
    config: LargeConfig,
    path: Path,
    report: Report,
) -> dict[str, Any]:
    """Time and memory of one analysis; to be called in a process of its own."""
    import jax.numpy as jnp

    from semrsm_jax import jensen_shannon_divergence

    report(analysis.__name__, 0, 1)
    jensen_shannon_divergence(jnp.ones(1), jnp.ones(1))
    before, peak, stop = _anonymous(), 0, threading.Event()

    def watch() -> None:
        nonlocal peak
        while not stop.wait(0.02):
            peak = max(peak, _anonymous())

    watcher = threading.Thread(target=watch)
    watcher.start()
    start = time.perf_counter()
    found = analysis(np.load(path, mmap_mode="r"), config.classes)
    seconds = time.perf_counter() - start
    stop.set()
    watcher.join()
    report(analysis.__name__, 1, 1)
    return {
        "analysis": analysis.__name__,
        "seconds": seconds,
        "anonymous_peak_bytes": max(peak - before, 0),
        **found,
    }


def measure(config: LargeConfig, report: Report) -> dict[str, Any]:
    """Each analysis in a process of its own: peaks are never given back."""
    rows = []
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "K.npy"
        report("Writing the RSM", 0, None)
        _write(path, config.samples)
        for analysis in (pearson, pearson_and_spearman, neighbors):
            with worker(report) as call:
                rows.append(call(analyse, analysis, config, path).value)
    return {"results": rows}


def lines(config: LargeConfig, found: Mapping[str, Any]) -> Iterator[str]:
    """Time and memory of each analysis."""
    for row in found["results"]:
        yield (
            f"{row['analysis']}, N={config.samples}: {duration(row['seconds'])}, "
            f"{size(row['anonymous_peak_bytes'])} at the most"
        )


app = command(Benchmark("large_analysis", __doc__ or "", SCALES, measure, lines))

if __name__ == "__main__":
    app()
