"""Runs of any size: tiles in, statistics out, on one machine or many."""

from semrsm_jax._resources import core_limit
from semrsm_jax._rows import InputChangedError
from semrsm_jax.engine._cluster import connected, local_cluster
from semrsm_jax.engine._inputs import Features, check_features, token_rows
from semrsm_jax.engine._plan import Plan, plan
from semrsm_jax.engine._run import run
from semrsm_jax.engine._samples import read_through
from semrsm_jax.engine._workers import is_computing
from semrsm_jax.engine.progress import Progress

__all__ = [
    "Features",
    "InputChangedError",
    "Plan",
    "Progress",
    "check_features",
    "connected",
    "core_limit",
    "is_computing",
    "local_cluster",
    "plan",
    "read_through",
    "run",
    "token_rows",
]
