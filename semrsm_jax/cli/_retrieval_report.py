"""What ``semrsm retrieve`` makes of neighbours: scores, figures, files."""

import json
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Any

from semrsm_jax.cli import _retrieval as retrieval
from semrsm_jax.cli import _similarity as similarity
from semrsm_jax.cli.console import say

if TYPE_CHECKING:
    from semrsm_jax.retrieval import Neighbors, ScoresAtK

# Neighbours of a query in a gallery.
_SHOWN = 5


class ScoreName(StrEnum):
    """Scores of what was retrieved."""

    F1 = "f1"
    IOU = "iou"


def score_all(
    found: "dict[str, Neighbors]", sides: "retrieval.Sides", score: ScoreName
) -> "dict[str, ScoresAtK]":
    """The scores at k of what each RSM retrieves."""
    from semrsm_jax import class_iou, instance_f1, scores_at_k

    function = {ScoreName.F1: instance_f1, ScoreName.IOU: class_iou}[score]
    return {
        name: scores_at_k(
            each.index, sides.queries.counts, sides.database.counts, function
        )
        for name, each in found.items()
    }


def summaries(
    scores: "dict[str, ScoresAtK]",
    sides: "retrieval.Sides | None",
    resamples: int | None,
    confidence: float,
    seed: int,
) -> list[dict[str, Any]]:
    """Means over queries, with intervals and tests against the first where wanted."""
    import numpy as np

    from semrsm_jax.comparison.inference import paired_test

    rows: list[dict[str, Any]] = []
    if sides is None:
        return rows
    groups = sides.queries.groups
    codes = None if groups is None else np.unique(groups, return_inverse=True)[1]
    settings: dict[str, Any] = {"key": seed, "confidence": confidence}
    first: dict[str, np.ndarray] = {}
    for name, both in scores.items():
        row: dict[str, Any] = {"rsm": name}
        for kind, values in both._asdict().items():
            values = np.asarray(values)
            # Queries without any neighbour have no score.
            scored = np.isfinite(values).all(axis=1)
            if not scored.any():
                raise ValueError("no query has a neighbour: all are excluded")
            row[kind] = values[scored].mean(axis=0).tolist()
            row["queries"] = int(scored.sum())
            if not resamples:
                continue
            own = None if codes is None else codes[scored]
            against = {"interval": np.zeros_like(values)}
            if kind in first:
                against["less_first"] = first[kind]
            for what, other in against.items():
                test = paired_test(
                    values[scored],
                    other[scored],
                    groups=own,
                    resamples=resamples,
                    **settings,
                )
                part: dict[str, Any] = {
                    "low": test.low.tolist(),
                    "high": test.high.tolist(),
                }
                if what == "less_first":
                    part["difference"] = test.difference.tolist()
                    part["p_value"] = test.p_value.tolist()
                row[f"{kind}_{what}"] = part
            first.setdefault(kind, values)
        rows.append(row)
    return rows


def plot_scores(summary: dict[str, Any], path: Path, overwrite: bool) -> None:
    """Draws mean and best score against k."""
    import numpy as np

    from semrsm_jax.plotting import ScoreCurve, plot_scores_at_k
    from semrsm_jax.plotting.style import new_figure

    name = {"f1": "F1", "iou": "IoU"}[summary["score"]]
    figure = new_figure((7.2, 3.0))
    axes = figure.subplots(1, 2, sharey=True)
    for ax, kind in zip(axes, ("mean", "best"), strict=True):
        curves = {}
        for row in summary["scores"]:
            interval = row.get(f"{kind}_interval", {})
            ends = (interval.get("low"), interval.get("high"))
            low, high = (None if end is None else np.array(end) for end in ends)
            curves[row["rsm"]] = ScoreCurve(np.array(row[kind]), low, high)
        plot_scores_at_k(
            curves, ax, label=f"{name}@k", title=f"{kind} of the top k", legend=False
        )
    axes[0].legend(frameon=False, fontsize=7)
    axes[1].set_ylabel("")
    similarity.save_figure(figure, path, overwrite)


def draw_gallery(
    found: "dict[str, Neighbors]",
    images: "tuple[retrieval.Images, retrieval.Images]",
    count: int,
    path: Path,
    overwrite: bool,
) -> None:
    """Draws the first queries with their neighbours."""
    from semrsm_jax.plotting import retrieval_gallery

    queries = range(min(count, len(next(iter(found.values())).index)))
    shown, retrieved = retrieval.gallery_rows(found, images, queries, _SHOWN)
    figure = retrieval_gallery(
        shown, retrieved, title="Most similar images, with their similarity"
    )
    similarity.save_figure(figure, path, overwrite)


def write(
    path: Path,
    summary: dict[str, Any],
    found: "dict[str, Neighbors]",
    scores: "dict[str, ScoresAtK]",
    samples: retrieval.Samples,
    overwrite: bool,
) -> None:
    """Writes the summary and, for each query, its neighbours and scores."""
    import numpy as np

    from semrsm_jax.store import new_file

    def listed(values: Any) -> list:
        # JSON has no NaN.
        values = np.asarray(values)
        numbers = values.astype(object)
        numbers[~np.isfinite(values)] = None
        return numbers.tolist()

    neighbors = {
        name: {
            "index": each.index.tolist(),
            "similarity": listed(each.similarity),
            **{
                kind: listed(v)
                for kind, v in (
                    scores[name]._asdict().items() if name in scores else ()
                )
            },
        }
        for name, each in found.items()
    }
    everything = summary | {
        "query_ids": samples.query_ids,
        "database_ids": samples.database_ids,
        "neighbors": neighbors,
    }
    with new_file(path, overwrite) as temporary:
        temporary.write_text(json.dumps(everything, allow_nan=False))


def show(summary: dict[str, Any]) -> None:
    """Prints what came out."""
    excluded = {"none": "nothing", "self": "the query", "group": "the query's group"}
    text = f"{summary['queries']:,} queries"
    if summary["exclude"] is not None:
        text += f", {summary['database']:,} images in the database, "
        text += f"{excluded[summary['exclude']]} excluded"
    say(text)
    if summary["score"] is None:
        say("--queries, a file of what the images show, gives scores")
        return
    name = {"f1": "F1", "iou": "IoU"}[summary["score"]]
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
            say(f"  {name} {kind}  {'   '.join(parts)}")
        if "mean_less_first" in row:
            test = row["mean_less_first"]
            say(
                f"  {name}@1 less that of the first: {test['difference'][0]:+.4f} "
                f"({test['low'][0]:+.3f} to {test['high'][0]:+.3f}), "
                f"p {test['p_value'][0]:.3g}"
            )
