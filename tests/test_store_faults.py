"""Damage, full disks, odd folders and inputs that change."""

import os
import shutil
import tempfile
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import pytest
from feature_stores import DESCRIBED, LAYERS, fill
from stored_runs import contents, features, full_disk, small_run

from semrsm_jax.engine import InputChangedError
from semrsm_jax.store import FeatureStore, RunStore, layers, open_run, open_similarity
from semrsm_jax.store._chunks import ChunkStore
from semrsm_jax.store._locks import Lock
from semrsm_jax.store.layers import layer_folders
from semrsm_jax.store.tiles import Tile

# Damage


def damaged(path: Path) -> Iterator[str]:
    """Truncates a file, zeroes it, flips a bit and removes it, each of the whole."""
    whole = path.read_bytes()
    flipped = bytearray(whole)
    flipped[len(whole) // 3] ^= 1
    for harm, content in {
        "truncated": whole[:-1],
        "zeroed": bytes(len(whole)),
        "flipped": flipped,
    }.items():
        path.write_bytes(content)
        yield harm
    path.unlink()
    yield "removed"


@pytest.mark.parametrize(
    "chunk", ["inner/c.0.1", "sq_dist/c.1.0", "upper_bound/c.2.2", "crc32c/c.1.2.0"]
)
def test_damaged_tiles_are_named_and_computed_again(tmp_path, chunk):
    folder = tmp_path / "neu hier" / "größe 日本.zarr"
    store = small_run(folder)
    before = contents(folder)
    tile = Tile(*map(int, chunk.split("/c.")[1].split(".")[:2]))
    named = rf"tile {tile.row}.{tile.column} is "
    for harm in damaged(folder / chunk):
        assert len(store.missing(verify=True)) == 1, harm
        with pytest.raises(ValueError, match=named):
            store.read(tile)
        with pytest.raises(ValueError, match=f"{named}|not fin"):
            open_similarity(folder)[:]
        seen = []
        small_run(folder, progress=seen.append)
        # The other tiles were there.
        assert seen[-1].resumed > 0.4 * seen[-1].total
        assert contents(folder) == before, harm


@pytest.mark.parametrize("name", ["x_sq_norm", "y_sq_norm"])
def test_damaged_norms_are_named_and_mended(tmp_path, name):
    folder = tmp_path / "run.zarr"
    store = small_run(folder)
    before = contents(folder)
    for harm in damaged(folder / name / "c.0"):
        with pytest.raises(ValueError, match=f"{name} is damaged"):
            store.statistics(0, 3)
        small_run(folder)
        assert contents(folder) == before, harm


@pytest.mark.parametrize("name", ["zarr.json", "inner/zarr.json"])
def test_damaged_metadata_is_an_error(tmp_path, name):
    folder = tmp_path / "run.zarr"
    small_run(folder)
    for harm in damaged(folder / name):
        if harm != "flipped":  # which may be in what does not matter
            for read in (open_run, small_run):
                with pytest.raises(ValueError, match="run.zarr"):
                    read(folder)


# Several processes


def test_layers_that_two_processes_add_are_both_listed(tmp_path, monkeypatch):
    folder = tmp_path / "runs.zarr"
    layer_folders(folder, ["a"])
    read = layers.read_attributes

    def slowly(path):
        attributes = read(path)
        time.sleep(0.1)
        return attributes

    monkeypatch.setattr(layers, "read_attributes", slowly)
    with ThreadPoolExecutor() as pool:
        list(pool.map(lambda name: layer_folders(folder, [name]), "bc"))
    assert sorted(read(folder)["layers"]) == ["a", "b", "c"]


def test_norms_are_not_swept_while_they_are_written(tmp_path, monkeypatch):
    write, alone = ChunkStore.write_constant, []

    def watched(store, name, values):
        with Lock(store.path / "crc32c" / ".lock") as lock:
            alone.append(lock.alone())
        write(store, name, values)

    monkeypatch.setattr(ChunkStore, "write_constant", watched)
    small_run(tmp_path / "run.zarr")
    assert alone == [False, False]


# Folders and disks


def test_a_full_disk_keeps_what_is_done(tmp_path):
    folder, x = tmp_path / "run.zarr", features(shape=(40, 6, 4))
    store = small_run(folder, x, tile=32)
    whole = contents(folder)
    store.forget(Tile(0, 1))
    # A chunk of 32 x 32 takes 4096 bytes.
    with full_disk(4000), pytest.raises(OSError, match="File too large"):
        small_run(folder, x, tile=32)
    assert store.missing(verify=True) == [Tile(0, 1)]
    assert not list(folder.rglob(".semrsm-*"))
    small_run(folder, x, tile=32)
    assert contents(folder) == whole


@contextmanager
def no_right_to_write(folder: Path):
    """Makes a folder read-only, for root too, who becomes nobody."""
    folder.chmod(0o555)
    root = os.geteuid() == 0
    if root:
        os.seteuid(65534)
    try:
        yield
    finally:
        if root:
            os.seteuid(0)
        folder.chmod(0o755)


def test_a_read_only_folder_is_an_error_before_any_work():
    # Not in pytest's own folder, which nobody else may even look into.
    parent = Path(tempfile.mkdtemp())
    parent.chmod(0o755)
    seen = []
    try:
        with (
            no_right_to_write(parent),
            pytest.raises(ValueError, match="cannot be written: Permission denied"),
        ):
            small_run(parent / "run.zarr", progress=seen.append)
        assert not seen
        assert list(parent.iterdir()) == []
    finally:
        shutil.rmtree(parent)


def create(path: Path) -> FeatureStore:
    return FeatureStore.create(path, **DESCRIBED)


@pytest.mark.parametrize(
    ("call", "inside"),
    [
        (small_run, "file is a file"),
        (create, "file is a file"),
        (RunStore.open, "does not exist, expected a folder"),
        (FeatureStore.open, "does not exist, expected a folder"),
    ],
)
def test_what_is_not_a_store_is_left_alone(tmp_path, call, inside):
    file, letter = tmp_path / "file", tmp_path / "letters" / "to mother.txt"
    letter.parent.mkdir()
    file.write_text("text")
    letter.write_text("Dear mother")
    for path, match in (
        (file, "is a file, expected a folder"),
        (file / "x.zarr", inside),
        (letter.parent, "is no zarr array or group"),
    ):
        with pytest.raises(ValueError, match=match):
            call(path)
    assert file.read_text() == "text"
    assert [*letter.parent.iterdir()] == [letter]


def test_an_empty_folder_becomes_a_run(tmp_path):
    assert small_run(tmp_path).missing() == []


# Inputs


def test_an_input_that_changes_during_a_run_is_found(tmp_path):
    path, folder = tmp_path / "x.npy", tmp_path / "run.zarr"
    x = features(shape=(40, 6, 4))
    np.save(path, x)
    small_run(tmp_path / "calm.zarr", x)
    status = path.stat()

    def change(progress):
        if progress.stage == "matching" and progress.done:
            # The same size and the same time, other values.
            with path.open("r+b") as stream:
                stream.seek(-4, os.SEEK_END)
                stream.write(np.float32(7).tobytes())
            os.utime(path, ns=(status.st_atime_ns, status.st_mtime_ns))

    mapped = np.load(path, mmap_mode="r")
    with pytest.raises(InputChangedError, match="x changed during .*: sample 39"):
        small_run(folder, mapped, progress=change)
    np.save(path, x)
    store = small_run(folder, np.load(path, mmap_mode="r"))
    assert store.missing(verify=True) == []
    for name in ("inner", "sq_dist"):
        expected = contents(tmp_path / "calm.zarr" / name)
        assert contents(folder / name) == expected


def test_an_input_that_is_truncated_during_a_run_is_found(tmp_path):
    path = tmp_path / "x.npy"
    np.save(path, features(shape=(40, 6, 4)))

    def change(progress):
        if progress.stage == "matching" and progress.done:
            os.truncate(path, 500)

    with pytest.raises(ValueError, match="was truncated while it was read"):
        small_run(tmp_path / "run.zarr", np.load(path, mmap_mode="r"), progress=change)


@pytest.mark.slow
@pytest.mark.parametrize("kind", ["run", "features"])
def test_every_flipped_bit_of_a_store_is_found(tmp_path, rng, kind, record_property):
    """`--verify` reads all that is there."""
    folder = tmp_path / "store.zarr"
    values = {k: rng.normal(size=(10, *v)).astype("f") for k, v in LAYERS.items()}
    if kind == "run":
        small_run(folder)
    else:
        fill(create(folder), values)

    def is_whole() -> bool:
        if kind == "features":
            return not FeatureStore.open(folder).missing(verify=True)
        store = RunStore.open(folder)
        return not store.missing(verify=True) and not store.damaged()

    assert is_whole()
    flips, unseen = 0, []
    for path in sorted(p for p in folder.rglob("*") if p.is_file()):
        content = path.read_bytes()
        for place in rng.choice(len(content), min(len(content), 30), replace=False):
            damaged = bytearray(content)
            damaged[place] ^= 1 << rng.integers(8)
            path.write_bytes(damaged)
            flips += 1
            try:
                if is_whole():
                    unseen.append((path.name, place))
            except (TypeError, ValueError):
                pass
        path.write_bytes(content)
    assert flips > 300 and not unseen
    record_property("count", f"{flips} bits flipped in a store of {kind}, none unseen")
