"""What ``semrsm retrieve`` prints and writes."""

from collections.abc import Mapping
from typing import Any

import numpy as np

from semrsm_jax.cli._retrieval_inputs import Sides
from semrsm_jax.cli.console import say
from semrsm_jax.retrieval import MeanScore, Neighbors, RetrievalScores


def means_as_dict(name: str, scores: RetrievalScores) -> dict[str, Any]:
    """The means of one RSM, for the summary."""
    row: dict[str, Any] = {"rsm": name, "queries": scores.queries}
    kinds: dict[str, MeanScore] = {"mean": scores.mean, "best": scores.best}
    for kind, mean in kinds.items():
        row[kind] = mean.value.tolist()
        if mean.low is not None and mean.high is not None:
            row[f"{kind}_interval"] = {
                "low": mean.low.tolist(),
                "high": mean.high.tolist(),
            }
        if mean.less_first is not None:
            fields = ("difference", "low", "high", "p_value")
            row[f"{kind}_less_first"] = {
                field: np.asarray(getattr(mean.less_first, field)).tolist()
                for field in fields
            }
    return row


def per_query(
    neighbors: Mapping[str, Neighbors],
    scores: Mapping[str, RetrievalScores],
    sides: Sides,
) -> dict[str, Any]:
    """Neighbors and scores of each query; JSON has no NaN, which becomes null."""

    def listed(values: Any) -> list:
        values = np.asarray(values)
        numbers = values.astype(object)
        numbers[~np.isfinite(values)] = None
        return numbers.tolist()

    return {
        "query_ids": sides.ids[0],
        "database_ids": sides.ids[1],
        "neighbors": {
            name: {"index": each.index.tolist(), "similarity": listed(each.similarity)}
            | (
                {k: listed(v) for k, v in scores[name].of_queries._asdict().items()}
                if name in scores
                else {}
            )
            for name, each in neighbors.items()
        },
    }


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
