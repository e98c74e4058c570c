"""``semrsm search``: the most similar samples of a database, without the whole RSM."""

from pathlib import Path
from typing import Annotated, Any

import numpy as np
import typer

from semrsm_jax import same_group
from semrsm_jax.cli import options
from semrsm_jax.cli._algorithm_options import KernelOptions, MatcherOptions
from semrsm_jax.cli._inputs import feature_layers
from semrsm_jax.cli._retrieval import not_itself
from semrsm_jax.cli.console import progress_bar, say, say_fields
from semrsm_jax.engine import Features
from semrsm_jax.retrieval import save_neighbors, search
from semrsm_jax.retrieval.neighbor_file import SUFFIXES
from semrsm_jax.store import check_output

HELP = """Find the most similar samples of a database for each query.

Both hold features of shape (N, H, W, C) or (N, S, C). With exact matching, proven bounds exclude most pairs, and only the others are matched; the neighbors are those of the full computation. Features are read as they are needed, and the matrix of all pairs is never held.

Example: semrsm search queries.npy database.npy -k 5 --kernel cosine -o neighbors.npz

Example, no neighbors from the query's own video: semrsm search frames.npy frames.npy --exclude videos.txt -o neighbors.json

videos.txt has the group of one sample a line, those of the queries and then those of the database, or those of both once where they are the same file. --exclude self leaves out the sample itself, by its id where both have ids.

The .npz holds index (Q, k), samples of the database from 0, -1 where there are no more; similarity (Q, k); query_ids and database_ids, where the features have ids; and the metadata as JSON: settings, share of the pairs matched, time. The .json holds the same, with ids in place of numbers. semrsm retrieve scores an .npz."""  # noqa: E501 (lines are wrapped when shown)

_SELF = "self"


def command(
    queries: Annotated[Path, options.features_argument("QUERIES")],
    database: Annotated[
        Path, options.features_argument("DATABASE", "Features to search.")
    ],
    output: Annotated[
        Path, options.output_option(help="Where to write the neighbors: .npz or .json.")
    ],
    k: Annotated[int, typer.Option("-k", help="How many neighbors.")] = 5,
    exclude: Annotated[
        str | None,
        typer.Option(
            metavar="FILE",
            help="Groups, a line each: samples of the query's own group are no "
            "neighbors. Or: self.",
        ),
    ] = None,
    *,
    matcher: MatcherOptions,
    kernel: KernelOptions,
    layout: options.Layout = None,
    key: options.Key = None,
    everything: Annotated[
        bool, typer.Option("--all", help="Match every pair, for comparison.")
    ] = False,
    overwrite: options.Overwrite = False,
    quiet: options.Quiet = False,
) -> None:
    """Checks all input, searches, writes, and says what it took."""
    rule = matcher.build()
    similarity = kernel.build()
    check_output(output, overwrite, suffixes=SUFFIXES, inputs=(queries, database))
    (x,) = feature_layers(queries, key, None, layout).values()
    (y,) = feature_layers(database, key, None, layout).values()
    excluded = _exclusion(exclude, x, y)
    with progress_bar("pairs", quiet) as report:
        report("Looking through the features", 0, None)
        result = search(
            x,
            y,
            k,
            matcher=rule,
            kernel=similarity,
            exclude=excluded,
            prune=False if everything else None,
            progress=lambda done, total: report("Searching", done, total),
        )
    metadata = {
        "queries": str(queries),
        "database": str(database),
        "matcher": str(rule),
        "kernel": str(similarity),
        "pairs": result.pairs,
        "solved": result.solved,
        "solved_share": result.solved_share,
        "unconverged": result.unconverged._asdict(),
        "seconds": result.seconds,
        "bounds": [bound._asdict() for bound in result.bounds],
    }
    save_neighbors(
        output,
        result,
        metadata=metadata,
        overwrite=overwrite,
    )
    if quiet:
        return
    say(f"Neighbors of {queries} in {database}")
    say_fields(
        {
            "samples": f"{x.rows.shape[0]} x {y.rows.shape[0]}, the best {k}",
            "tokens S": f"{x.rows.shape[1]} and {y.rows.shape[1]}",
            "channels C": x.rows.shape[2],
            "matcher": rule,
            "kernel": similarity,
            "matched": f"{result.solved:,} of {result.pairs:,} pairs "
            f"({result.solved_share:.1%})",
            **{
                bound.name: f"{bound.pruned:,} of {bound.pairs:,} pairs ruled out in "
                f"{bound.seconds:.2f} s"
                for bound in result.bounds
            },
            "time": f"{result.seconds:.2f} s",
            "written to": output,
        }
    )


def _exclusion(text: str | None, x: Features, y: Features) -> Any:
    """The rule of ``--exclude``."""
    if text is None:
        return None
    queries, database = x.rows.shape[0], y.rows.shape[0]
    if text == _SELF:
        return not_itself((x.ids, y.ids), (queries, database))
    try:
        lines = Path(text).read_text(encoding="utf-8").splitlines()
    except (OSError, UnicodeError) as error:
        raise ValueError(f"--exclude {text} cannot be read: {error}") from error
    groups = np.array(lines)
    if len(groups) == queries + database:
        return same_group(groups[:queries], groups[queries:])
    if len(groups) == queries == database:
        return same_group(groups)
    raise ValueError(
        f"--exclude {text} must have a line for each of {queries} queries and "
        f"{database} samples of the database, got {len(groups)}"
    )
