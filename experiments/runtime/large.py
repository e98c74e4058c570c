"""Pairs whose affinity hardly fits into memory, or not: time, memory and proof.

Each of the three runs in a new process, whose peak of memory is its own. Compilation is
timed apart: the second call is the cost of a further pair.
"""

from typing import Any

import jax.numpy as jnp

from experiments.frame.timing import measured
from experiments.frame.worker import Report
from experiments.runtime.config import RuntimeConfig
from experiments.runtime.features import Features
from semrsm_jax import BatchOptimal, DualBound, Exact, match, rsm


def pair(config: RuntimeConfig, features: Features, report: Report) -> dict[str, Any]:
    """Matches one pair by refined windows, and proves how good that is."""
    x, y = map(jnp.asarray, features[config.large][:2])
    matcher = BatchOptimal(config.refined_window, config.large_sweeps)
    bound = DualBound(stride=config.stride)

    def call() -> Any:
        return match(x, y, matcher=matcher, bound=bound)

    result, taken = measured(call, 2, report, f"large: a pair of S={len(x)}")
    return {
        "pair": {
            "tokens": len(x),
            "channels": x.shape[1],
            "sweeps": config.large_sweeps,
            "proven": float(result.value / result.upper_bound),
            **taken,
        }
    }


def exact(config: RuntimeConfig, features: Features, report: Report) -> dict[str, Any]:
    """Matches the largest pair that is matched exactly."""
    x, y = map(jnp.asarray, features[config.large_exact][:2])
    match(x[:64], y[:64], matcher=Exact())  # loads the compiled solver

    result, taken = measured(
        lambda: match(x, y, matcher=Exact()), 1, report, f"large: S={len(x)} exactly"
    )
    proven = float(result.value / result.upper_bound)
    return {"exact": {"tokens": len(x), "proven": proven, **taken}}


def whole_rsm(
    config: RuntimeConfig, features: Features, report: Report
) -> dict[str, Any]:
    """An RSM of a few samples, by windows alone."""
    x = jnp.asarray(features[config.large][: config.large_samples])
    matcher = BatchOptimal(config.refined_window)

    description = f"large: RSM of {len(x)}, S={x.shape[1]}"
    _, taken = measured(lambda: rsm(x, matcher=matcher), 2, report, description)
    return {"rsm": {"samples": len(x), "tokens": x.shape[1], **taken}}
