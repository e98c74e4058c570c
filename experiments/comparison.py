"""Time and memory of comparing many RSMs, against NumPy.

    python -m experiments.comparison                  # a minute, 2 quiet cores
    python -m experiments.comparison --scale smoke    # everything tiny, seconds

It writes comparison.json to results/comparison. Both sides take turns within one run.
The peer centres each RSM once, too, and then is a one-liner over all pairs:

    [[np.vdot(a, b) for a in centred] for b in centred]

Expected; each run of the bundled scale ends with a table that says which of these goals
it met:

    matrix   CKA of all pairs of 20 RSMs of N=2,000: ours / peer at most 1/3
    stream   CKA of two RSMs of N=20,000, 1.5 GiB each, read by rows: 0.25 GiB at the
             most above what the process held before, and the CKA of the features
"""

import dataclasses
import json
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any

import typer

from experiments._runtime.worker import Report, peak_memory, worker
from semrsm_jax import _checks
from semrsm_jax.cli._console import guarded, say
from semrsm_jax.store import check_output, new_file


@dataclass(frozen=True)
class ComparisonConfig:
    """All that the benchmark's work depends on.

    Attributes:
      scale: the name of this config.
      has_goals: whether its sizes are those that the goals are set for.
      seed: of the features.
      rsms: how many RSMs are compared with each other.
      samples: in each of them, N.
      rounds: turns of both sides.
      streamed: samples in the RSMs that are read by rows.
      channels: features of a sample, C.
    """

    scale: str = "bundled"
    has_goals: bool = True
    seed: int = 0
    rsms: int = 20
    samples: int = 2000
    rounds: int = 7
    streamed: int = 20000
    channels: int = 64


SCALES = {
    "bundled": ComparisonConfig(),
    "smoke": ComparisonConfig("smoke", False, 0, 3, 50, 2, 200, 4),
}


def matrix(config: ComparisonConfig, report: Report) -> dict[str, Any]:
    """CKA of all pairs of RSMs that lie in memory, ours and NumPy's in turns."""
    import numpy as np

    from experiments._runtime.timing import take_turns
    from semrsm_jax import cka_matrix

    rng = np.random.default_rng(config.seed)
    shape = config.samples, config.channels
    features = [rng.normal(size=shape).astype(np.float32) for _ in range(config.rsms)]
    rsms = [x @ x.T for x in features]

    def peer(_: int) -> np.ndarray:
        centred = [K - K.mean(0) - K.mean(1)[:, None] + K.mean() for K in rsms]
        products = np.array([[np.vdot(a, b) for a in centred] for b in centred])
        return products / np.sqrt(np.outer(products.diagonal(), products.diagonal()))

    calls = {"ours": lambda _: cka_matrix(rsms), "peer": peer}
    turns = take_turns(calls, config.rounds, report, "matrix")
    ours, theirs = turns.results.values()
    seconds = {name: turns.median(name) for name in calls}
    return {
        "seconds": seconds,
        "ratio": seconds["ours"] / seconds["peer"],
        "disagreement": float(np.max(np.abs(ours - theirs))),
    }


class LazyGram:
    """A linear RSM that computes the rows that are asked for."""

    def __init__(self, features: Any) -> None:
        """Keeps the features (N, C)."""
        self.features = features
        self.shape, self.dtype = (len(features),) * 2, features.dtype

    def __getitem__(self, rows: slice) -> Any:
        """The rows of a slice."""
        return self.features[rows] @ self.features.T


def stream(config: ComparisonConfig, report: Report) -> dict[str, Any]:
    """CKA of two RSMs that never lie in memory as a whole."""
    import time

    import numpy as np

    from semrsm_jax import cka_matrix, linear_cka

    rng = np.random.default_rng(config.seed)
    shape = config.streamed, config.channels
    x, noise = (rng.normal(size=shape).astype(np.float32) for _ in range(2))
    y = x + noise
    expected = [float(linear_cka(x, y, e)) for e in ("biased", "unbiased")]
    cka_matrix([LazyGram(x[:100])], [LazyGram(y[:100])])
    baseline = peak_memory()
    report("stream", 0, 2)
    start, found = time.perf_counter(), []
    for done, estimator in enumerate(("biased", "unbiased")):
        found.append(cka_matrix([LazyGram(x)], [LazyGram(y)], estimator).item())
        report("stream", done + 1, 2)
    return {
        "samples": config.streamed,
        "rsm_bytes": config.streamed**2 * x.itemsize,
        "seconds": (time.perf_counter() - start) / 2,
        "peak_bytes": peak_memory(),
        "peak_bytes_over_baseline": peak_memory() - baseline,
        "disagreement": max(abs(a - b) for a, b in zip(found, expected, strict=True)),
    }


def goals(sections: dict[str, Any]) -> list[tuple[str, float, float]]:
    """Name, figure and the most that it may be, of each goal."""
    matrix, stream = sections["matrix"], sections["stream"]
    return [
        ("matrix: ours / peer", matrix["ratio"], 1 / 3),
        ("matrix: largest difference from the peer", matrix["disagreement"], 1e-4),
        ("stream: GiB", stream["peak_bytes_over_baseline"] / 2**30, 0.25),
        ("stream: difference from the features' CKA", stream["disagreement"], 1e-5),
    ]


app = typer.Typer(add_completion=False, pretty_exceptions_enable=False)


@app.command(help=(__doc__ or "").replace("\n\n    ", "\n\n\b\n    "))
@guarded
def main(
    scale: Annotated[
        str, typer.Option(help=f"How much to run: {' or '.join(SCALES)}.")
    ] = "bundled",
    output: Annotated[
        Path, typer.Option("--output", "-o", help="Folder for the figures.")
    ] = Path("results/comparison"),
    overwrite: Annotated[
        bool, typer.Option("--overwrite", help="Replace the file of another run.")
    ] = False,
) -> None:
    """Runs both sections, each in a process of its own, and prints the goals."""
    _checks.one_of("scale", scale, tuple(SCALES))
    config = SCALES[scale]
    path = check_output(output / "comparison.json", overwrite, suffixes=(".json",))
    sections = {}
    for section in (matrix, stream):
        with worker(_show) as call:
            sections[section.__name__] = call(section, config).value
    found = {"config": dataclasses.asdict(config), "sections": sections}
    with new_file(path, overwrite) as temporary:
        temporary.write_text(json.dumps(found, indent=2))
    for name, section in sections.items():
        say(f"{name}: {json.dumps(section)}")
    if config.has_goals:
        for name, figure, most in goals(sections):
            met = "met" if figure <= most else "MISSED"
            say(f"{name}: {figure:.3g}, at most {most:.3g}: {met}")
    say(f"Written: {path}")


def _show(description: str, done: int, total: int | None) -> None:
    typer.echo(f"{description} {done}/{total}", err=True)


if __name__ == "__main__":
    app()
