"""Files that are written: whole or not at all, and RSMs with what made them."""

import json
import os
import stat
from contextlib import suppress
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from array_files import SUFFIXES, features, write
from safetensors.numpy import save as safetensors_bytes
from stored_runs import full_disk

from semrsm_jax import RBF, Identity, Linear, pair_statistics
from semrsm_jax.store import (
    check_output,
    load_rsm,
    new_file,
    open_similarity,
    save_rsm,
    sha256,
)

# Writing


def test_output_check_leaves_no_trace_and_folders_are_made_later(tmp_path):
    target = check_output(tmp_path / "new" / "deep" / "x.npz")
    assert not (tmp_path / "new").exists()
    with new_file(target) as temporary:
        temporary.write_text("whole")
    assert target.read_text() == "whole"
    assert os.listdir(target.parent) == ["x.npz"]


def test_output_check_refuses_what_cannot_be_written(tmp_path):
    taken = tmp_path / "taken.npz"
    taken.write_text("before")
    (tmp_path / "folder.npz").mkdir()
    os.mkfifo(tmp_path / "pipe.npy")
    check_output(taken, overwrite=True)
    for path, overwrite, inputs, message in (
        (taken, False, [], "exists; --overwrite replaces it"),
        (taken, True, [taken], "is an input, and would replace it"),
        (tmp_path / "x.txt", False, [], "must end in one of .*, got .txt"),
        (tmp_path / "x", False, [], "got no suffix"),
        (taken / "x.npz", False, [], "taken.npz is a file"),
        (tmp_path / "folder.npz", True, [], "is a folder, expected a file name"),
        (tmp_path / f"{'x' * 300}.npz", False, [], "cannot be written: File name too"),
        (tmp_path / "pipe.npy", True, [], "is not a regular file"),
    ):
        with pytest.raises(ValueError, match=message):
            check_output(path, overwrite, inputs=inputs)
    assert taken.read_text() == "before"


def test_output_check_refuses_a_folder_without_permission(tmp_path, monkeypatch):
    with pytest.raises(ValueError, match="cannot be written"):
        check_output("/proc/x.npz")

    # Root may write anywhere, so that permissions alone would not show it.
    def refuse(self, *args):
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr(Path, "mkdir", refuse)
    with pytest.raises(ValueError, match="cannot be written: Permission denied"):
        check_output(tmp_path / "x.npz")


@pytest.mark.parametrize("raised", [RuntimeError, KeyboardInterrupt, SystemExit])
def test_failed_write_leaves_nothing_new_and_the_old_file_whole(tmp_path, raised):
    path = tmp_path / "x.npz"
    for before in (None, "before"):
        if before:
            path.write_text(before)
        with pytest.raises(raised), new_file(path, overwrite=True) as temporary:
            temporary.write_text("half")
            raise raised
        assert os.listdir(tmp_path) == (["x.npz"] if before else [])
    assert path.read_text() == "before"


def test_file_that_appeared_meanwhile_is_not_replaced(tmp_path):
    path = tmp_path / "x.npz"
    with pytest.raises(ValueError, match="--overwrite"), new_file(path) as temporary:
        temporary.write_text("ours")
        path.write_text("theirs")
    assert path.read_text() == "theirs"
    assert os.listdir(tmp_path) == ["x.npz"]


def test_the_target_of_a_link_is_replaced_not_the_link(tmp_path):
    link, target = tmp_path / "link.npy", tmp_path / "target.npy"
    link.symlink_to(target)
    with new_file(check_output(link)) as temporary:
        temporary.write_text("whole")
    assert link.is_symlink()
    assert target.read_text() == "whole"


@pytest.mark.parametrize("suffix", SUFFIXES)
def test_full_disk_leaves_nothing(tmp_path, suffix):
    with full_disk(4096), pytest.raises(OSError):
        save_rsm(tmp_path / f"x{suffix}", np.ones((200, 200)))
    assert os.listdir(tmp_path) == []


# Files of an RSM


@pytest.fixture(scope="module")
def stats():
    return pair_statistics(features(), matcher=Identity())


@pytest.mark.parametrize("suffix", SUFFIXES)
def test_rsm_file_keeps_what_it_is_given_and_shows_damage(rng, tmp_path, stats, suffix):
    path, kernel = tmp_path / f"ü x{suffix}", RBF()
    metadata, matrix = {"matcher": {"name": "Identity"}, "ü": 1}, kernel(stats)
    names = {"x_ids": tuple("äbc"), "y_ids": tuple("def"), "x_groups": tuple("vvw")}
    save_rsm(path, matrix, stats, metadata, **names)
    file, similarity = load_rsm(path), open_similarity(path)
    assert {k: getattr(file, k) for k in names} == names and file.y_groups is None
    assert (similarity.x_ids, similarity.y_ids) == (file.x_ids, file.y_ids)
    assert set(file.metadata["versions"]) == {"semrsm_jax", "jax"}
    assert file.metadata == metadata | {"versions": file.metadata["versions"]}
    assert isinstance(file.rsm, np.ndarray)
    np.testing.assert_array_equal(file.rsm, matrix)
    np.testing.assert_array_equal(similarity[1:3], matrix[1:3])
    with pytest.raises(ValueError, match="is no run"):
        open_similarity(path, layer="conv1")
    assert stat.S_IMODE(path.stat().st_mode) & 0o400
    if suffix == ".npy":
        assert file.statistics is None
        np.testing.assert_array_equal(np.load(path), matrix)
        with pytest.raises(ValueError, match=r"without the statistics .* Linear\(\)"):
            open_similarity(path, Linear())
    else:
        for name, value in stats._asdict().items():
            np.testing.assert_array_equal(getattr(file.statistics, name), value)
        stored = jax.tree.map(jnp.asarray, file.statistics)
        np.testing.assert_array_equal(kernel(stored), matrix)
        linear = open_similarity(path, Linear())
        np.testing.assert_array_equal(linear[:], stats.inner)

    contents, unseen = path.read_bytes(), 0
    for _ in range(60):
        flipped = bytearray(contents)
        flipped[rng.integers(len(contents))] ^= 1 << rng.integers(8)
        path.write_bytes(flipped)
        with suppress(TypeError, ValueError):
            # A bit of the padding of a zip archive says nothing.
            unseen += str(load_rsm(path)) != str(file)
    assert unseen == 0
    path.write_bytes(contents)
    if suffix == ".npz":
        with np.load(path, allow_pickle=False) as arrays:
            changed = {**arrays, "rsm": arrays["rsm"] + np.float32(1)}
        held = {name for name, values in stats._asdict().items() if values is not None}
        assert set(changed) == {"rsm", *held, "metadata"}
        assert json.loads(str(changed["metadata"]))["ü"] == 1
        np.savez(path, **changed)
    else:
        flipped = bytearray(contents)
        flipped[contents.index(file.rsm.tobytes()) + 3] ^= 1
        path.write_bytes(flipped)
    with pytest.raises(ValueError, match="differs from its SHA-256"):
        load_rsm(path)


def test_files_of_all_formats_have_the_usual_permissions(tmp_path, stats):
    (tmp_path / "usual").touch()
    for suffix in SUFFIXES:
        save_rsm(tmp_path / f"x{suffix}", stats.inner, stats)
    assert len({path.stat().st_mode for path in tmp_path.iterdir()}) == 1


@pytest.mark.parametrize("suffix", SUFFIXES)
def test_rsm_of_another_order_of_bytes_or_axes_and_without_names(tmp_path, suffix):
    rsm = np.asfortranarray(features(">f8", (3, 4)))
    save_rsm(tmp_path / f"x{suffix}", rsm)
    file = load_rsm(tmp_path / f"x{suffix}")
    np.testing.assert_array_equal(file.rsm, rsm)
    assert file[3:] == (None,) * 4 and set(file.metadata) == {"versions"}
    assert open_similarity(tmp_path / f"x{suffix}").x_ids is None


def test_files_that_hold_no_rsm_are_refused(tmp_path):
    with pytest.raises(ValueError, match="must hold an array 'rsm'.*got 'x'"):
        load_rsm(write(tmp_path / "x.npz", features()))
    with pytest.raises(ValueError, match=r"RSM \(N, M\), got shape \(3, 4, 2\)"):
        load_rsm(write(tmp_path / "x.npy", features()))
    with pytest.raises(TypeError, match="complex"):
        load_rsm(write(tmp_path / "y.npy", np.ones((2, 2), complex)))
    for metadata in ("{half", "[1]"):
        np.savez(tmp_path / "z.npz", rsm=np.ones((2, 2)), metadata=metadata)
        with pytest.raises(ValueError, match="damaged metadata"):
            load_rsm(tmp_path / "z.npz")
    content = safetensors_bytes({"rsm": np.ones((2, 2))}, {"metadata": "{half"})
    (tmp_path / "z.safetensors").write_bytes(content)
    with pytest.raises(ValueError, match="damaged metadata"):
        load_rsm(tmp_path / "z.safetensors")


def test_save_rsm_refuses_what_it_cannot_keep(tmp_path, stats):
    with pytest.raises(ValueError, match="x_ids must be unique, got 'a' again"):
        save_rsm(tmp_path / "k.npz", np.eye(3), x_ids=["a", "b", "a"])
    with pytest.raises(ValueError, match=r"inner of shape \(2, 2\), got \(3, 3\)"):
        save_rsm(tmp_path / "k.npz", np.eye(2), stats)
    with pytest.raises(TypeError, match="rsm must be a real array.*complex"):
        save_rsm(tmp_path / "x.npy", np.ones((2, 2), complex))
    with pytest.raises(ValueError, match=r"rsm must have shape \(N, M\).*\(3, 4, 2\)"):
        save_rsm(tmp_path / "x.npy", features())
    with pytest.raises(ValueError, match="y_ids must name 3 samples, got 2"):
        save_rsm(tmp_path / "x.npz", np.ones((2, 3)), y_ids=["a", "b"])
    with pytest.raises(TypeError, match="JSON"):
        save_rsm(tmp_path / "x.npy", np.ones((2, 2)), None, {"a": {1, 2}})
    save_rsm(tmp_path / "x.npy", np.ones((2, 2)))
    with pytest.raises(ValueError, match="--overwrite"):
        save_rsm(tmp_path / "x.npy", np.zeros((2, 2)))
    save_rsm(tmp_path / "x.npy", np.zeros((2, 2)), overwrite=True)
    assert not load_rsm(tmp_path / "x.npy").rsm.any()
    assert os.listdir(tmp_path) == ["x.npy"]


def test_sha256_is_that_of_the_contents(tmp_path):
    (tmp_path / "x").write_bytes(b"abc")
    assert sha256(tmp_path / "x").startswith("ba7816bf8f01cfea")
