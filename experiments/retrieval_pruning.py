"""Time and share of the pairs matched by a pruned search, against matching all.

    python -m experiments.retrieval_pruning                  # minutes, 2 quiet cores
    python -m experiments.retrieval_pruning --scale smoke    # tiny, seconds

It needs the extra demo, and writes retrieval_pruning.json to results. Queries and
database are crops of photographs, features of a ResNet-18 that was never trained. Both
ways of a setting run in turns within one process, compiled before.

Expected, for every kernel: the five neighbours are the same; the time is at most 1.05
of that of matching all pairs, and at S=4096, C=64 at most 0.6 of it.
"""

import json
import math
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Annotated, Any

import jax.numpy as jnp
import numpy as np
import typer
from flax import nnx
from jaxtyping import Float

from experiments._runtime.timing import take_turns
from semrsm_jax import Cosine, Kernel, Linear, _checks
from semrsm_jax.cli._console import guarded, progress_bar, say
from semrsm_jax.demo.photographs import draw_crops
from semrsm_jax.features import extract
from semrsm_jax.models import ResNet, calibrate_batch_norm
from semrsm_jax.models.resnet import ResNetConfig
from semrsm_jax.retrieval import SearchResult, search
from semrsm_jax.store import check_output, new_file

# ImageNet's, per channel in RGB, as every public ResNet takes its images.
_MEAN = np.array([0.485, 0.456, 0.406], np.float32)
_STD = np.array([0.229, 0.224, 0.225], np.float32)
_LEAST_CONTRAST = 0.03  # blank sky has no neighbours
_NEVER_MORE = 1.05


@dataclass(frozen=True)
class Setting:
    """A search.

    Attributes:
      stage: of the network, 0 to 3.
      queries: how many samples.
      database: likewise.
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
    """All that the benchmark's work depends on."""

    seed: int = 0
    side: int = 64
    k: int = 5
    network: ResNetConfig = field(default=ResNetConfig(18, "cifar", None))
    settings: tuple[Setting, ...] = (
        Setting(stage=3, queries=200, database=500),
        Setting(stage=2, queries=200, database=500, rounds=1),
        Setting(stage=0, queries=10, database=100, rounds=1, goal=0.6),
    )


SCALES = {
    "bundled": PruningConfig(),
    "smoke": PruningConfig(
        side=16,
        network=ResNetConfig(18, "cifar", None, width=8),
        settings=(Setting(stage=1, queries=3, database=9, rounds=1),),
    ),
}


def run(config: PruningConfig, report: Any) -> list[dict[str, Any]]:
    """Both ways of every setting and kernel."""
    count = max(s.queries + s.database for s in config.settings)
    crops = draw_crops(
        math.ceil(count / 12),
        12,
        config.side,
        np.random.default_rng(config.seed),
        lambda crop: crop.std() >= _LEAST_CONTRAST,
        lambda done, total: report("Cutting photographs", done, total),
    ).images[:count]
    model = ResNet(config.network, rngs=nnx.Rngs(config.seed))
    images = jnp.asarray((crops - _MEAN) / _STD)
    calibrate_batch_norm(model, images[:24])
    rows = []
    for setting in config.settings:
        chosen = images[: setting.queries + setting.database]
        name = f"resnet.encoder.stages.{setting.stage}"
        report(f"Computing {name}", 0, None)
        tokens = np.asarray(extract(model, chosen, [name], batch_size=6)[name])
        queries, database = np.split(tokens, [setting.queries])
        for kernel in (Linear(), Cosine()):
            rows.append(_compare(queries, database, kernel, setting, config.k, report))
    return rows


def _compare(
    queries: Float[np.ndarray, "Q S C"],
    database: Float[np.ndarray, "M S C"],
    kernel: Kernel,
    setting: Setting,
    k: int,
    report: Any,
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
    seconds = {way: turns.median(way) for way in calls}
    ratio = seconds["pruned"] / seconds["all"]
    equal = bool((pruned.index == everything.index).all())
    return {
        "tokens": tokens,
        "channels": channels,
        "queries": samples,
        "database": len(database),
        "kernel": str(kernel),
        "seconds": seconds,
        "ratio": ratio,
        "goal": setting.goal,
        "solved_share": pruned.solved_share,
        "bounds": [bound._asdict() for bound in pruned.bounds],
        "equal": equal,
        "met": equal and ratio <= setting.goal,
    }


def _main(
    scale: Annotated[
        str, typer.Option(help=f"How much to run: {' or '.join(SCALES)}.")
    ] = "bundled",
    output: Annotated[
        Path, typer.Option("--output", "-o", help="Where to write the figures, .json.")
    ] = Path("results/retrieval_pruning.json"),
    overwrite: Annotated[
        bool, typer.Option("--overwrite", help="Replace the file of another run.")
    ] = False,
) -> None:
    """Times pruned searches against matching all pairs."""
    from rich.console import Console
    from rich.table import Table

    _checks.one_of("scale", scale, tuple(SCALES))
    output = check_output(output, overwrite, suffixes=(".json",))
    config = SCALES[scale]
    with progress_bar("steps") as report:
        rows = run(config, report)
    with new_file(output, overwrite) as temporary:
        results = {"config": asdict(config), "results": rows}
        temporary.write_text(json.dumps(results, indent=2, default=str))
    columns = ("S", "C", "pairs", "kernel", "all s", "pruned s", "ratio", "goal")
    table = Table(*columns, "solved", "equal", "met", title="Pruned search")
    for row in rows:
        table.add_row(
            str(row["tokens"]),
            str(row["channels"]),
            f"{row['queries']} x {row['database']}",
            row["kernel"].split("(")[0],
            f"{row['seconds']['all']:.2f}",
            f"{row['seconds']['pruned']:.2f}",
            f"{row['ratio']:.3f}",
            f"{row['goal']:.2f}" if scale == "bundled" else "-",
            f"{row['solved_share']:.1%}",
            "yes" if row["equal"] else "NO",
            ("yes" if row["met"] else "NO") if scale == "bundled" else "-",
        )
    Console(width=100).print(table)
    say(f"Written: {output}")


def main() -> None:
    """Runs the command line."""
    app = typer.Typer(add_completion=False, pretty_exceptions_enable=False)
    app.command(help=(__doc__ or "").replace("\n\n    ", "\n\n\b\n    "))(
        guarded(_main)
    )
    app()


if __name__ == "__main__":
    main()
