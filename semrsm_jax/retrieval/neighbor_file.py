"""Files of neighbors: what a search found, for which samples, and how."""

import json
import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from semrsm_jax._ids import checked_ids
from semrsm_jax.retrieval._nearest import Neighbors
from semrsm_jax.retrieval._search import SearchResult
from semrsm_jax.store import check_output, new_file
from semrsm_jax.store.array_files import open_arrays, save_arrays
from semrsm_jax.store.label_file import stored_names
from semrsm_jax.store.rsm_file import file_metadata
from semrsm_jax.store.stored_array import check_real

SUFFIXES = (".npz", ".json")
_ARRAYS = ("index", "similarity")


class NeighborFile(NamedTuple):
    """The neighbors that a file holds, for the scores of Section 4.2.

    Attributes:
      neighbors: the `Neighbors`, of Q queries.
      query_ids: names of the Q queries; None where they have none.
      database_ids: names of the M samples of the database; None where they have none.
      metadata: how they were found; empty where the file does not say.
    """

    neighbors: Neighbors
    query_ids: tuple[str, ...] | None
    database_ids: tuple[str, ...] | None
    metadata: dict[str, Any]


def save_neighbors(
    path: str | os.PathLike,
    neighbors: Neighbors | SearchResult,
    *,
    query_ids: Sequence[str] | None = None,
    database_ids: Sequence[str] | None = None,
    metadata: Mapping[str, Any] | None = None,
    overwrite: bool = False,
) -> None:
    """Writes the neighbors of queries, for the scores of Section 4.2.

    The file is written completely or not at all.

    Args:
      path: ends in ``.npz``: the arrays index and similarity (Q, k), the ids where
        there are any, and the metadata as JSON; or in ``.json``: the same as a list
        of queries, each sample by its id, or by its number without ids.
      neighbors: what `nearest` or `search` returned.
      query_ids: names of the Q queries; None: those of `neighbors`.
      database_ids: names of the M samples of the database; None: those of `neighbors`.
      metadata: how the neighbors were found, as JSON can express it.
      overwrite: replace an existing file.

    Raises:
      TypeError: `metadata` cannot be expressed in JSON, similarities of bfloat16 for
        an .npz, or ids that are one string.
      ValueError: as `check_output`, or ids that do not fit or are not unique.
      OSError: the disk is full, or the like; no file is left behind.
    """
    path = check_output(path, overwrite, suffixes=SUFFIXES)
    index, similarity = np.asarray(neighbors.index), np.asarray(neighbors.similarity)
    described = dict(metadata or {})
    query_ids, database_ids = (
        checked_ids(name, getattr(neighbors, name) if ids is None else ids, count)
        for name, ids, count in (
            ("query_ids", query_ids, len(index)),
            ("database_ids", database_ids, None),
        )
    )
    if path.suffix.lower() == ".npz":
        arrays = {"index": index, "similarity": similarity}
        for name, ids in (("query_ids", query_ids), ("database_ids", database_ids)):
            if ids is not None:
                arrays[name] = np.array(ids, str)
        save_arrays(path, arrays, {"metadata": json.dumps(described)}, overwrite)
        return
    listed = [
        {
            "query": query_ids[query] if query_ids else query,
            "neighbors": [
                {
                    "sample": database_ids[column] if database_ids else int(column),
                    "similarity": float(value),
                }
                for column, value in zip(columns, values, strict=True)
                if column >= 0
            ],
        }
        for query, (columns, values) in enumerate(zip(index, similarity, strict=True))
    ]
    text = json.dumps({**described, "neighbors": listed}, indent=2)
    with new_file(path, overwrite) as temporary:
        temporary.write_text(text, encoding="utf-8")


def holds_neighbors(path: str | os.PathLike) -> bool:
    """Whether a file holds neighbors, for the scores of Section 4.2.

    Args:
      path: of the file.

    Returns:
      True for an .npz with the arrays of `save_neighbors`, False for any other file.

    Raises:
      ValueError: an .npz is missing or damaged.
    """
    if Path(path).suffix.lower() != ".npz":
        return False
    return set(_ARRAYS) <= set(open_arrays(path).arrays)


def load_neighbors(path: str | os.PathLike) -> NeighborFile:
    """Reads neighbors that `save_neighbors` wrote as .npz, to score them (Section 4.2).

    Args:
      path: an .npz with the arrays index and similarity (Q, k).

    Returns:
      The `NeighborFile`.

    Raises:
      TypeError: the similarities are not real.
      ValueError: the file is missing or damaged, or its arrays are not as described.
    """
    path = Path(path)
    file = open_arrays(path)
    if not set(_ARRAYS) <= set(file.arrays):
        names = ", ".join(map(repr, file.arrays)) or "no array"
        raise ValueError(
            f"{path} must hold the arrays 'index' and 'similarity', as semrsm search "
            f"writes them, got {names}"
        )
    index, similarity = (file.arrays[name] for name in _ARRAYS)
    if len(index.shape) != 2 or getattr(index.dtype, "kind", "") not in "iu":
        raise ValueError(
            f"{path} must hold an index (Q, k) of integers, got shape {index.shape}, "
            f"{index.dtype}"
        )
    if similarity.shape != index.shape:
        raise ValueError(
            f"{path} must hold similarities of the shape of its index, {index.shape}, "
            f"got {similarity.shape}"
        )
    check_real(f"{path}, 'similarity',", similarity.dtype)
    query_ids = stored_names(path, file.arrays, "query_ids", index.shape[0])
    database_ids = stored_names(path, file.arrays, "database_ids", None)
    neighbors = Neighbors(np.asarray(index.read()), np.asarray(similarity.read()))
    return NeighborFile(
        neighbors.of(query_ids, database_ids),
        query_ids,
        database_ids,
        file_metadata(path, file),
    )
