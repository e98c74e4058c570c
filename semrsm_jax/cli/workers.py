"""The options --workers and --cluster."""

from contextlib import AbstractContextManager, nullcontext
from typing import Any


def dask_client(
    workers: int | None, cluster: str | None
) -> AbstractContextManager[Any]:
    """A Dask client for `--workers` or `--cluster`; None where neither is given.

    Raises:
      ValueError: both are given, or `workers` is below 1.
    """
    from semrsm_jax.engine import connected, local_cluster

    if workers is not None and cluster is not None:
        raise ValueError("--workers and --cluster exclude each other")
    if workers is not None:
        if workers < 1:
            raise ValueError(f"--workers must be at least 1, got {workers}")
        return local_cluster(workers)
    return nullcontext() if cluster is None else connected(cluster)
