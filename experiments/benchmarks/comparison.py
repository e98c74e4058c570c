"""Time and memory of comparing many RSMs, against NumPy.

    python -m experiments.benchmarks.comparison  # a minute, 2 quiet cores
    python -m experiments.benchmarks.comparison --scale smoke  # tiny, seconds

It writes comparison.json to results/comparison. Both sides take turns within one run.
The peer, too, centers each RSM once, and then is one line over all pairs:

    [[np.vdot(a, b) for a in centered] for b in centered]

Goals, which each run of the bundled scale prints with whether they are met:

    matrix   CKA of all pairs of 20 RSMs of N=2,000: ours / peer at most 1/3
    stream   CKA of two RSMs of N=20,000, 1.5 GiB each, read by rows: 0.25 GiB at the
             most above what the process held before, and the CKA of the features
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from experiments.frame.command_line import command
from experiments.frame.finding import Measurement
from experiments.frame.study import benchmark
from experiments.frame.timing import measured, take_turns
from experiments.frame.worker import Report, worker
from semrsm_jax import cka_matrix, linear_cka


@dataclass(frozen=True)
class ComparisonConfig:
    """All that the benchmark's work depends on.

    Attributes:
      has_goals: whether its sizes are those that the goals are set for.
      seed: of the features.
      rsms: how many RSMs are compared with each other.
      samples: in each of them, N.
      rounds: turns of both sides.
      streamed: samples in the RSMs that are read by rows.
      channels: features of a sample, C.
    """

    has_goals: bool = True
    seed: int = 0
    rsms: int = 20
    samples: int = 2000
    rounds: int = 7
    streamed: int = 20000
    channels: int = 64


SCALES = {
    "bundled": ComparisonConfig(),
    "smoke": ComparisonConfig(False, 0, 3, 50, 2, 200, 4),
}


def matrix(config: ComparisonConfig, report: Report) -> dict[str, Any]:
    """CKA of all pairs of RSMs that lie in memory, ours and NumPy's in turns."""
    rng = np.random.default_rng(config.seed)
    shape = config.samples, config.channels
    features = [rng.normal(size=shape).astype(np.float32) for _ in range(config.rsms)]
    rsms = [x @ x.T for x in features]

    def peer(_: int) -> np.ndarray:
        centered = [K - K.mean(0) - K.mean(1)[:, None] + K.mean() for K in rsms]
        products = np.array([[np.vdot(a, b) for a in centered] for b in centered])
        return products / np.sqrt(np.outer(products.diagonal(), products.diagonal()))

    calls = {"ours": lambda _: cka_matrix(rsms), "peer": peer}
    turns = take_turns(calls, config.rounds, report, "matrix")
    ours, theirs = turns.results.values()
    seconds = turns.medians()
    return {
        "seconds": seconds,
        "ratio": seconds["ours"] / seconds["peer"],
        "disagreement": float(np.max(np.abs(ours - theirs))),
    }


class LazyGram:
    """A linear RSM that computes the rows that are read."""

    def __init__(self, features: Any) -> None:
        """Keeps the features (N, C)."""
        self.features = features
        self.shape, self.dtype = (len(features),) * 2, features.dtype

    def __getitem__(self, rows: slice) -> Any:
        """The rows of a slice."""
        return self.features[rows] @ self.features.T


def stream(config: ComparisonConfig, report: Report) -> dict[str, Any]:
    """CKA of two RSMs that never lie in memory as a whole."""
    rng = np.random.default_rng(config.seed)
    shape = config.streamed, config.channels
    x, noise = (rng.normal(size=shape).astype(np.float32) for _ in range(2))
    y = x + noise
    estimators = ("biased", "unbiased")
    expected = [float(linear_cka(x, y, e)) for e in estimators]
    cka_matrix([LazyGram(x[:100])], [LazyGram(y[:100])])

    def streamed() -> list[float]:
        sides = [LazyGram(x)], [LazyGram(y)]
        return [cka_matrix(*sides, e).item() for e in estimators]

    values, taken = measured(streamed, 1, report, "stream")
    return {
        "samples": config.streamed,
        "rsm_bytes": config.streamed**2 * x.itemsize,
        "seconds": taken["seconds"] / len(estimators),
        "peak_bytes": taken["peak_bytes"],
        "peak_bytes_over_baseline": taken["peak_bytes_over_baseline"],
        "disagreement": max(abs(a - b) for a, b in zip(values, expected, strict=True)),
    }


def measure(config: ComparisonConfig, report: Report) -> dict[str, Any]:
    """Runs both sections, each in a process of its own."""
    sections = {}
    for section in (matrix, stream):
        with worker(report) as call:
            sections[section.__name__] = call(section, config).value
    return {"sections": sections}


def measurements(
    config: ComparisonConfig, result: Mapping[str, Any]
) -> Iterator[Measurement]:
    """Times, memory and how well both sides agree."""
    matrix, stream = result["sections"]["matrix"], result["sections"]["stream"]
    for name, seconds in matrix["seconds"].items():
        yield Measurement(f"matrix: {name}", seconds, "s")
    yield Measurement("stream: time of a CKA", stream["seconds"], "s")
    memory = stream["peak_bytes_over_baseline"] / 2**30
    yield Measurement("matrix: ours / peer", matrix["ratio"], goal=1 / 3)
    name = "matrix: largest difference from the peer"
    yield Measurement(name, matrix["disagreement"], goal=1e-4)
    yield Measurement("stream: memory above the start", memory, "GiB", "<=", 0.25)
    name = "stream: difference from the CKA of features"
    yield Measurement(name, stream["disagreement"], goal=1e-5)


app = command(benchmark("comparison", __doc__, SCALES, measure, measurements))

if __name__ == "__main__":
    app()
