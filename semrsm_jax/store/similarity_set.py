"""Several RSMs on disk over the same samples."""

import os
from collections.abc import Mapping, Sequence
from pathlib import Path

from semrsm_jax._kernels import Kernel
from semrsm_jax.store.layers import open_runs
from semrsm_jax.store.similarity import Similarity, open_similarity


def open_similarities(
    paths: Sequence[str | os.PathLike],
    kernel: Kernel | None = None,
    *,
    square: bool = True,
) -> dict[str, Similarity]:
    """Opens the RSMs of files and runs, which must be over the same samples.

    Args:
      paths: files that `save_rsm` wrote, and folders that `semrsm_jax.run` wrote, each
        layer of which is an RSM.
      kernel: as in `open_similarity`.
      square: reject RSMs between two sets of samples.

    Returns:
      By name, the `Similarity`: its path, and after a colon the layer where a run has
      several.

    Raises:
      ValueError: as `open_similarity`; no paths, an RSM given twice, one that is not
        square, or RSMs over different samples.
    """
    similarities: dict[str, Similarity] = {}
    for path in map(Path, paths):
        layers = list(open_runs(path)) if path.is_dir() else [None]
        for layer in layers:
            name = f"{path}:{layer}" if len(layers) > 1 else str(path)
            if name in similarities:
                raise ValueError(f"{name} was given twice")
            part = layer if len(layers) > 1 else None
            similarities[name] = open_similarity(path, kernel, layer=part)
    if not similarities:
        raise ValueError("paths must hold at least one RSM, got none")
    _check_same_samples(similarities, square)
    return similarities


def _check_same_samples(similarities: Mapping[str, Similarity], square: bool) -> None:
    """Rejects shapes or ids that differ from those of the first RSM."""
    for name, rsm in similarities.items():
        if square and rsm.shape[0] != rsm.shape[1]:
            raise ValueError(
                f"{name} must hold a square RSM, got shape {rsm.shape}: samples "
                "with themselves, not two sets of samples"
            )
    (first, rsm), *others = similarities.items()
    for name, other in others:
        if other.shape != rsm.shape:
            sizes = " and ".join(
                f"{s[0]}" if square else f"{s[0]} x {s[1]}"
                for s in (rsm.shape, other.shape)
            )
            raise ValueError(
                f"{first} and {name} must be over the same samples, got {sizes}"
            )
        for axis in ("x_ids", "y_ids"):
            ids, other_ids = getattr(rsm, axis), getattr(other, axis)
            if ids is not None and other_ids is not None and (*ids,) != (*other_ids,):
                raise ValueError(
                    f"{first} and {name} must be over the same samples in the same "
                    f"order; their ids differ ({axis})"
                )
