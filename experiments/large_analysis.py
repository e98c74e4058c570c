"""What the analyses of an RSM of 20,000 samples take: memory and time.

An RSM that lies on disk (float32, 1.6 GB) is correlated with the Jensen-Shannon
divergence of class probabilities, and searched for neighbours; the peak of resident
memory is that of a process of its own for each, less what the imports take.

    python -m experiments.large_analysis --samples 20000 --classes 1000

Pages of the file that are mapped count as resident, although the system may drop them
at any time; `anonymous` is what the process itself holds.
"""

import argparse
import json
import multiprocessing
import tempfile
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np


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


def _measure(
    analysis: Callable[..., dict[str, Any]],
    path: Path,
    classes: int,
    results: Any,
) -> None:
    """Runs in a process of its own: peaks are never given back."""
    import jax.numpy as jnp

    import semrsm_jax

    semrsm_jax.jensen_shannon_divergence(jnp.ones(1), jnp.ones(1))
    before, peak, stop = _anonymous(), 0, threading.Event()

    def watch() -> None:
        nonlocal peak
        while not stop.wait(0.02):
            peak = max(peak, _anonymous())

    watcher = threading.Thread(target=watch)
    watcher.start()
    start = time.perf_counter()
    found = analysis(np.load(path, mmap_mode="r"), classes)
    seconds = time.perf_counter() - start
    stop.set()
    watcher.join()
    results.put(
        {
            "analysis": analysis.__name__,
            "seconds": round(seconds, 1),
            "anonymous peak, MB": round((peak - before) / 1e6),
            **found,
        }
    )


def main() -> None:
    """Measures each analysis and prints a line of JSON for it."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--samples", type=int, default=20_000)
    parser.add_argument("--classes", type=int, default=1000)
    settings = parser.parse_args()
    context = multiprocessing.get_context("spawn")
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "K.npy"
        _write(path, settings.samples)
        for analysis in (pearson, pearson_and_spearman, neighbors):
            results = context.Queue()
            arguments = (analysis, path, settings.classes, results)
            process = context.Process(target=_measure, args=arguments)
            process.start()
            print(json.dumps(vars(settings) | results.get()), flush=True)
            process.join()


if __name__ == "__main__":
    main()
