"""The tables that the command prints."""

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from rich.box import SIMPLE
from rich.table import Table

from experiments.runtime.depth import UNMATCHED
from experiments.runtime.table5 import BATCH

_Entry = Mapping[str, Any]


def tables(document: _Entry) -> Iterator[Table]:
    """One or more tables a section, and the goals, where there are any, at the end."""
    for name, result in document["sections"].items():
        yield from _TABLES[name](result)
    goals = document["measurements"]
    if goals:
        yield _table(
            "Goals",
            [
                {
                    "measurement": goal["name"],
                    "measured": f"{goal['value']:.4g} {goal['unit']}".strip(),
                    "goal": f"{goal['relation']} {goal['goal']:g}",
                    "met": _yes(goal["met"]),
                }
                for goal in goals
            ],
        )


def _table5(result: _Entry) -> Iterator[Table]:
    sizes = result["sizes"]
    lines = {
        "features": [s["network"].rpartition(", ")[2] for s in sizes],
        **{
            name: [_ms(s["solver_seconds"].get(name)) for s in sizes]
            for name in sizes[0]["solver_seconds"]
        },
        "affinity": [_ms(s["affinity_seconds"]) for s in sizes],
        "dual bound": [_ms(s["dual_bound_seconds"]) for s in sizes],
        f"fastest peer / {BATCH}": [f"{s['ratio']:.1f}" for s in sizes],
        "fastest peer / one": [f"{s['ratio_one_matrix']:.1f}" for s in sizes],
        "fastest peer": [s["fastest_peer"] for s in sizes],
    }
    yield _table(
        f"Exact solvers, affinity given{_busy(result)}",
        [
            # Columns of equal numbers of tokens are told apart by their place.
            {"ms a pair, one core": name, **dict(enumerate(cells))}
            for name, cells in lines.items()
        ],
        [f"S={size['tokens']}" for size in sizes],
    )
    for size in sizes:
        centered = size.get("centered_quality", {})
        yield _table(
            f"Matchers, from tokens, S={size['tokens']}, C={size['channels']}, "
            f"{size['pairs']} pairs, {size['network']}",
            [
                {
                    "matcher": row["matcher"],
                    "ms a pair": _ms(row["seconds"]),
                    "k/k_opt %": _percent(row["quality"]),
                    "lowest": _percent(row["lowest_quality"]),
                    "proven": _percent(row["proven"]),
                }
                | ({"centered": _percent(centered[row["matcher"]])} if centered else {})
                for row in size["matchers"]
            ],
        )


def _depth(result: _Entry) -> Iterator[Table]:
    layers = result["layers"]
    names = dict.fromkeys(name for layer in layers for name in layer["matchers"])
    # Narrow, or the columns would not fit.
    short = {"Batch-Optimal": "window", "TopK-Greedy": "top"}

    def head(name: str) -> str:
        kind, _, number = name.rpartition(" ")
        return name if name == UNMATCHED else f"{short[kind]} {number}"

    optimal = {"mean": 1.0}  # a window of all tokens
    yield _table(
        f"k/k_opt %, means of {layers[0]['pairs']} pairs",
        [
            {
                "layer": f"{at['network']}, stage {at['stage']}, S={at['tokens']}",
                **{
                    head(name): _percent(at["matchers"].get(name, optimal)["mean"])
                    for name in names
                },
            }
            for at in layers
        ],
    )


def _adversarial(result: _Entry) -> Iterator[Table]:
    yield _table(
        f"Adversarial affinities{_busy(result)}",
        [
            {
                "affinity": case["family"],
                "S": str(case["tokens"]),
                "SciPy ms": _ms(case["scipy_seconds"]),
                "ours ms": _ms(case["seconds"]),
                "ratio": f"{case['ratio']:.2f}",
                "optimal": _yes(case["optimal"]),
            }
            for case in result["cases"]
        ],
    )


def _threads(result: _Entry) -> Iterator[Table]:
    yield _table(
        f"Pairs a second by threads, {result['cores']} cores",
        [
            {
                "S": str(size["tokens"]),
                "1 thread": f"{size['pairs_per_second']['1']:.0f}",
                "2 threads": f"{size['pairs_per_second']['2']:.0f}",
                "ratio": f"{size['speedup']:.2f}",
            }
            for size in result["sizes"]
        ],
    )


def _rsm(result: _Entry) -> Iterator[Table]:
    yield _table(
        f"Whole exact RSM, {result['cores']} cores",
        [
            {
                "RSM": f"N={at['samples']}, S={at['tokens']}, C={at['channels']}",
                **{f"{name} s": f"{t:.3g}" for name, t in at["seconds"].items()},
                "ours / loop": f"{at['ratio']:.3f}",
                "/ products": f"{at['ratio_to_products']:.2f}",
            }
            for at in result["sizes"]
        ],
    )


def _scaling(result: _Entry) -> Iterator[Table]:
    yield _table(
        f"BatchOptimal({result['window']}, sweeps={result['sweeps']}): exponent "
        f"{result['exponent']:.3f}{_busy(result)}",
        [{"S": s, "ms a pair": _ms(t)} for s, t in result["seconds"].items()],
    )
    yield _table(
        f"k/k_opt %, S={result['quality_tokens']}",
        [
            {
                "sweeps": sweeps,
                "features": _percent(quality),
                "centered": _percent(result["centered_quality"][sweeps]),
            }
            for sweeps, quality in result["quality"].items()
        ],
    )


def _large(result: _Entry) -> Iterator[Table]:
    yield _table(
        "Large",
        [
            {
                "": f"{name}, S={part['tokens']}",
                "first s": f"{part['first_seconds']:.2f}",
                "again s": f"{part['seconds']:.2f}",
                "peak GiB": f"{part['peak_bytes'] / 2**30:.2f}",
                "over start": f"{part['peak_bytes_over_baseline'] / 2**30:.2f}",
                "proven %": _percent(part.get("proven")),
            }
            for name, part in ((n, result[n]) for n in ("pair", "exact", "rsm"))
        ],
    )


_TABLES = {
    "table5": _table5,
    "depth": _depth,
    "adversarial": _adversarial,
    "threads": _threads,
    "rsm": _rsm,
    "scaling": _scaling,
    "large": _large,
}


def _table(
    title: str, rows: Sequence[Mapping[Any, str]], heads: Sequence[str] = ()
) -> Table:
    """A table of rows with equal keys, which are the heads of its columns.

    `heads` replace those of all columns but the first.
    """
    table = Table(title=title, title_justify="left", box=SIMPLE, show_edge=False)
    # Or a narrow table would break the title's lines.
    table.min_width = len(title)
    first, *others = rows[0]
    for head in (first, *(heads or others)):
        table.add_column(
            head, justify="left" if head is first else "right", no_wrap=True
        )
    for row in rows:
        table.add_row(*row.values())
    return table


def _ms(seconds: float | None) -> str:
    if seconds is None:
        return ""
    return f"{seconds * 1e3:.3g}" if seconds < 1 else f"{seconds * 1e3:.0f}"


def _percent(share: float | None) -> str:
    return "" if share is None else f"{100 * share:.2f}"


def _busy(result: _Entry) -> str:
    return f" (busy {result['busy']:.2f})"


def _yes(met: bool) -> str:
    return "yes" if met else "NO"
