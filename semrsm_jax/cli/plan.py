"""``semrsm plan``: what a run will take, estimated beforehand."""

from typing import Annotated

import typer

from semrsm_jax.cli import options
from semrsm_jax.cli._algorithm_options import MatcherOptions
from semrsm_jax.cli._inputs import feature_layers
from semrsm_jax.cli.console import duration, say, say_fields, say_json, size

HELP = """Estimate what semrsm rsm will take: pairs, time, memory and disk.

Some pairs are matched for a few seconds to measure their rate, and nothing is written.

Example: semrsm plan features.npy --matcher exact"""


def command(
    features: options.Features,
    other: options.OtherFeatures = None,
    *,
    matcher: MatcherOptions,
    layout: options.Layout = None,
    key: options.Key = None,
    bound: options.Bound = None,
    memory_budget: options.MemoryBudget = None,
    tile: options.Tile = None,
    workers: Annotated[
        int, typer.Option(help="How many will work, each as fast as this process.")
    ] = 1,
    as_json: options.AsJSON = False,
) -> None:
    """Checks all input, measures, and prints the estimate."""
    from semrsm_jax.engine import plan

    if workers < 1:
        raise ValueError(f"--workers must be at least 1, got {workers}")
    paths = [features] if other is None else [features, other]
    inputs = [feature_layers(path, key, None, layout)[None] for path in paths]
    estimate = plan(
        *inputs,
        matcher=matcher.build(),
        bound=options.build_bound(bound),
        tile=tile,
        memory_budget=options.parse_bytes("--memory-budget", memory_budget),
        workers=workers,
    )
    if as_json:
        say_json(estimate._asdict())
        return
    (rows, columns), (tokens, others) = estimate.samples, estimate.tokens
    say(f"Matching {' and '.join(map(str, paths))}")
    say_fields(
        {
            "samples": f"{rows:,} x {columns:,}",
            "tokens S": f"{tokens}" if tokens == others else f"{tokens} and {others}",
            "channels C": estimate.channels,
            "pairs": f"{estimate.pairs:,}",
            "tiles": f"{estimate.tiles:,} of {estimate.tile} x {estimate.tile}",
            "in flight": f"{estimate.pairs_in_flight} pairs",
            "rate": f"{estimate.rate:,.0f} pairs/s, "
            f"measured on {estimate.pairs_measured}",
            "time": duration(estimate.seconds),
            "memory": f"{size(estimate.memory)}, libraries included",
            "disk": size(estimate.disk),
        }
    )
