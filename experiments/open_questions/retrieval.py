"""Retrieval of one set of images by another, by both kinds of RSM on the same tokens.

Both come from the same features, kernel and database, so that what differs is the
matching alone.
"""

from collections.abc import Mapping
from typing import Any

import numpy as np
from jaxtyping import Float, Int

from experiments.frame.finding import Number
from experiments.frame.session import Session
from semrsm_jax import Kernel
from semrsm_jax.comparison.inference import paired_test
from semrsm_jax.matching import Exact, Identity, Matcher
from semrsm_jax.retrieval import nearest, scores_at_k
from semrsm_jax.store import open_similarity

SEMANTIC, SPATIAL = "semantic", "spatio-semantic"
# What an RSM is called -> the matching behind it.
RSMS: Mapping[str, Matcher] = {SPATIAL: Identity(), SEMANTIC: Exact()}


def both(
    session: Session, name: str, kernel: Kernel, x: Any, y: Any = None
) -> dict[str, Float[np.ndarray, "N M"]]:
    """Both RSMs of tokens (N, S, C) with tokens (M, T, C), or with themselves."""
    stores = {kind: session.run(f"{name}/{kind}", x, y, m) for kind, m in RSMS.items()}
    return {kind: open_similarity(s.path, kernel)[:] for kind, s in stores.items()}


def f1_at_1(
    K: Float[np.ndarray, "N M"],
    query_counts: Int[np.ndarray, "N K"],
    database_counts: Int[np.ndarray, "M K"],
    exclude: Any = None,
) -> Float[np.ndarray, " N"]:
    """F1 of each query's nearest neighbor, Eq. 12."""
    index = nearest(K, 1, exclude).index
    return np.asarray(scores_at_k(index, query_counts, database_counts).mean[:, 0])


def gain(
    scores: Mapping[str, Float[np.ndarray, " N"]],
    seed: int = 0,
    than: Mapping[str, Float[np.ndarray, " N"]] | None = None,
) -> Number:
    """Mean semantic less spatio-semantic score, paired, with its 95 % interval.

    Args:
      scores: of each kind of RSM, one for each scene; scenes are what is resampled.
      seed: of the bootstrap.
      than: scores of the same scenes under another condition, whose gain is subtracted.
    """
    ours, theirs = (np.asarray(scores[k], np.float32) for k in (SEMANTIC, SPATIAL))
    if than is not None:
        # (a - b) - (c - d), in the two arguments of a paired test.
        ours, theirs = ours + than[SPATIAL], theirs + than[SEMANTIC]
    results = paired_test(ours, theirs, key=seed)
    return Number(*map(float, (results.difference, results.low, results.high)))


def score_columns(
    scores: Mapping[str, Float[np.ndarray, " N"]], seed: int, name: str = ""
) -> dict[str, float]:
    """The mean scores of both RSMs and the gain, in columns named after the score."""
    means = {k: float(scores[k].mean()) for k in (SEMANTIC, SPATIAL)}
    named = {f"{name}, {k}" if name else k: mean for k, mean in means.items()}
    return {**named, **gain(scores, seed).columns("gain")}
