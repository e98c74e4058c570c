"""Runs of several layers: a group with a run for each."""

import os
from collections.abc import Iterable
from pathlib import Path
from urllib.parse import quote

from semrsm_jax.store._zarr_metadata import read_attributes
from semrsm_jax.store.output import check_folder, new_folder
from semrsm_jax.store.run_store import RunStore

_KIND = "semrsm_jax runs of several layers, version 1"


def layer_folders(path: str | os.PathLike, layers: Iterable[str]) -> dict[str, Path]:
    """Makes the group of several runs, or takes the one that is there.

    Returns:
      The folder of each layer's run, to be created.

    Raises:
      ValueError: there is something else.
      OSError: the folder cannot be written.
    """
    import zarr

    path = check_folder(path)
    if not path.exists() or not any(path.iterdir()):
        with new_folder(path) as temporary:
            zarr.create_group(temporary, zarr_format=3, attributes={"kind": _KIND})
    if read_attributes(path).get("kind") != _KIND:
        raise ValueError(f"{path} holds something else than runs of several layers")
    return {name: path / _folder_name(name) for name in layers}


def _folder_name(layer: str) -> str:
    """A name that folders may have, whatever the layer's is."""
    if not layer:
        raise ValueError("layers must have names, got an empty one")
    name = quote(layer, safe="")
    # Zarr, as shells do, keeps names that begin like this to itself.
    return f"%{ord(name[0]):02X}{name[1:]}" if name[0] in "._" else name


def open_runs(path: str | os.PathLike) -> dict[str | None, RunStore]:
    """Opens the runs in a folder, finished or not, by layer; one run without has None.

    Args:
      path: the folder.

    Returns:
      The stores, at least one.

    Raises:
      ValueError: there is none, or its metadata is damaged.
    """
    path = Path(os.path.realpath(path))
    if not path.is_dir():
        what = "is a file" if path.exists() else "does not exist"
        raise ValueError(f"{path} {what}, expected the folder of a run")
    if read_attributes(path).get("kind") != _KIND:
        store = RunStore.open(path)
        return {store.manifest.layer: store}
    folders = sorted(found.parent for found in path.glob("*/zarr.json"))
    stores = map(RunStore.open, folders)
    return {store.manifest.layer: store for store in stores}


def open_run(path: str | os.PathLike, layer: str | None = None) -> RunStore:
    """Opens one run, finished or not.

    Args:
      path: the folder.
      layer: which one, where there are several.

    Returns:
      The `RunStore`.

    Raises:
      ValueError: as `open_runs`, or `layer` names none, or is needed.
    """
    runs = open_runs(path)
    if layer is None and len(runs) == 1:
        (store,) = runs.values()
        return store
    if layer not in runs:
        names = ", ".join(map(repr, runs))
        raise ValueError(f"layer must be one of {names} in {path}, got {layer!r}")
    return runs[layer]
