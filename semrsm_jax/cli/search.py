"""``semrsm search``: the most similar samples of a database, without the whole RSM."""

import json
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from semrsm_jax.cli import options
from semrsm_jax.cli._algorithm_options import KernelOptions, MatcherOptions
from semrsm_jax.cli._inputs import feature_layers
from semrsm_jax.cli.console import progress_bar, say, say_fields

if TYPE_CHECKING:
    from semrsm_jax.retrieval import SearchResult

NAME = "search"
HELP = """Find the most similar samples of a database for each query.

Both hold features of shape (N, H, W, C) or (N, S, C). With exact matching, proven bounds tell which pairs cannot be neighbours, so that only the others are matched; the neighbours are those of the full computation. Features are read as they are needed, and the matrix of all pairs is never held.

Example: semrsm search queries.npy database.npy -k 5 --kernel cosine -o neighbours.npz

Example, no neighbours from the query's own video: semrsm search frames.npy frames.npy --exclude videos.txt -o neighbours.json

videos.txt has the group of one sample a line, those of the queries and then those of the database, or those of both once where they are the same file. --exclude self leaves out the sample itself.

The .npz holds index (Q, k), samples of the database from 0, -1 where there are no more; similarity (Q, k); and the metadata as JSON: settings, share of the pairs matched, time. The .json holds the same, with names in place of numbers where the features have them."""  # noqa: E501 (lines are wrapped when shown)

_SUFFIXES = (".npz", ".json")
_SELF = "self"


def command(
    queries: Annotated[Path, options.features_argument("QUERIES")],
    database: Annotated[
        Path, options.features_argument("DATABASE", "Features to search.")
    ],
    output: Annotated[
        Path,
        typer.Option(
            "--output",
            "-o",
            show_default=False,
            help="Where to write the neighbours: .npz or .json.",
        ),
    ],
    k: Annotated[int, typer.Option("-k", help="How many neighbours.")] = 5,
    exclude: Annotated[
        str | None,
        typer.Option(
            metavar="FILE",
            help="Groups, a line each: samples of the query's own group are no "
            "neighbours. Or: self.",
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
    from semrsm_jax.retrieval import search
    from semrsm_jax.store import check_output, feature_ids

    rule = matcher.build()
    similarity = kernel.build()
    check_output(output, overwrite, suffixes=_SUFFIXES, inputs=(queries, database))
    (x,) = feature_layers(queries, key, None, layout).values()
    (y,) = feature_layers(database, key, None, layout).values()
    excluded = _exclusion(exclude, x.rows.shape[0], y.rows.shape[0])
    with progress_bar("pairs", quiet) as report:
        report("Looking through the features", 0, None)
        found = search(
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
        "pairs": found.pairs,
        "solved": found.solved,
        "solved_share": found.solved_share,
        "seconds": found.seconds,
        "bounds": [bound._asdict() for bound in found.bounds],
    }
    ids = feature_ids(queries), feature_ids(database)
    _write(output, found, metadata, ids, overwrite)
    if quiet:
        return
    say(f"Neighbours of {queries} in {database}")
    say_fields(
        {
            "samples": f"{x.rows.shape[0]} x {y.rows.shape[0]}, the best {k}",
            "tokens S": f"{x.rows.shape[1]} and {y.rows.shape[1]}",
            "channels C": x.rows.shape[2],
            "matcher": rule,
            "kernel": similarity,
            "matched": f"{found.solved:,} of {found.pairs:,} pairs "
            f"({found.solved_share:.1%})",
            **{
                bound.name: f"{bound.pruned:,} of {bound.pairs:,} pairs ruled out in "
                f"{bound.seconds:.2f} s"
                for bound in found.bounds
            },
            "time": f"{found.seconds:.2f} s",
            "written to": output,
        }
    )


def _exclusion(text: str | None, queries: int, database: int) -> Any:
    """The rule of ``--exclude``.

    Raises:
      ValueError: the file cannot be read, or has another number of lines.
    """
    import numpy as np

    from semrsm_jax.retrieval import same_group, same_sample

    if text is None:
        return None
    if text == _SELF:
        if queries != database:
            raise ValueError(
                "--exclude self needs the same samples on both sides, got "
                f"{queries} and {database}"
            )
        return same_sample(queries)
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


def _write(
    output: Path,
    found: "SearchResult",
    metadata: dict[str, Any],
    ids: tuple[tuple[str, ...] | None, tuple[str, ...] | None],
    overwrite: bool,
) -> None:
    import numpy as np

    from semrsm_jax.store import new_file

    query_ids, database_ids = ids
    with new_file(output, overwrite) as temporary:
        if output.suffix.lower() == ".npz":
            np.savez(
                temporary,
                index=found.index,
                similarity=found.similarity,
                metadata=np.asarray(json.dumps(metadata)),
            )
            return
        neighbours = [
            {
                "query": query_ids[number] if query_ids else number,
                "neighbours": [
                    {
                        "sample": database_ids[column] if database_ids else int(column),
                        "similarity": float(value),
                    }
                    for column, value in zip(columns, values, strict=True)
                    if column >= 0
                ],
            }
            for number, (columns, values) in enumerate(
                zip(found.index, found.similarity, strict=True)
            )
        ]
        text = json.dumps({**metadata, "neighbours": neighbours}, indent=2)
        temporary.write_text(text, encoding="utf-8")
