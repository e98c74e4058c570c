"""What matchers reach at every depth of a network, pair by pair: Fig. 5 and 6."""

from typing import Any

import jax.numpy as jnp
import numpy as np

from experiments.frame.worker import Report
from experiments.runtime.config import RuntimeConfig
from experiments.runtime.features import Features
from semrsm_jax import (
    BatchOptimal,
    Exact,
    Identity,
    Matcher,
    TopKGreedy,
    pair_statistics,
)

UNMATCHED = "no matching"


def run(config: RuntimeConfig, features: Features, report: Report) -> dict[str, Any]:
    """The share of the optimum that each matcher reaches, for all pairs of some images.

    `relative` is the matrix of these shares for the comparison position by position.
    """
    results = []
    for done, layer in enumerate(config.depth):
        report("depth: shares of the optimum", done, len(config.depth))
        x = jnp.asarray(features[layer][: config.depth_samples])
        best = np.asarray(pair_statistics(x, matcher=Exact()).inner, float)
        shares = {
            name: np.asarray(pair_statistics(x, matcher=matcher).inner, float) / best
            for name, matcher in _matchers(config, x.shape[1]).items()
        }
        pairs = np.triu_indices(len(x), 1)
        results.append(
            {
                "network": layer.network.title,
                "stage": layer.stage + 1,
                "tokens": x.shape[1],
                "channels": x.shape[2],
                "pairs": len(pairs[0]),
                "matchers": {
                    name: _spread(share[pairs]) for name, share in shares.items()
                },
                "relative": shares[UNMATCHED].tolist(),
            }
        )
    report("depth: shares of the optimum", len(config.depth), len(config.depth))
    return {"layers": results}


def _matchers(config: RuntimeConfig, tokens: int) -> dict[str, Matcher]:
    """Those of Fig. 5 that are not exact at this number of tokens."""
    matchers: dict[str, Matcher] = {UNMATCHED: Identity()}
    if config.top_k < tokens:
        matchers[f"TopK-Greedy {config.top_k}"] = TopKGreedy(config.top_k)
    for window in config.windows:
        if window < tokens:
            matchers[f"Batch-Optimal {window}"] = BatchOptimal(window)
    return matchers


def _spread(shares: np.ndarray) -> dict[str, float]:
    """The mean over pairs, and the middle 90 % of them."""
    low, high = np.quantile(shares, (0.05, 0.95))
    return {"mean": float(shares.mean()), "low": float(low), "high": float(high)}
