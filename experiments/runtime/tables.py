"""The tables that the benchmark prints."""

from collections.abc import Iterator
from typing import Any

from rich.box import SIMPLE
from rich.table import Table

from experiments.runtime.report import Goal, Results
from experiments.runtime.table5 import BATCH


def tables(results: Results, goals: list[Goal]) -> Iterator[Table]:
    """A table or two a section, and the goals, where there are any, at the end."""
    for name, result in results.items():
        yield from _TABLES[name](result)
    rows = [
        (
            goal.name,
            f"{goal.value:.4g}",
            f"{goal.relation} {goal.target:g}",
            "yes" if goal.met else "NO",
        )
        for goal in goals
    ]
    if rows:
        yield _table("Goals", ("figure", "measured", "goal", "met"), rows)


def _table5(result: dict[str, Any]) -> Iterator[Table]:
    sizes = result["sizes"]
    heads = ("ms a pair, one core", *(f"S={size['tokens']}" for size in sizes))
    names = list(sizes[0]["solver_seconds"])
    rows = [
        ("features", *("trained" if _is_trained(s) else "random" for s in sizes)),
        *(
            (name, *(_ms(size["solver_seconds"].get(name)) for size in sizes))
            for name in names
        ),
    ]
    rows += [
        ("affinity", *(_ms(size["affinity_seconds"]) for size in sizes)),
        ("dual bound", *(_ms(size["dual_bound_seconds"]) for size in sizes)),
        (f"fastest peer / {BATCH}", *(f"{size['ratio']:.1f}" for size in sizes)),
        ("fastest peer / one", *(f"{size['ratio_one_matrix']:.1f}" for size in sizes)),
        ("fastest peer", *(size["fastest_peer"] for size in sizes)),
    ]
    title = f"Exact solvers, affinity given{_busy(result)}"
    yield _table(title, heads, rows)
    for size in sizes:
        centred = size.get("centred_quality", {})
        heads = ("matcher", "ms a pair", "k/k_opt %", "lowest", "proven")
        rows = [
            (
                row["matcher"],
                _ms(row["seconds"]),
                _percent(row["quality"]),
                _percent(row["lowest_quality"]),
                _percent(row["proven"]),
                *([_percent(centred[row["matcher"]])] if centred else []),
            )
            for row in size["matchers"]
        ]
        shape = (
            f"S={size['tokens']}, C={size['channels']}, {size['pairs']} pairs, "
            f"{size['network']}"
        )
        heads += ("centred",) if centred else ()
        yield _table(f"Matchers, from tokens, {shape}", heads, rows)


def _is_trained(size: dict[str, Any]) -> bool:
    return not size["network"].endswith("random weights")


def _depth(result: dict[str, Any]) -> Iterator[Table]:
    layers = result["layers"]
    names = dict.fromkeys(name for layer in layers for name in layer["matchers"])
    rows = [
        (
            f"{layer['network']}, stage {layer['stage']}, S={layer['tokens']}",
            # Where a window takes in all tokens, the matching is the optimum.
            *(_percent(layer["matchers"].get(n, {"mean": 1.0})["mean"]) for n in names),
        )
        for layer in layers
    ]
    title = f"k/k_opt %, means of {layers[0]['pairs']} pairs"
    # Narrow, or the columns would not fit.
    heads = [
        name.replace("Batch-Optimal", "window").replace("TopK-Greedy", "top")
        for name in names
    ]
    yield _table(title, ("layer", *heads), rows)


def _adversarial(result: dict[str, Any]) -> Iterator[Table]:
    rows = [
        (
            case["family"],
            str(case["tokens"]),
            _ms(case["scipy_seconds"]),
            _ms(case["seconds"]),
            f"{case['ratio']:.2f}",
            "yes" if case["optimal"] else "NO",
        )
        for case in result["cases"]
    ]
    heads = ("affinity", "S", "SciPy ms", "ours ms", "ratio", "optimal")
    yield _table(f"Adversarial affinities{_busy(result)}", heads, rows)


def _threads(result: dict[str, Any]) -> Iterator[Table]:
    rows = [
        (
            str(size["tokens"]),
            *(f"{rate:.0f}" for rate in size["pairs_per_second"].values()),
            f"{size['speedup']:.2f}",
        )
        for size in result["sizes"]
    ]
    title = f"Pairs a second by threads, {result['cores']} cores"
    yield _table(title, ("S", "1 thread", "2 threads", "ratio"), rows)


def _rsm(result: dict[str, Any]) -> Iterator[Table]:
    rows = [
        (
            f"N={size['samples']}, S={size['tokens']}, C={size['channels']}",
            *(f"{size['seconds'][name]:.3g}" for name in ("loop", "ours", "products")),
            f"{size['ratio']:.3f}",
            f"{size['ratio_to_products']:.2f}",
        )
        for size in result["sizes"]
    ]
    heads = ("RSM", "loop s", "ours s", "products s", "ours / loop", "/ products")
    yield _table(f"Whole exact RSM, {result['cores']} cores", heads, rows)


def _scaling(result: dict[str, Any]) -> Iterator[Table]:
    rows = [(name, _ms(seconds)) for name, seconds in result["seconds"].items()]
    matcher = f"BatchOptimal({result['window']}, sweeps={result['sweeps']})"
    title = f"{matcher}: exponent {result['exponent']:.3f}{_busy(result)}"
    yield _table(title, ("S", "ms a pair"), rows)
    kinds = ("quality", "centred_quality")
    rows = [
        (sweeps, *(_percent(result[kind][sweeps]) for kind in kinds))
        for sweeps in result["quality"]
    ]
    title = f"k/k_opt %, S={result['quality_tokens']}"
    yield _table(title, ("sweeps", "features", "centred"), rows)


def _large(result: dict[str, Any]) -> Iterator[Table]:
    rows = [
        (
            f"{name}, S={result[name]['tokens']}",
            f"{result[name]['first_seconds']:.2f}",
            f"{result[name]['seconds']:.2f}",
            f"{result[name]['peak_bytes'] / 2**30:.2f}",
            f"{result[name]['peak_bytes_over_baseline'] / 2**30:.2f}",
            _percent(result[name].get("proven")),
        )
        for name in ("pair", "exact", "rsm")
    ]
    heads = ("", "first s", "again s", "peak GiB", "over start", "proven %")
    yield _table("Large", heads, rows)


_TABLES = {
    "table5": _table5,
    "depth": _depth,
    "adversarial": _adversarial,
    "threads": _threads,
    "rsm": _rsm,
    "scaling": _scaling,
    "large": _large,
}


def _table(title: str, heads: tuple[str, ...], rows: list[tuple[str, ...]]) -> Table:
    table = Table(title=title, title_justify="left", box=SIMPLE, show_edge=False)
    # Or a narrow table would break the title's lines.
    table.min_width = len(title)
    for number, head in enumerate(heads):
        table.add_column(head, justify="right" if number else "left", no_wrap=True)
    for row in rows:
        table.add_row(*row)
    return table


def _ms(seconds: float) -> str:
    return f"{seconds * 1e3:.3g}" if seconds < 1 else f"{seconds * 1e3:.0f}"


def _percent(share: float | None) -> str:
    return "" if share is None else f"{100 * share:.2f}"


def _busy(result: dict[str, Any]) -> str:
    return f" (busy {result['busy']:.2f})"
