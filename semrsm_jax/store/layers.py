"""Runs of several layers: a group with a run for each."""

import json
import os
from collections.abc import Iterable
from pathlib import Path

from semrsm_jax.store._locks import Lock
from semrsm_jax.store._schema import read_attributes
from semrsm_jax.store.names import listed, safe_name
from semrsm_jax.store.output import check_folder, new_file, new_folder
from semrsm_jax.store.run_store import RunStore

_KIND = "semrsm_jax runs of several layers, version 2"


def layer_folders(path: str | os.PathLike, layers: Iterable[str]) -> dict[str, Path]:
    """Makes the group of several runs, or takes the one that is there.

    Its attributes list the layers, in the order of the network. The folders returned,
    one for each layer's run, are still to be created.
    """
    path, layers = check_folder(path), list(layers)
    if not path.exists() or not any(path.iterdir()):
        with new_folder(path) as temporary:
            _group(temporary / "zarr.json", layers)
    # Of the folder, as zarr warns of files that it does not know.
    with Lock(path) as lock:
        lock.wait()
        attributes = read_attributes(path)
        if attributes.get("kind") != _KIND:
            raise ValueError(f"{path} holds something else than runs of several layers")
        present = attributes.get("layers", [])
        added = [name for name in layers if name not in present]
        if added:
            _group(path / "zarr.json", present + added)
    return {name: path / safe_name(name) for name in layers}


def _group(path: Path, layers: list[str]) -> None:
    attributes = {"kind": _KIND, "layers": layers}
    metadata = {"attributes": attributes, "zarr_format": 3, "node_type": "group"}
    with new_file(path, overwrite=True) as temporary:
        temporary.write_text(json.dumps(metadata, indent=2))


def runs_begun(
    path: str | os.PathLike,
) -> tuple[dict[str | None, RunStore], list[str]]:
    """The runs in a folder by layer, as `open_runs`, and the layers that have none yet.

    Those come next in a run that reads its inputs, or was stopped before.
    """
    path = Path(os.path.realpath(path))
    attributes = read_attributes(path) if path.is_dir() else {}
    if attributes.get("kind") != _KIND:
        store = RunStore.open(path)
        return {store.manifest.layer: store}, []
    try:
        folders = {name: path / safe_name(name) for name in attributes["layers"]}
    except (KeyError, TypeError) as error:
        raise ValueError(f"{path} has damaged metadata: no list of layers") from error
    begun = {n: f for n, f in folders.items() if (f / "zarr.json").exists()}
    stores = {name: RunStore.open(folder) for name, folder in begun.items()}
    return {**stores}, [name for name in folders if name not in begun]


def open_runs(path: str | os.PathLike) -> dict[str | None, RunStore]:
    """Opens the runs in a folder, finished or not, by layer; the only one may be None.

    Args:
      path: the folder.

    Returns:
      The stores, at least one.

    Raises:
      ValueError: there is none, its metadata is damaged, or the run of a layer is not
        begun.
    """
    runs, missing = runs_begun(path)
    if missing:
        raise ValueError(
            f"{path} is not finished: the runs of the layers {listed(missing)} are not "
            "begun; the same run again computes them"
        )
    return runs


def open_run(path: str | os.PathLike, layer: str | None = None) -> RunStore:
    """Opens one run, finished or not.

    Args:
      path: the folder.
      layer: which one, where there are several.

    Returns:
      The `RunStore`.

    Raises:
      ValueError: as `open_runs`, or `layer` names none, or is needed. With `layer`, the
        runs of other layers need not be begun.
    """
    runs, missing = runs_begun(path)
    if layer in missing or (layer is None and (missing or len(runs) == 1)):
        (store,) = open_runs(path).values()
        return store
    if layer not in runs:
        raise ValueError(
            f"layer must be one of {listed(runs)} in {path}, got {layer!r}"
        )
    return runs[layer]
