"""Time and memory of CKA, layers by layers, from features, against pytorch-cka.

    python -m experiments.benchmarks.layers  # some minutes, 2 quiet cores, 4 GB
    python -m experiments.benchmarks.layers --scale smoke  # tiny, seconds

It writes layers.json to results/layers. The layers have the sizes of the 18 of a
ResNet18 on images of 64 x 64: 1,000 to 65,536 features. Their values are projections of
a common signal, and noise; no time depends on them. The peer is ``cka_from_features``
of pytorch-cka 1.1, on the same arrays in memory, all samples at once; both sides take
turns within one run. Its other function goes through networks batch by batch and sums
an estimate of each batch; what that differs by is measured with its ``hsic``.

Goals, which each run of the bundled scale prints with whether they are met:

    layers   18 x 18 layers of two networks on 1,000 images: ours / peer at most 1
    error    of ours in float32 at most 1e-5; the peer centers after its products
    memory   at most 0.5 GiB above the features
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from experiments.frame.command_line import command
from experiments.frame.finding import Measurement
from experiments.frame.study import benchmark
from experiments.frame.timing import take_turns
from experiments.frame.worker import Report, peak_memory, worker
from semrsm_jax import linear_cka_matrix


@dataclass(frozen=True)
class LayersConfig:
    """All that the benchmark's work depends on.

    Attributes:
      has_goals: whether its sizes are those that the goals are set for.
      seed: of the features.
      samples: images, N.
      widths: features of each layer, of both networks alike.
      rounds: turns of both sides.
      batch: samples at a time, of the peer's estimate from batches.
      checked: layers, the last ones, that are computed in float64 too.
    """

    has_goals: bool = True
    seed: int = 0
    samples: int = 1000
    widths: tuple[int, ...] = (
        *(65536, *(16384,) * 4, *(8192,) * 4, *(4096,) * 4, *(2048,) * 4, 1000),
    )
    rounds: int = 5
    batch: int = 100
    checked: int = 5


SCALES = {
    "bundled": LayersConfig(),
    "smoke": LayersConfig(False, 0, 24, (90, 30, 7), 2, 8, 2),
}


def layers(config: LayersConfig, report: Report) -> dict[str, Any]:
    """CKA of all layers of two networks, ours and the peer's in turns."""
    import torch
    from cka import cka_from_features, hsic

    rng = np.random.default_rng(config.seed)
    signal = rng.standard_normal((config.samples, 32), np.float32)

    def network() -> list[np.ndarray]:
        features = []
        for width in config.widths:
            layer = rng.standard_normal((config.samples, width), np.float32)
            layer += signal @ rng.standard_normal((32, width), np.float32) / 8
            features.append(np.maximum(layer, 0, out=layer))
        return features

    first, second = network(), network()
    shared = [[torch.from_numpy(layer) for layer in net] for net in (first, second)]
    # Once before any turn: threads start, and memory is there for both.
    baseline = peak_memory()
    linear_cka_matrix(first, second, "unbiased")
    memory = peak_memory() - baseline
    calls = {
        "ours": lambda _: linear_cka_matrix(first, second, "unbiased"),
        "peer": lambda _: cka_from_features(*shared).numpy(),
    }
    turns = take_turns(calls, config.rounds, report, "layers")
    ours, theirs = turns.results.values()
    # The narrow layers again, in float64, which tells who is right.
    narrow = slice(-config.checked, None)
    wide = [[layer.astype(float) for layer in net[narrow]] for net in (first, second)]
    exact = np.clip(linear_cka_matrix(*wide, estimator="unbiased"), 0, 1)
    ours = np.clip(ours, 0, 1)  # as theirs is
    errors = {
        name: float(np.max(np.abs(values[narrow, narrow] - exact)))
        for name, values in (("ours", ours), ("peer", theirs))
    }
    seconds = turns.medians()
    return {
        "median_seconds": seconds,
        "ratio": seconds["ours"] / seconds["peer"],
        "errors": errors,
        "disagreement": float(np.max(np.abs(ours - theirs))),
        "batches": float(np.max(np.abs(_of_batches(config, shared, hsic) - ours))),
        "peak_bytes_over_features": memory,
    }


def _of_batches(config: LayersConfig, networks: Any, hsic: Any) -> np.ndarray:
    """The peer's estimate: HSICs of each batch, summed."""
    import torch

    totals: list[Any] = [0, 0, 0]
    for start in range(0, config.samples, config.batch):
        rows = slice(start, start + config.batch)
        grams = [torch.stack([z[rows] @ z[rows].T for z in net]) for net in networks]
        totals = [a + b for a, b in zip(totals, hsic(*grams), strict=True)]
    cross, left, right = (total.numpy() for total in totals)
    return cross / np.sqrt(np.multiply.outer(left, right))


def measure(config: LayersConfig, report: Report) -> dict[str, Any]:
    """Runs it in a process of its own."""
    with worker(report) as call:
        return call(layers, config).value


def measurements(
    config: LayersConfig, result: Mapping[str, Any]
) -> Iterator[Measurement]:
    """Times, memory and how well both sides agree."""
    for name, seconds in result["median_seconds"].items():
        yield Measurement(f"layers: {name}", seconds, "s")
    yield Measurement(
        "batches: largest difference of the peer's sums of batches", result["batches"]
    )
    errors = result["errors"]
    yield Measurement("layers: largest error of the peer in float32", errors["peer"])
    yield Measurement("layers: difference from the peer", result["disagreement"])
    memory = result["peak_bytes_over_features"] / 2**30
    yield Measurement("layers: ours / peer", result["ratio"], goal=1)
    name = "layers: largest error of ours in float32"
    yield Measurement(name, errors["ours"], goal=1e-5)
    yield Measurement("layers: memory above the features", memory, "GiB", "<=", 0.5)


_NEEDS = {"torch": "torch", "cka": "pytorch-cka"}
app = command(benchmark("layers", __doc__, SCALES, measure, measurements, _NEEDS))

if __name__ == "__main__":
    app()
