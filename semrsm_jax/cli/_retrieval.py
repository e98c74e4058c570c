"""What ``semrsm retrieve`` reads, prints and writes."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Literal, NamedTuple

import numpy as np

from semrsm_jax import same_group, same_sample
from semrsm_jax.cli.console import PAIRED, numbers, plain, say
from semrsm_jax.retrieval import (
    MeanScore,
    Neighbors,
    RetrievalScores,
    holds_neighbors,
    load_neighbors,
)
from semrsm_jax.retrieval.exclusion import Exclusion
from semrsm_jax.store import Labels, align_classes, align_labels, load_labels

# What may not be retrieved.
Exclude = Literal["none", "self", "group"]


class Sides(NamedTuple):
    """Queries and database: how many samples, their ids, their labels."""

    counts: tuple[int, int | None]
    ids: Sequence[tuple[str, ...] | None]
    labels: tuple[Labels, Labels] | None = None


def load_searches(paths: Sequence[Path], k: int) -> tuple[dict[str, Neighbors], Sides]:
    """The results of searches by name, cut to k; none where the paths hold RSMs."""
    searches = [holds_neighbors(path) for path in paths]
    neighbors: dict[str, Neighbors] = {}
    sides = Sides((0, None), (None, None))
    if not any(searches):
        return neighbors, sides
    if not all(searches):
        raise ValueError("RSMs and results of searches cannot be given together")
    for path in paths:
        file = load_neighbors(path)
        index, similarity = file.neighbors
        if index.shape[1] < k:
            raise ValueError(
                f"{path} holds {index.shape[1]} neighbors a query, --k asks for {k}: "
                f"score fewer with --k {index.shape[1]}, or search with -k {k}"
            )
        if str(path) in neighbors:
            raise ValueError(f"{path} was given twice")
        neighbors[str(path)] = Neighbors(index[:, :k], similarity[:, :k])
        ids = (file.query_ids, file.database_ids)
        if len(neighbors) == 1:
            sides = Sides((len(index), None), ids)
        elif (len(index), ids) != (sides.counts[0], sides.ids):
            raise ValueError("the results must be of the same queries and database")
    return neighbors, sides


def with_labels(sides: Sides, queries: Path, database: Path | None) -> Sides:
    """The labels of both sides, in the order of the samples."""
    own = load_labels(queries)
    others = own if database is None else load_labels(database)
    names = str(queries), str(database or queries)
    own = align_labels(own, sides.ids[0], sides.counts[0], names[0])
    others = align_labels(others, sides.ids[1], sides.counts[1], names[1])
    return sides._replace(labels=align_classes(own, others, names))


def exclusion(
    wanted: Exclude | None, sides: Sides, one_set: bool
) -> tuple[Exclude, Exclusion | None]:
    """The rule of what may not be retrieved, and its name."""
    groups = [None if sides.labels is None else s.groups for s in sides.labels or ()]
    own, others = groups or (None, None)
    if wanted is None:
        x_ids, y_ids = sides.ids
        same = sides.counts[0] == sides.counts[1]
        if x_ids and y_ids:
            same = set(x_ids) == set(y_ids)
        wanted = "self" if same and one_set else "none"
        wanted = wanted if own is None or others is None else "group"
    if wanted == "group":
        if own is None or others is None:
            raise ValueError(
                "--exclude group needs groups in --queries and --database: a column "
                "'group' or an array 'groups'"
            )
        return wanted, same_group(np.array(own), np.array(others))
    if wanted == "self":
        return wanted, not_itself(sides.ids, sides.counts)
    return wanted, None


def not_itself(
    ids: Sequence[Sequence[str] | None], counts: tuple[int, int | None]
) -> Exclusion:
    """The rule of ``--exclude self``: by ids where both sides have them."""
    x_ids, y_ids = ids
    if x_ids and y_ids:
        return same_group(np.array(x_ids), np.array(y_ids))
    rows, columns = counts
    if rows != columns:
        raise ValueError(
            "--exclude self needs a square RSM, or ids on both sides, got "
            f"{rows} and {columns} samples"
        )
    return same_sample(rows)


def image_files(sides: Sides, *folders: Path) -> list[tuple[list[Path], Any]]:
    """The image files of queries and database, and the names of their samples."""
    from semrsm_jax.features import match_images

    labeled: Sequence[Any] = sides.labels or (None, None)
    return [
        match_images(folder, ids or (labels and labels.ids), count)
        for folder, ids, labels, count in zip(
            folders, sides.ids, labeled, sides.counts, strict=True
        )
    ]


def means_as_dict(name: str, scores: RetrievalScores) -> dict[str, Any]:
    """The means of one RSM, for the summary."""
    row: dict[str, Any] = {"rsm": name, "queries": scores.queries}
    kinds: dict[str, MeanScore] = {"mean": scores.mean, "best": scores.best}
    for kind, mean in kinds.items():
        row[kind] = mean.value.tolist()
        if mean.low is not None:
            row[f"{kind}_interval"] = numbers(mean, "low", "high")
        if mean.less_first is not None:
            row[f"{kind}_less_first"] = numbers(mean.less_first, *PAIRED)
    return row


def per_query(
    neighbors: Mapping[str, Neighbors],
    scores: Mapping[str, RetrievalScores],
    sides: Sides,
) -> dict[str, Any]:
    """Neighbors and scores of each query."""
    queries: dict[str, Any] = {}
    for name, each in neighbors.items():
        queries[name] = {"index": each.index, "similarity": each.similarity}
        if name in scores:
            queries[name] |= scores[name].of_queries._asdict()
    ids = {"query_ids": sides.ids[0], "database_ids": sides.ids[1]}
    return plain(ids | {"neighbors": queries})


def show(summary: dict[str, Any], label: str) -> None:
    """Prints the means at 1, 5 and k neighbors."""
    excluded = {"none": "nothing", "self": "the query", "group": "the query's group"}
    text = f"{summary['queries']:,} queries"
    if summary["exclude"] is not None:
        text += f", {summary['database']:,} images in the database, "
        text += f"{excluded[summary['exclude']]} excluded"
    say(text)
    if summary["score"] is None:
        say("--queries, a file of what the images show, gives scores")
        return
    places = sorted({1, min(5, summary["k"]), summary["k"]})
    for row in summary["scores"]:
        say(row["rsm"])
        for kind in ("mean", "best"):
            parts = []
            for k in places:
                text = f"@{k} {row[kind][k - 1]:.4f}"
                if f"{kind}_interval" in row:
                    interval = row[f"{kind}_interval"]
                    low, high = interval["low"][k - 1], interval["high"][k - 1]
                    text += f" ({low:.3f} to {high:.3f})"
                parts.append(text)
            say(f"  {label} {kind}  {'   '.join(parts)}")
        if "mean_less_first" in row:
            test = row["mean_less_first"]
            say(
                f"  {label}@1 less that of the first: {test['difference'][0]:+.4f} "
                f"({test['low'][0]:+.3f} to {test['high'][0]:+.3f}), "
                f"p {test['p_value'][0]:.3g}"
            )
