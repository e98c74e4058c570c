"""Files of an RSM, with the statistics behind it and how it was made."""

import hashlib
import json
import os
from collections.abc import Mapping, Sequence
from importlib import metadata as packages
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from jax.typing import ArrayLike

from semrsm_jax._checks import real_array_on_host
from semrsm_jax._ids import checked_ids, checked_names
from semrsm_jax._version import __version__
from semrsm_jax.pairs import PairStatistics
from semrsm_jax.store.array_files import open_arrays, save_arrays
from semrsm_jax.store.output import TEMPORARY, check_output
from semrsm_jax.store.stored_array import ArrayFile, check_real

_METADATA, _DIGEST = "metadata", "sha256"
_NAMES = ("x_ids", "y_ids", "x_groups", "y_groups")


class RSMFile(NamedTuple):
    """What a file of an RSM holds.

    Attributes:
      rsm: (N, M), in the floating-point dtype it was computed in.
      statistics: the `PairStatistics` behind it, so that another kernel needs no new
        matching: ``RBF()(file.statistics)``. None where the file holds the RSM alone.
      metadata: how it was made; empty where the file does not state it.
      x_ids: names of the N samples; None where they have none.
      y_ids: names of the M samples; None where they have none.
      x_groups: the group of each of the N samples; None where there are none.
      y_groups: the group of each of the M samples; None where there are none.
    """

    rsm: np.ndarray
    statistics: PairStatistics | None
    metadata: dict[str, Any]
    x_ids: tuple[str, ...] | None = None
    y_ids: tuple[str, ...] | None = None
    x_groups: tuple[str, ...] | None = None
    y_groups: tuple[str, ...] | None = None


def save_rsm(
    path: str | os.PathLike,
    rsm: ArrayLike,
    statistics: PairStatistics | None = None,
    metadata: Mapping[str, Any] | None = None,
    *,
    x_ids: Sequence[str] | None = None,
    y_ids: Sequence[str] | None = None,
    x_groups: Sequence[str] | None = None,
    y_groups: Sequence[str] | None = None,
    overwrite: bool = False,
) -> None:
    """Writes an RSM, whole or not at all.

    Args:
      path: ends in ``.npz`` or ``.safetensors`` (with the statistics, each under its
        name, and as JSON the metadata, names and groups of the samples, the versions of
        semrsm_jax and jax, and the SHA-256 of all) or ``.npy`` (without the statistics;
        the JSON is a second array, of bytes, which `numpy.load` leaves out).
      rsm: (N, M).
      statistics: the `PairStatistics` behind it.
      metadata: how the RSM was made, as JSON can express it.
      x_ids: names of the N samples.
      y_ids: names of the M samples; of samples with themselves, `x_ids` again.
      x_groups: the group, such as the video, of each of the N samples.
      y_groups: the group of each of the M samples.
      overwrite: replace an existing file.

    Raises:
      TypeError: `rsm` is not real, or of bfloat16 for a NumPy file; `metadata` is not
        JSON; or names or groups are one string.
      ValueError: as `check_output`; `rsm` is not a matrix with a value, the statistics
        are of other shapes, there are not as many names or groups as rows or columns,
        or names are not unique.
      OSError: the disk is full, or the like; no file is left behind.
    """
    path = check_output(path, overwrite)
    matrix = np.asarray(real_array_on_host("rsm", rsm))
    arrays: dict[str, np.ndarray] = {"rsm": matrix}
    check_real("rsm", arrays["rsm"].dtype)
    shape = arrays["rsm"].shape
    if len(shape) != 2 or 0 in shape:
        raise ValueError(f"rsm must have shape (N, M), neither of them 0, got {shape}")
    for name, values in {} if statistics is None else statistics._asdict().items():
        if values is None:
            continue
        expected = {"x_sq_norm": shape[:1], "y_sq_norm": shape[1:]}.get(name, shape)
        if np.shape(values) != expected:
            raise ValueError(
                f"statistics must be those of rsm, {name} of shape {expected}, got "
                f"{np.shape(values)}"
            )
        if path.suffix.lower() != ".npy":
            arrays[name] = np.asarray(values)
    described = {
        **(metadata or {}),
        "versions": {name: package_version(name) for name in ("semrsm_jax", "jax")},
    }
    for name, names in zip(_NAMES, (x_ids, y_ids, x_groups, y_groups), strict=True):
        if names is not None:
            described[name] = _checked_names(name, names, shape)
    text = json.dumps({**described, _DIGEST: _digest(arrays, described)})
    save_arrays(path, arrays, {_METADATA: text}, overwrite)


def load_rsm(path: str | os.PathLike) -> RSMFile:
    """Reads an RSM that `save_rsm` wrote, or any .npy file of a matrix.

    Args:
      path: the file.

    Returns:
      The `RSMFile`.

    Raises:
      TypeError: the RSM is not real.
      ValueError: as `load_features`; the file holds no RSM (N, M), or differs from the
        SHA-256 in it.
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
            arrays[key or "rsm"] = np.asarray(file.arrays[key].read())
    metadata = file_metadata(path, file)
    digest = metadata.pop(_DIGEST, None)
    # Only a matrix that others wrote, without metadata, has none.
    stated = digest is not None or bool(metadata or file.metadata)
    if stated and digest != _digest(arrays, metadata):
        raise ValueError(f"{path} is damaged: it differs from its SHA-256")
    rsm = arrays.pop("rsm")
    if rsm.ndim != 2 or rsm.size == 0:
        raise ValueError(f"{path} must hold an RSM (N, M), got shape {rsm.shape}")
    complete = set(PairStatistics._fields) - {"column_error"} <= set(arrays)
    names: list[tuple[str, ...] | None] = [None, None, None, None]
    if digest is not None:
        for place, key in enumerate(_NAMES):
            if key in metadata:
                names[place] = _checked_names(key, metadata.pop(key), rsm.shape)
    statistics = PairStatistics(**arrays) if complete else None
    return RSMFile(rsm, statistics, metadata, *names)


def _checked_names(
    name: str, names: Any, shape: tuple[int, ...]
) -> tuple[str, ...] | None:
    check = checked_ids if name.endswith("ids") else checked_names
    return check(name, names, shape[0 if name.startswith("x") else 1])


def _digest(arrays: Mapping[str, np.ndarray], metadata: Mapping[str, Any]) -> str:
    """The SHA-256 of the arrays' names, dtypes, shapes and values, and the metadata."""
    digest = hashlib.sha256(json.dumps(metadata, sort_keys=True).encode())
    for name in sorted(arrays):
        array = np.ascontiguousarray(arrays[name])
        digest.update(f"{name} {array.dtype} {arrays[name].shape} ".encode())
        digest.update(array.reshape(-1).view(np.uint8).data)
    return digest.hexdigest()


def file_metadata(path: str | os.PathLike, file: ArrayFile) -> dict[str, Any]:
    """The metadata, in JSON, of the arrays in an .npz or .safetensors file."""
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

    Locks, and what a killed process left half-written, are no part of a folder.

    Args:
      path: the file or folder.

    Returns:
      64 hexadecimal digits.
    """
    path = Path(path)
    if path.is_dir():
        digest = hashlib.sha256()
        for file in sorted(entry for entry in path.rglob("*") if entry.is_file()):
            if file.name.startswith((TEMPORARY, ".lock")):
                continue
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
