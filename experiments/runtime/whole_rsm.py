"""A whole exact RSM, features in and K out, against a plain loop over its pairs."""

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

from experiments._common.timing import take_turns
from experiments._common.worker import Report, usable_cores
from experiments.runtime.config import Layer, RSMSize, RuntimeConfig
from experiments.runtime.features import Features
from experiments.runtime.peers import ortools
from semrsm_jax import rsm
from semrsm_jax._affinity import token_products

_CHUNK_ENTRIES = 2**24  # affinity entries held at a time, 64 MiB


def layers(config: RuntimeConfig) -> tuple[Layer, ...]:
    """The features that `run` needs."""
    return tuple(size.layer for size in config.rsm)


def run(config: RuntimeConfig, features: Features, report: Report) -> dict[str, Any]:
    """`rsm` on all cores, the loop in one process, and the affinity products alone."""
    sizes = [_size(s, features[s.layer][: s.samples], report) for s in config.rsm]
    return {"cores": usable_cores(), "sizes": sizes}


def _size(
    size: RSMSize, features: Float[np.ndarray, "N S C"], report: Report
) -> dict[str, Any]:
    x = jnp.asarray(features)
    calls = {
        "loop": lambda number: loop(features),
        "ours": lambda number: rsm(x),
        "products": lambda number: products(x),
    }
    jax.block_until_ready((rsm(x), products(x)))
    samples, tokens, channels = x.shape
    turns = take_turns(calls, size.rounds, report, f"rsm N={samples}, S={tokens}")
    ours, expected = (np.asarray(turns.results[name]) for name in ("ours", "loop"))
    seconds = {name: turns.median(name) for name in calls}
    return {
        "samples": samples,
        "tokens": tokens,
        "channels": channels,
        "seconds": seconds,
        "ratio": seconds["ours"] / seconds["loop"],
        "ratio_to_products": seconds["ours"] / seconds["products"],
        "goal": size.goal,
        "disagreement": float(np.max(np.abs(ours / expected - 1))),
    }


def loop(x: Float[np.ndarray, "N S C"]) -> Float[np.ndarray, "N N"]:
    """What one would write without this package: NumPy and OR-Tools, pair by pair."""
    similarity = np.zeros((len(x), len(x)))
    rows = np.arange(x.shape[1])
    for i in range(len(x)):
        for j in range(i, len(x)):
            affinity = x[i] @ x[j].T
            value = affinity[rows, ortools(affinity)].sum(dtype=float)
            similarity[i, j] = similarity[j, i] = value
    return similarity


def products(x: Float[Array, "N S C"]) -> Float[Array, "S S"]:
    """The affinities of all pairs that `rsm` matches, chunk by chunk: the floor."""
    left, right = np.triu_indices(len(x), 1)
    size = max(1, _CHUNK_ENTRIES // x.shape[1] ** 2)
    last = token_products(x[0], x[0])
    for start in range(0, len(left), size):
        chunk = slice(start, start + size)
        # Waited for, as a matching would, or all of them would be in flight at once.
        last = jax.block_until_ready(token_products(x[left[chunk]], x[right[chunk]]))
    return last[-1]
