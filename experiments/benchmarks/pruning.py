"""Time and share of the pairs matched by a pruned search, against matching all.

    python -m experiments.benchmarks.pruning  # minutes, 2 quiet cores
    python -m experiments.benchmarks.pruning --scale smoke  # tiny, seconds

It needs the extra demo, and writes pruning.json to
results/pruning. Queries and
database are crops of photographs, features of a ResNet-18 that was never trained. Both
ways of a setting run in turns within one process, compiled before.

Expected, for every kernel: the five neighbors are the same; the time is at most 1.05
of that of matching all pairs, and at S=4096, C=64 at most 0.6 of it.
"""

import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from functools import partial
from typing import Any

import numpy as np
from jaxtyping import Float

from experiments.frame.command_line import command
from experiments.frame.finding import Measurement
from experiments.frame.networks import photograph_crops
from experiments.frame.study import benchmark
from experiments.frame.timing import take_turns
from experiments.frame.worker import Report
from semrsm_jax import Cosine, Kernel, Linear
from semrsm_jax.demo.networks import normalize, random_network
from semrsm_jax.features import extract
from semrsm_jax.models import ResNetConfig
from semrsm_jax.retrieval import SearchResult, search

_NEVER_MORE = 1.05


@dataclass(frozen=True)
class Setting:
    """A search.

    Attributes:
      stage: of the network, 0 to 3.
      queries: how many samples.
      database: samples to search in.
      rounds: turns of both ways.
      goal: the most that the pruned search may take of the time of all pairs.
    """

    stage: int
    queries: int
    database: int
    rounds: int = 3
    goal: float = _NEVER_MORE


@dataclass(frozen=True)
class PruningConfig:
    """All that the benchmark's work depends on.

    Attributes:
      seed: of the crops and of the network's weights.
      side: of a crop, in pixels.
      k: neighbors of each query.
      network: never trained.
      settings: the searches.
      has_goals: whether their sizes are those that the goals are set for.
    """

    seed: int = 0
    side: int = 64
    k: int = 5
    network: ResNetConfig = field(default=ResNetConfig(18, "cifar", None))
    settings: tuple[Setting, ...] = (
        Setting(stage=3, queries=200, database=500),
        Setting(stage=2, queries=200, database=500, rounds=1),
        Setting(stage=0, queries=10, database=100, rounds=1, goal=0.6),
    )
    has_goals: bool = True


SCALES = {
    "bundled": PruningConfig(),
    "smoke": PruningConfig(
        side=16,
        network=ResNetConfig(18, "cifar", None, width=8),
        settings=(Setting(stage=1, queries=3, database=9, rounds=1),),
        has_goals=False,
    ),
}


def measure(config: PruningConfig, report: Report) -> dict[str, Any]:
    """Both ways of every setting and kernel."""
    count = max(s.queries + s.database for s in config.settings)
    progress = partial(report, "Cutting photographs")
    batches = math.ceil(count / 12)
    crops = photograph_crops(batches, 12, config.side, config.seed, progress)
    images = normalize(crops[:count])
    model = random_network(config.network, config.seed, images[:24])
    rows = []
    for setting in config.settings:
        chosen = images[: setting.queries + setting.database]
        name = f"resnet.encoder.stages.{setting.stage}"
        report(f"Computing {name}", 0, None)
        tokens = np.asarray(extract(model, chosen, [name], batch_size=6)[name])
        queries, database = np.split(tokens, [setting.queries])
        for kernel in (Linear(), Cosine()):
            rows.append(_compare(queries, database, kernel, setting, config.k, report))
    return {"results": rows}


def _compare(
    queries: Float[np.ndarray, "Q S C"],
    database: Float[np.ndarray, "M S C"],
    kernel: Kernel,
    setting: Setting,
    k: int,
    report: Report,
) -> dict[str, Any]:
    def way(prune: bool | None, exclude: np.ndarray | None = None) -> SearchResult:
        return search(queries, database, k, kernel=kernel, prune=prune, exclude=exclude)

    # The same shapes, for the same programs, but hardly any pair.
    nearly_all = np.ones((len(queries), len(database)), bool)
    nearly_all[:2, : 2 * k] = False
    for prune in (True, False):
        way(prune, nearly_all)
    calls = {"pruned": lambda number: way(None), "all": lambda number: way(False)}
    samples, tokens, channels = queries.shape
    name = f"S={tokens}, C={channels}, {type(kernel).__name__}"
    turns = take_turns(calls, setting.rounds, report, name)
    pruned, everything = turns.results["pruned"], turns.results["all"]
    seconds = turns.medians()
    return {
        "tokens": tokens,
        "channels": channels,
        "queries": samples,
        "database": len(database),
        "kernel": type(kernel).__name__,
        "seconds": seconds,
        "ratio": seconds["pruned"] / seconds["all"],
        "goal": setting.goal,
        "solved_share": pruned.solved_share,
        "bounds": [bound._asdict() for bound in pruned.bounds],
        "equal": bool((pruned.index == everything.index).all()),
    }


def measurements(
    config: PruningConfig, result: Mapping[str, Any]
) -> Iterator[Measurement]:
    """The cost of each search, and whether it meets its goal."""
    for row in result["results"]:
        name = (
            f"S={row['tokens']}, C={row['channels']}, {row['queries']} x "
            f"{row['database']}, {row['kernel']}"
        )
        for way, seconds in row["seconds"].items():
            yield Measurement(f"{name}, {way}", seconds, "s")
        yield Measurement(f"{name}, pruned / all", row["ratio"], goal=row["goal"])
        yield Measurement(f"{name}, share matched", row["solved_share"])
        equal = float(row["equal"])
        yield Measurement(f"{name}, neighbors are equal", equal, "", ">=", 1.0)


_NEEDS = {"skimage": "scikit-image"}
app = command(benchmark("pruning", __doc__, SCALES, measure, measurements, _NEEDS))

if __name__ == "__main__":
    app()
