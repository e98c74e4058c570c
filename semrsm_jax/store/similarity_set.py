"""Several RSMs on disk over the same samples."""

import os
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path

from semrsm_jax._ids import same_samples
from semrsm_jax._kernels import Kernel
from semrsm_jax.store.layers import open_runs
from semrsm_jax.store.similarity import Similarity, open_similarity


def open_similarities(
    paths: Sequence[str | os.PathLike],
    kernel: Kernel | None = None,
    *,
    square: bool = True,
) -> dict[str, Similarity]:
    """Opens the RSMs of files and runs, in the order of the first one that has ids.

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

    Warns:
      UserWarning: one has no ids where another has: its rows are taken as they come.
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
    _check_shapes(similarities, square)
    return _aligned(similarities)


def _check_shapes(similarities: Mapping[str, Similarity], square: bool) -> None:
    """Rejects shapes that differ from that of the first RSM."""
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


def _aligned(similarities: dict[str, Similarity]) -> dict[str, Similarity]:
    """Each with rows and columns in the order of the first one that has ids."""
    rows = same_samples(similarities)
    named = (s for s in similarities.values() if s.x_ids or s.y_ids)
    first = next(named, None)
    if first is None:
        return similarities
    return {
        name: replace(
            each,
            read=rows[name].read,
            x_ids=each.x_ids and (first.x_ids or each.x_ids),
            y_ids=each.y_ids and (first.y_ids or each.y_ids),
            x_groups=getattr(rows[name], "x_groups", None),
        )
        for name, each in similarities.items()
    }
