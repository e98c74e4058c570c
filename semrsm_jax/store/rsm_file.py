"""Files of an RSM, with the statistics behind it and how it was made."""

import hashlib
import json
import os
from collections.abc import Mapping
from importlib import metadata as packages
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from jax.typing import ArrayLike
from safetensors.numpy import save

from semrsm_jax._version import __version__
from semrsm_jax.pairs import PairStatistics
from semrsm_jax.store._array_files import open_arrays
from semrsm_jax.store._stored import ArrayFile, check_real
from semrsm_jax.store.output import check_output, new_file

_METADATA = "metadata"


class RSMFile(NamedTuple):
    """What a file of an RSM holds.

    Attributes:
      rsm: (N, M), in the floating-point dtype it was computed in.
      statistics: the `PairStatistics` behind it, so that another kernel needs no new
        matching: ``RBF()(file.statistics)``. None where the file holds the RSM alone.
      metadata: how it was made; empty where the file does not tell.
    """

    rsm: np.ndarray
    statistics: PairStatistics | None
    metadata: dict[str, Any]


def save_rsm(
    path: str | os.PathLike,
    rsm: ArrayLike,
    statistics: PairStatistics | None = None,
    metadata: Mapping[str, Any] | None = None,
    *,
    overwrite: bool = False,
) -> None:
    """Writes an RSM, whole or not at all.

    Args:
      path: ends in ``.npy`` (the matrix alone), ``.npz`` or ``.safetensors`` (with
        the statistics, each under its name, and the metadata as JSON, to which the
        versions of semrsm_jax and jax are added).
      rsm: (N, M).
      statistics: the `PairStatistics` behind it.
      metadata: how the RSM was made, as JSON can express it.
      overwrite: replace an existing file.

    Raises:
      TypeError: `rsm` is not real, or `metadata` no JSON.
      ValueError: as `check_output`.
      OSError: the disk is full, or the like; no file is left behind.
    """
    path = check_output(path, overwrite)
    arrays = {"rsm": np.asarray(rsm)}
    check_real("rsm", arrays["rsm"].dtype)
    if statistics is not None:
        arrays |= {k: np.asarray(v) for k, v in statistics._asdict().items()}
    versions = {name: package_version(name) for name in ("semrsm_jax", "jax")}
    text = json.dumps({**(metadata or {}), "versions": versions})
    with new_file(path, overwrite) as temporary:
        if path.suffix.lower() == ".npy":
            np.save(temporary, arrays["rsm"], allow_pickle=False)
        elif path.suffix.lower() == ".npz":
            named: dict[str, Any] = {**arrays, _METADATA: np.asarray(text)}
            np.savez(temporary, **named)
        else:
            # The format keeps C order only, and does not look. In bytes, because its
            # own way of writing a file makes one that only its owner can read.
            contiguous = {k: np.ascontiguousarray(v) for k, v in arrays.items()}
            temporary.write_bytes(save(contiguous, metadata={_METADATA: text}))


def load_rsm(path: str | os.PathLike) -> RSMFile:
    """Reads an RSM that `save_rsm` wrote, or any .npy file of a matrix.

    Args:
      path: the file.

    Returns:
      The `RSMFile`.

    Raises:
      TypeError: the RSM is not real.
      ValueError: as `load_features`, or the file holds no RSM (N, M).
    """
    file = open_arrays(path)
    name = "rsm" if "" not in file.arrays else ""
    if name not in file.arrays:
        keys = ", ".join(map(repr, file.arrays)) or "no array"
        raise ValueError(
            f"{path} must hold an array 'rsm', as `semrsm rsm` writes it, got {keys}"
        )
    arrays = {}
    for key in (name, *PairStatistics._fields):
        if key in file.arrays:
            check_real(f"{path}, {key!r}", file.arrays[key].dtype)
            arrays[key] = file.arrays[key].read()
    rsm = arrays.pop(name)
    if rsm.ndim != 2 or rsm.size == 0:
        raise ValueError(f"{path} must hold an RSM (N, M), got shape {rsm.shape}")
    whole = set(PairStatistics._fields) <= set(arrays)
    statistics = PairStatistics(**arrays) if whole else None
    return RSMFile(rsm, statistics, file_metadata(path, file))


def file_metadata(path: str | os.PathLike, file: ArrayFile) -> dict[str, Any]:
    """What an .npz or .safetensors file says, as JSON, of the arrays in it.

    Raises:
      ValueError: that is damaged.
    """
    text = file.metadata.get(_METADATA)
    stored = file.arrays.get(_METADATA)
    if stored is not None and getattr(stored.dtype, "kind", None) == "U":
        text = str(stored.read())
    try:
        metadata = json.loads(text) if text else {}
    except ValueError as error:
        raise ValueError(f"{path} has damaged metadata: {error}") from error
    if not isinstance(metadata, dict):
        raise ValueError(f"{path} has damaged metadata: expected a JSON object")
    return metadata


def sha256(path: str | os.PathLike) -> str:
    """The SHA-256, in hexadecimal, of a file, or of all files below a folder.

    Args:
      path: the file or folder.

    Returns:
      64 hexadecimal digits.
    """
    path = Path(path)
    if path.is_dir():
        digest = hashlib.sha256()
        for file in sorted(found for found in path.rglob("*") if found.is_file()):
            digest.update(
                f"{file.relative_to(path).as_posix()} {sha256(file)} ".encode()
            )
        return digest.hexdigest()
    with path.open("rb") as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest()


def package_version(name: str) -> str:
    """The version of an installed package; "unknown" where it is not installed.

    Args:
      name: of the package, as pip knows it.

    Returns:
      The version, for example ``"1.26.4"``.
    """
    if name == "semrsm_jax":  # a checkout may be another version than the installed one
        return __version__
    try:
        return packages.version(name)
    except packages.PackageNotFoundError:
        return "unknown"
