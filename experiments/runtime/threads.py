"""What a second thread brings the exact solver, on a batch of pairs."""

from typing import Any

import jax.numpy as jnp
import numpy as np

from experiments._common.timing import take_turns
from experiments._common.worker import Report, usable_cores
from experiments.runtime.config import Layer, RuntimeConfig, ThreadsSize
from experiments.runtime.features import Features, pairs
from semrsm_jax._affinity import token_products
from semrsm_jax.matching import _auction


def layers(config: RuntimeConfig) -> tuple[Layer, ...]:
    """The features that `run` needs."""
    return tuple(size.layer for size in config.threads)


def run(config: RuntimeConfig, features: Features, report: Report) -> dict[str, Any]:
    """Pairs a second of the solver alone, with one thread and with two."""
    sizes = [_size(config, size, features, report) for size in config.threads]
    return {"cores": usable_cores(), "sizes": sizes}


def _size(
    config: RuntimeConfig, size: ThreadsSize, features: Features, report: Report
) -> dict[str, Any]:
    x, y = pairs(features[size.layer], size.pairs, config.seed)
    affinity = np.asarray(token_products(jnp.asarray(x), jnp.asarray(y)))
    calls = {
        str(threads): lambda number, threads=threads: _auction.solve(
            affinity, threads=threads
        )
        for threads in (1, 2)
    }
    for call in calls.values():
        call(0)
    description = f"threads S={x.shape[1]}"
    turns = take_turns(calls, size.rounds, report, description)
    rates = {name: size.pairs / turns.median(name) for name in calls}
    return {
        "tokens": x.shape[1],
        "pairs": size.pairs,
        "pairs_per_second": rates,
        "speedup": rates["2"] / rates["1"],
    }
