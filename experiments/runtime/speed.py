"""Speed of the solver and of whole RSMs: threads, a plain loop as peer, growth in S."""

from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Float

from experiments.frame.timing import take_turns
from experiments.frame.worker import Report, usable_cores
from experiments.runtime.config import RSMSize, RuntimeConfig, ThreadsSize
from experiments.runtime.features import Features, pairs, products
from experiments.runtime.peers import ortools
from semrsm_jax import BatchOptimal, Exact, center, match, rsm
from semrsm_jax.engine import core_limit
from semrsm_jax.matching.assignment import solve


def threads(
    config: RuntimeConfig, features: Features, report: Report
) -> dict[str, Any]:
    """Pairs a second of the solver alone, with one thread and with two."""
    sizes = [_threads(config, size, features, report) for size in config.threads]
    return {"cores": usable_cores(), "sizes": sizes}


def _threads(
    config: RuntimeConfig, size: ThreadsSize, features: Features, report: Report
) -> dict[str, Any]:
    x, y = pairs(features[size.layer], size.pairs, config.seed)
    affinity: Any = np.asarray(products(jnp.asarray(x), jnp.asarray(y)))

    def solved(threads: int, number: int) -> Any:
        with core_limit(threads):
            return solve(affinity, None, None, tolerance=1e-6, solver="auction")[0]

    calls = {str(threads): partial(solved, threads) for threads in (1, 2)}
    description = f"threads S={x.shape[1]}"
    turns = take_turns(calls, size.rounds, report, description, warm=True)
    rates = {name: size.pairs / turns.median(name) for name in calls}
    return {
        "tokens": x.shape[1],
        "pairs": size.pairs,
        "pairs_per_second": rates,
        "speedup": rates["2"] / rates["1"],
    }


def whole_rsm(
    config: RuntimeConfig, features: Features, report: Report
) -> dict[str, Any]:
    """`rsm` on all cores, the loop in one process, and the affinity products alone."""
    sizes = [_whole_rsm(s, features[s.layer][: s.samples], report) for s in config.rsm]
    return {"cores": usable_cores(), "sizes": sizes}


def _whole_rsm(
    size: RSMSize, features: Float[np.ndarray, "N S C"], report: Report
) -> dict[str, Any]:
    x = jnp.asarray(features)
    calls = {
        "loop": lambda number: loop(features),
        "ours": lambda number: rsm(x),
        "products": lambda number: all_products(features),
    }
    jax.block_until_ready(rsm(x))
    all_products(features)
    samples, tokens, channels = x.shape
    turns = take_turns(calls, size.rounds, report, f"rsm N={samples}, S={tokens}")
    ours, expected = (np.asarray(turns.results[name]) for name in ("ours", "loop"))
    seconds = turns.medians()
    return {
        "samples": samples,
        "tokens": tokens,
        "channels": channels,
        "seconds": seconds,
        "ratio": seconds["ours"] / seconds["loop"],
        "ratio_to_products": seconds["ours"] / seconds["products"],
        "goal": size.goal,
        "products_goal": size.products_goal,
        "disagreement": float(np.max(np.abs(ours / expected - 1))),
    }


def loop(x: Float[np.ndarray, "N S C"]) -> Float[np.ndarray, "N N"]:
    """An RSM without this package: NumPy and OR-Tools, pair by pair."""
    similarity = np.zeros((len(x), len(x)))
    rows = np.arange(x.shape[1])
    for i in range(len(x)):
        for j in range(i, len(x)):
            affinity = x[i] @ x[j].T
            value = affinity[rows, ortools(affinity)].sum(dtype=float)
            similarity[i, j] = similarity[j, i] = value
    return similarity


def all_products(x: Float[np.ndarray, "N S C"]) -> None:
    """The affinities of all pairs that `rsm` matches, and nothing else: the floor.

    Each core has its own pairs, a BLAS of one thread, and one buffer for all of them.
    """
    from threadpoolctl import threadpool_limits  # of the extra experiments

    pairs = iter(list(zip(*np.triu_indices(len(x), 1), strict=True)))

    def work() -> None:
        affinity = np.empty((x.shape[1], x.shape[1]), x.dtype)
        # Taking the next item of a list's iterator is atomic.
        for i, j in pairs:
            np.dot(x[i], x[j].T, out=affinity)

    with threadpool_limits(1), ThreadPoolExecutor(usable_cores()) as pool:
        for future in [pool.submit(work) for _ in range(usable_cores())]:
            future.result()


def scaling(
    config: RuntimeConfig, features: Features, report: Report
) -> dict[str, Any]:
    """Refined Batch-Optimal: the exponent of its time in S, and its quality."""
    raw = features[config.quality]
    return {
        **_exponent(config, features, report),
        "quality_tokens": raw.shape[1],
        "quality": _quality(config, raw, report),
        "centered_quality": _quality(config, np.asarray(center(raw)), report),
    }


def _exponent(
    config: RuntimeConfig, features: Features, report: Report
) -> dict[str, Any]:
    matcher = BatchOptimal(config.refined_window, config.sweeps[0])
    calls: dict[str, Any] = {}
    for layer in config.scaling:
        x, y = (jnp.asarray(side[0]) for side in pairs(features[layer], 1, config.seed))
        calls[str(len(x))] = lambda number, x=x, y=y: match(x, y, matcher=matcher)
    turns = take_turns(calls, config.scaling_rounds, report, "scaling", warm=True)
    seconds = turns.medians()
    tokens = np.log([*map(float, seconds)])
    return {
        "window": config.refined_window,
        "sweeps": config.sweeps[0],
        "images": [layer.side for layer in config.scaling],
        "seconds": seconds,
        "exponent": float(np.polyfit(tokens, np.log([*seconds.values()]), 1)[0]),
    }


def _quality(
    config: RuntimeConfig, features: np.ndarray, report: Report
) -> Mapping[str, float]:
    """Shares of the optimum by the number of sweeps, of the sums over all pairs.

    Centered, the optimum of a single pair may lie near zero.
    """
    values = dict.fromkeys((0, *config.sweeps), 0.0)
    optimum = 0.0
    sides = zip(*pairs(features, config.quality_pairs, config.seed), strict=True)
    # One pair at a time: the affinities of all would be held together otherwise.
    for done, (x, y) in enumerate(sides):
        optimum += float(match(x, y, matcher=Exact()).value)
        for sweeps in values:
            matcher = BatchOptimal(config.refined_window, sweeps)
            values[sweeps] += float(match(x, y, matcher=matcher).value)
        report("scaling: quality", done + 1, config.quality_pairs)
    return {str(sweeps): value / optimum for sweeps, value in values.items()}
