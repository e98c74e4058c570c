"""Time and quality of matchers and solvers on one core: Table 5 and Fig. 5.

Solvers get affinities computed beforehand. Matchers get tokens, as in all of this
package: their time includes the affinities that they need.
"""

import math
from collections.abc import Callable
from typing import Any, NamedTuple

import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

from experiments.frame.timing import take_turns
from experiments.frame.worker import Report
from experiments.runtime.config import RuntimeConfig, TableSize
from experiments.runtime.features import Features, pairs, products
from experiments.runtime.peers import PEERS
from semrsm_jax import (
    BatchOptimal,
    CircularShift,
    DualBound,
    Exact,
    Greedy,
    Identity,
    Matcher,
    TopKGreedy,
    center,
    linear_assignment,
    match,
)
from semrsm_jax.matching.assignment import solve

BATCH, CALL, SINGLE = "ours, batch", "ours, public call", "ours, one matrix"
GROUPS = (
    "no matching",
    "greedy",
    "Batch-Optimal",
    "Batch-Optimal, refined",
    "exact, ours",
)
_AFFINITY, _BOUND = "affinity", "DualBound"


class Row(NamedTuple):
    """A matcher of the table, its group out of `GROUPS`, and its label in that."""

    name: str
    group: str
    label: str
    matcher: Matcher


def run(config: RuntimeConfig, features: Features, report: Report) -> dict[str, Any]:
    """Every solver and every matcher at every size; times in seconds a pair."""
    sizes = [_column(config, s, features[s.layer], report) for s in config.table]
    return {"sizes": sizes}


def _column(
    config: RuntimeConfig,
    size: TableSize,
    features: Float[np.ndarray, "N S C"],
    report: Report,
) -> dict[str, Any]:
    x, y = map(jnp.asarray, pairs(features, size.pairs, config.seed))
    column = {
        "network": size.layer.network.title,
        "tokens": x.shape[1],
        "channels": x.shape[2],
        "pairs": size.pairs,
        **_solvers(x, y, size, report),
        **_matchers(config, x, y, size, report),
    }
    if size.centered:
        x, y = pairs(np.asarray(center(features)), size.pairs, config.seed)
        column["centered_quality"] = _qualities(config, jnp.asarray(x), jnp.asarray(y))
    return column


def _solvers(
    x: Float[Array, "P S C"], y: Float[Array, "P S C"], size: TableSize, report: Report
) -> dict[str, Any]:
    affinity = products(x, y)
    matrices = np.asarray(affinity)

    def batch(number: int):
        # As a whole RSM calls it, on a chunk of its pairs.
        return solve(affinity, None, None, tolerance=1e-6, solver="auction")[0]

    def one(number: int):
        return linear_assignment(matrices[number % size.pairs]).permutation

    def call(number: int):
        return linear_assignment(matrices).permutation

    peers = {name: peer for name, peer in PEERS.items() if name not in size.without}
    calls = {
        name: lambda number, peer=peer: peer(matrices[number % size.pairs])
        for name, peer in peers.items()
    }
    for peer in peers.values():
        peer(matrices[0, :8, :8].copy())
    for ours in (batch, call, one):
        ours(0)
    turns = take_turns(
        calls | {BATCH: batch, CALL: call, SINGLE: one},
        size.rounds,
        report,
        f"table5 {size.layer.network.name}, S={x.shape[1]}: solvers",
    )
    seconds = turns.medians()
    seconds[BATCH] /= size.pairs
    seconds[CALL] /= size.pairs
    fastest = min(peers, key=seconds.__getitem__)
    last = matrices[(size.rounds - 1) % size.pairs]
    rows = np.arange(len(last))
    values = [
        float(last[rows, np.asarray(turns.results[name])].sum(dtype=float))
        for name in (*peers, SINGLE)
    ]
    return {
        "solver_seconds": seconds,
        "fastest_peer": fastest,
        "ratio": seconds[fastest] / seconds[BATCH],
        "ratio_call": seconds[fastest] / seconds[CALL],
        "ratio_one_matrix": seconds[fastest] / seconds[SINGLE],
        # Of the values that the solvers found for one matrix, relative.
        "disagreement": (max(values) - min(values)) / max(map(abs, values)),
    }


def _matchers(
    config: RuntimeConfig,
    x: Float[Array, "P S C"],
    y: Float[Array, "P S C"],
    size: TableSize,
    report: Report,
) -> dict[str, Any]:
    rows = _rows(config, x.shape[1])
    bound = DualBound(stride=config.stride)
    calls: dict[str, Callable[[int], Any]] = {
        row.name: lambda number, row=row: match(x, y, matcher=row.matcher)
        for row in rows
    }
    calls[_AFFINITY] = lambda number: products(x, y)
    calls[_BOUND] = lambda number: bound(x, y)
    description = f"table5 {size.layer.network.name}, S={x.shape[1]}: matchers"
    for done, call in enumerate(calls.values()):
        report(f"{description}, compiling", done + 1, len(calls))
        call(0)
    turns = take_turns(calls, size.matcher_rounds, report, description)
    results = turns.results
    optimum = np.asarray(results[rows[-1].name].value, float)
    matchers = []
    for row in rows:
        value = np.asarray(results[row.name].value, float)
        proven = np.minimum(results[row.name].upper_bound, results[_BOUND])
        matchers.append(
            {
                "matcher": row.name,
                "group": row.group,
                "label": row.label,
                "seconds": turns.median(row.name) / size.pairs,
                "quality": float(np.mean(value / optimum)),
                "lowest_quality": float(np.min(value / optimum)),
                # With the dual bound for those that prove less on their own.
                "proven": float(np.mean(value / np.maximum(proven, value))),
            }
        )
    return {
        "affinity_seconds": turns.median(_AFFINITY) / size.pairs,
        "dual_bound_seconds": turns.median(_BOUND) / size.pairs,
        "matchers": matchers,
    }


def _qualities(config: RuntimeConfig, x: Array, y: Array) -> dict[str, float]:
    """The share of the optimum that each matcher reaches; no times.

    Of the sums over all pairs: centered, the optimum of a pair may lie near zero.
    """
    rows = _rows(config, x.shape[1])
    values = {r.name: np.asarray(match(x, y, matcher=r.matcher).value) for r in rows}
    optimum = values[rows[-1].name]
    return {name: float(v.sum() / optimum.sum()) for name, v in values.items()}


def _rows(config: RuntimeConfig, tokens: int) -> list[Row]:
    """The matchers of a column, Exact last; wider windows than S are Exact too."""
    grid = math.isqrt(tokens), math.isqrt(tokens)  # images are square
    unmatched, greedy, windowed, refined, exact = GROUPS
    rows = [
        Row("Identity", unmatched, "Identity", Identity()),
        Row("CircularShift", unmatched, "shift", CircularShift(grid)),
        Row("Greedy", greedy, "Greedy", Greedy()),
    ]
    if (k := config.top_k) < tokens:
        rows.append(Row(f"TopKGreedy({k})", greedy, f"top {k}", TopKGreedy(k)))
    for window in config.windows:
        if window < tokens:
            name, matcher = f"BatchOptimal({window})", BatchOptimal(window)
            rows.append(Row(name, windowed, str(window), matcher))
    if (window := config.refined_window) < tokens:
        for sweeps in config.sweeps:
            name = f"BatchOptimal({window}, sweeps={sweeps})"
            label, matcher = f"{window}, {sweeps} sweeps", BatchOptimal(window, sweeps)
            rows.append(Row(name, refined, label, matcher))
    return [*rows, Row("Exact", exact, "Exact", Exact())]
