import io
import json
import os
import pickle
import stat
import subprocess
import sys
import zipfile
from pathlib import Path

import jax.numpy as jnp
import ml_dtypes
import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from safetensors.numpy import save as safetensors_bytes
from safetensors.numpy import save_file
from stored_runs import Trap, npy_header

from semrsm_jax import RBF, Identity, pair_statistics
from semrsm_jax.store import (
    check_output,
    load_features,
    load_rsm,
    new_file,
    save_rsm,
    sha256,
)

SUFFIXES = (".npy", ".npz", ".safetensors")
PNG = b"\x89PNG\r\n\x1a\n" + bytes(200)


def features(dtype="f4", shape=(3, 4, 2)) -> np.ndarray:
    rng = np.random.default_rng(0)
    return (10 * rng.normal(size=shape)).astype(dtype)


def write(path: Path, array: np.ndarray) -> Path:
    if path.suffix == ".npy":
        np.save(path, array)
    elif path.suffix == ".npz":
        np.savez_compressed(path, x=array)
    else:
        save_file({"x": array}, path)
    return path


def npy_bytes(array) -> bytes:
    buffer = io.BytesIO()
    np.save(buffer, array)
    return buffer.getvalue()


# Reading features


@pytest.mark.parametrize("suffix", SUFFIXES)
@pytest.mark.parametrize("dtype", ["f2", "f4", "f8", "i1", "u1", "i4", "i8"])
def test_every_format_and_dtype_is_read_as_it_is(tmp_path, suffix, dtype):
    expected = features(dtype)
    loaded = load_features(write(tmp_path / f"a b ü{suffix}", expected))
    assert loaded.dtype == expected.dtype
    np.testing.assert_array_equal(loaded, expected)


def test_bfloat16_in_npy_is_refused_with_the_way_out(tmp_path):
    path = tmp_path / "x.npy"
    np.save(path, features(ml_dtypes.bfloat16))
    with pytest.raises(TypeError, match="bfloat16: use .safetensors"):
        load_features(path)


@pytest.mark.parametrize("suffix", [".npy", ".npz"])
def test_fortran_order_and_byte_order_do_not_matter(tmp_path, suffix):
    expected = features()
    swapped = np.asfortranarray(expected.astype(">f4"))
    loaded = load_features(write(tmp_path / f"x{suffix}", swapped))
    assert loaded.dtype.isnative
    np.testing.assert_array_equal(loaded, expected)


def test_npy_is_memory_mapped_read_only(tmp_path):
    loaded = load_features(write(tmp_path / "x.NPY".lower(), features()))
    assert isinstance(loaded, np.memmap)
    with pytest.raises(ValueError, match="read-only"):
        loaded[0] = 0


@pytest.mark.parametrize("suffix", [".npz", ".safetensors"])
def test_key_chooses_one_of_several_arrays(tmp_path, suffix):
    path, arrays = tmp_path / f"x{suffix}", {"a": features(), "b/c": features() + 1}
    if suffix == ".npz":
        np.savez(path, **arrays)
    else:
        save_file(arrays, path)
    np.testing.assert_array_equal(load_features(path, "b/c"), arrays["b/c"])
    with pytest.raises(ValueError, match="several arrays; key must be one of 'a', 'b"):
        load_features(path)
    with pytest.raises(ValueError, match="key must be one of 'a', 'b/c'.*got 'd'"):
        load_features(path, "d")


def test_key_of_a_npy_file_is_refused(tmp_path):
    path = write(tmp_path / "x.npy", features())
    with pytest.raises(ValueError, match="one array without a name, got key='a'"):
        load_features(path, "a")


def test_missing_folder_and_unknown_suffix_are_named(tmp_path):
    with pytest.raises(ValueError, match="no.npy does not exist"):
        load_features(tmp_path / "no.npy")
    (tmp_path / "folder.npy").mkdir()
    with pytest.raises(ValueError, match="is a folder, expected a file"):
        load_features(tmp_path / "folder.npy")
    for name in ("x.pt", "x"):
        (tmp_path / name).write_bytes(b"some")
        with pytest.raises(ValueError, match="must end in one of .npy, .npz, .safete"):
            load_features(tmp_path / name)
    with pytest.raises(ValueError, match="cannot be read: File name too long"):
        load_features(tmp_path / ("x" * 300 + ".npy"))


def test_a_pipe_is_refused_without_waiting(tmp_path):
    os.mkfifo(tmp_path / "x.npy")
    with pytest.raises(ValueError, match="not a regular file"):
        load_features(tmp_path / "x.npy")


@pytest.mark.parametrize("suffix", SUFFIXES)
def test_empty_file_is_refused(tmp_path, suffix):
    (tmp_path / f"x{suffix}").touch()
    with pytest.raises(ValueError, match=r"is empty \(0 bytes\)"):
        load_features(tmp_path / f"x{suffix}")


@pytest.mark.parametrize("suffix", SUFFIXES)
def test_every_truncation_is_refused(tmp_path, suffix):
    whole = write(tmp_path / f"whole{suffix}", features()).read_bytes()
    path = tmp_path / f"x{suffix}"
    for length in range(1, len(whole), 7):
        path.write_bytes(whole[:length])
        with pytest.raises(ValueError, match="truncated|damaged|not a .* file"):
            load_features(path)


@pytest.mark.parametrize("suffix", SUFFIXES)
@pytest.mark.parametrize(
    ("content", "kind"),
    [
        (PNG, "a PNG image"),
        (b"\xff\xd8\xff" + bytes(100), "a JPEG image"),
        (b"version https://git-lfs.github.com/spec/v1\n", "git lfs pull"),
        (pickle.dumps([1, 2, 3]), "a pickle"),
        (b"hello world", "it starts with b'hello wo'"),
    ],
)
def test_foreign_files_are_named(tmp_path, suffix, content, kind):
    path = tmp_path / f"x{suffix}"
    path.write_bytes(content)
    with pytest.raises(ValueError, match=f"is not a {suffix} file.*{kind}"):
        load_features(path)


def test_one_format_under_the_suffix_of_another_is_named(tmp_path):
    npz = write(tmp_path / "a.npz", features()).rename(tmp_path / "a.npy")
    with pytest.raises(ValueError, match="is not a .npy file but a zip archive"):
        load_features(npz)
    npy = write(tmp_path / "b.npy", features()).rename(tmp_path / "b.safetensors")
    with pytest.raises(ValueError, match="is not a .safetensors file but a .npy array"):
        load_features(npy)


@pytest.mark.parametrize("protocol", range(2, pickle.HIGHEST_PROTOCOL + 1))
def test_a_pickle_is_named_and_runs_nothing(tmp_path, protocol):
    path = tmp_path / "x.npy"
    path.write_bytes(pickle.dumps(Trap(tmp_path / "sprung"), protocol))
    with pytest.raises(ValueError, match="pickle, which could run code"):
        load_features(path)
    assert not (tmp_path / "sprung").exists()


@pytest.mark.parametrize("suffix", [".npy", ".npz"])
def test_object_arrays_are_refused_and_run_nothing(tmp_path, suffix):
    trap = np.empty(1, object)
    trap[0] = Trap(tmp_path / "sprung")
    path = write(tmp_path / f"x{suffix}", trap)
    with pytest.raises(TypeError, match="stored as a pickle, which is never read"):
        load_features(path)
    assert not (tmp_path / "sprung").exists()


@pytest.mark.parametrize(
    "array",
    [
        np.ones(3, complex),
        np.ones(3, bool),
        np.array(["a"]),
        np.array([b"a"]),
        np.array(["2020"], "M8[D]"),
        np.ones(3, np.longdouble),
        np.ones(3, [("a", "f4")]),
    ],
)
def test_other_dtypes_are_refused(tmp_path, array):
    with pytest.raises(TypeError, match="must hold floats or integers.*got dtype"):
        load_features(write(tmp_path / "x.npy", array))


@pytest.mark.parametrize("array", [np.ones(3, bool), np.ones(3, np.complex64)])
def test_other_dtypes_are_refused_in_safetensors(tmp_path, array):
    with pytest.raises(TypeError, match="must hold floats or integers.*got dtype"):
        load_features(write(tmp_path / "x.safetensors", array))


@pytest.mark.parametrize("suffix", SUFFIXES)
def test_empty_arrays_are_refused(tmp_path, suffix):
    with pytest.raises(ValueError, match=r"empty array, of shape \(0, 3\)"):
        load_features(write(tmp_path / f"x{suffix}", np.ones((0, 3))))


@pytest.mark.parametrize("shape", ["(10**18,)", "(999999999999, 999999999999)", "(4,)"])
def test_header_that_claims_more_than_the_file_is_refused(tmp_path, shape):
    shape = shape.replace("10**18", str(10**18))
    path = tmp_path / "x.npy"
    path.write_bytes(npy_header(shape) + bytes(12))
    with pytest.raises(ValueError, match="is truncated: its header claims"):
        load_features(path)


def test_header_that_claims_less_than_the_file_is_refused(tmp_path):
    path = tmp_path / "x.npy"
    path.write_bytes(npy_bytes(features()) + npy_bytes(features()))
    with pytest.raises(ValueError, match="holds more than one array"):
        load_features(path)


@pytest.mark.parametrize(
    "header",
    [
        npy_header("(-3, -1)"),
        npy_header("'three'"),
        npy_header(descr="nonsense"),
        npy_header("(" * 4000 + ")" * 4000),
        npy_header(fortran="open('sprung', 'w')"),
        b"\x93NUMPY\x02\x00\xff\xff\xff\xff{",
        b"\x93NUMPY\x09\x00\x00\x00{",
    ],
)
def test_damaged_headers_are_refused(tmp_path, header, monkeypatch):
    monkeypatch.chdir(tmp_path)
    Path("x.npy").write_bytes(header + bytes(12))
    with pytest.raises(ValueError, match="damaged|impossible"):
        load_features("x.npy")
    assert os.listdir() == ["x.npy"]


def zip_of(path: Path, members: dict[str, bytes], method=zipfile.ZIP_DEFLATED) -> Path:
    with zipfile.ZipFile(path, "w", method) as archive:
        for name, content in members.items():
            archive.writestr(name, content)
    return path


@pytest.mark.parametrize("name", ["../x.npy", "/x.npy", "a/../../x.npy", "..\\x.npy"])
def test_members_that_lead_out_are_refused(tmp_path, name):
    path = zip_of(tmp_path / "x.npz", {name: npy_bytes(features())})
    with pytest.raises(ValueError, match="leads out of it"):
        load_features(path)
    assert os.listdir(tmp_path) == ["x.npz"]


def test_a_zip_of_other_things_holds_no_array(tmp_path):
    path = zip_of(tmp_path / "x.npz", {"model/data.pkl": pickle.dumps(3)})
    with pytest.raises(ValueError, match="holds no array"):
        load_features(path)
    np.savez(tmp_path / "none.npz")
    with pytest.raises(ValueError, match="holds no array"):
        load_features(tmp_path / "none.npz")


def test_member_whose_header_claims_more_is_refused(tmp_path):
    content = npy_header(f"({10**15},)") + bytes(12)
    path = zip_of(tmp_path / "x.npz", {"x.npy": content})
    with pytest.raises(ValueError, match="is truncated: its header claims"):
        load_features(path)


def patched(path: Path, old: bytes, new: bytes) -> Path:
    content = path.read_bytes()
    assert content.count(old) == 2  # the member's own header and the directory
    path.write_bytes(content.replace(old, new))
    return path


def test_member_that_unpacks_to_more_than_it_claims_is_refused(tmp_path):
    """The directory and the array's header say 12 bytes of values, deflate 4 MiB."""
    content = npy_header() + bytes(4 * 2**20)
    path = zip_of(tmp_path / "x.npz", {"x.npy": content})
    claim = len(npy_header()) + 12
    patched(path, len(content).to_bytes(4, "little"), claim.to_bytes(4, "little"))
    with pytest.raises(ValueError, match="truncated or damaged: Bad CRC-32"):
        load_features(path)


def test_member_that_claims_more_than_deflate_can_hold_is_refused(tmp_path):
    content = npy_bytes(features())
    path = zip_of(tmp_path / "x.npz", {"x.npy": content})
    patched(path, len(content).to_bytes(4, "little"), (2**31).to_bytes(4, "little"))
    with pytest.raises(ValueError, match="it has 2147483648"):
        load_features(path)


def test_unusual_compression_and_doubled_members_are_refused(tmp_path):
    path = tmp_path / "x.npz"
    zip_of(path, {"x.npy": npy_bytes(features())}, zipfile.ZIP_LZMA)
    with pytest.raises(ValueError, match="in a way NumPy never writes"):
        load_features(path)
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("x.npy", npy_bytes(features()))
        with pytest.warns(UserWarning, match="Duplicate"):
            archive.writestr("x.npy", npy_bytes(features()))
    with pytest.raises(ValueError, match="holds 'x' twice"):
        load_features(path)


def test_flipped_bit_in_an_npz_is_noticed(tmp_path):
    path = tmp_path / "x.npz"
    np.savez(path, x=features())
    content = bytearray(path.read_bytes())
    content[content.index(features().tobytes()) + 5] ^= 1
    path.write_bytes(content)
    with pytest.raises(ValueError, match="Bad CRC-32"):
        load_features(path)


@pytest.mark.parametrize("suffix", SUFFIXES)
@settings(
    max_examples=60,
    deadline=None,
    derandomize=True,
    suppress_health_check=[HealthCheck.function_scoped_fixture],
)
@given(data=st.data())
def test_random_damage_is_read_or_refused_but_never_crashes(tmp_path, suffix, data):
    path = write(tmp_path / f"x{suffix}", features())
    content = bytearray(path.read_bytes())
    for _ in range(data.draw(st.integers(1, 4))):
        place = data.draw(st.integers(0, len(content) - 1))
        content[place] = data.draw(st.integers(0, 255))
    path.write_bytes(content)
    try:
        loaded = load_features(path)
    except (TypeError, ValueError) as error:
        assert str(path) in str(error)
    else:
        assert loaded.size * loaded.itemsize <= 10 * len(content)


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
    with pytest.raises(ValueError, match="exists; --overwrite replaces it"):
        check_output(taken)
    check_output(taken, overwrite=True)
    with pytest.raises(ValueError, match="is an input, and would replace it"):
        check_output(tmp_path / "." / "taken.npz", True, inputs=[taken])
    with pytest.raises(ValueError, match="must end in one of .*, got .txt"):
        check_output(tmp_path / "x.txt")
    with pytest.raises(ValueError, match="got no suffix"):
        check_output(tmp_path / "x")
    with pytest.raises(ValueError, match="taken.npz is a file"):
        check_output(taken / "x.npz")
    (tmp_path / "folder.npz").mkdir()
    with pytest.raises(ValueError, match="is a folder, expected a file name"):
        check_output(tmp_path / "folder.npz", overwrite=True)
    with pytest.raises(ValueError, match="cannot be written: File name too long"):
        check_output(tmp_path / ("x" * 300 + ".npz"))
    os.mkfifo(tmp_path / "pipe.npy")
    with pytest.raises(ValueError, match="is not a regular file"):
        check_output(tmp_path / "pipe.npy", overwrite=True)
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
    with (
        pytest.raises(ValueError, match="--overwrite"),
        new_file(path) as temporary,
    ):
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


FULL_DISK = """
import resource, sys
import numpy as np
from semrsm_jax.store import save_rsm
resource.setrlimit(resource.RLIMIT_FSIZE, (4096, 4096))
for path in sys.argv[1:]:
    try:
        save_rsm(path, np.ones((200, 200)))
    except OSError as error:
        print("OSError")
"""


def test_full_disk_leaves_nothing(tmp_path):
    paths = [str(tmp_path / f"x{suffix}") for suffix in SUFFIXES]
    done = subprocess.run(
        [sys.executable, "-c", FULL_DISK, *paths],
        capture_output=True,
        text=True,
        check=True,
    )
    assert done.stdout.split() == ["OSError"] * 3
    assert os.listdir(tmp_path) == []


# Files of an RSM


@pytest.fixture(scope="module")
def stats():
    return pair_statistics(features(), matcher=Identity())


@pytest.mark.slow
@pytest.mark.parametrize("suffix", [".npz", ".safetensors"])
def test_rsm_file_keeps_matrix_statistics_and_metadata(tmp_path, stats, suffix):
    path, kernel = tmp_path / f"ü x{suffix}", RBF()
    save_rsm(path, kernel(stats), stats, {"matcher": {"name": "Identity"}, "ü": 1})
    file = load_rsm(path)
    assert file.x_ids is file.y_ids is file.x_groups is file.y_groups is None
    np.testing.assert_array_equal(file.rsm, kernel(stats))
    assert file.statistics is not None
    for name, value in stats._asdict().items():
        np.testing.assert_array_equal(getattr(file.statistics, name), value)
    assert file.metadata["matcher"] == {"name": "Identity"}
    assert file.metadata["ü"] == 1
    assert set(file.metadata["versions"]) == {"semrsm_jax", "jax"}
    stored = type(stats)(*map(jnp.asarray, file.statistics))
    np.testing.assert_array_equal(kernel(stored), file.rsm)
    assert stat.S_IMODE(path.stat().st_mode) & 0o400


@pytest.mark.parametrize("suffix", [".npz", ".safetensors"])
def test_rsm_file_keeps_names_and_groups_and_notices_changes(tmp_path, stats, suffix):
    path, names = tmp_path / f"x{suffix}", tuple("äbc")
    given = {"x_ids": names, "y_ids": tuple("def"), "x_groups": tuple("vvw")}
    save_rsm(path, stats.inner, stats, {"a": 1}, **given)
    file = load_rsm(path)
    assert {k: getattr(file, k) for k in given} == given and file.y_groups is None
    assert set(file.metadata) == {"a", "versions"}
    if suffix == ".npz":
        with np.load(path) as arrays:
            changed = {**arrays, "rsm": arrays["rsm"] + np.float32(1)}
        np.savez(path, **changed)
    else:
        content = bytearray(path.read_bytes())
        content[content.index(np.asarray(stats.inner).tobytes()) + 3] ^= 1
        path.write_bytes(content)
    with pytest.raises(ValueError, match="differs from its SHA-256"):
        load_rsm(path)


def test_files_of_all_formats_have_the_usual_permissions(tmp_path, stats):
    (tmp_path / "usual").touch()
    for suffix in SUFFIXES:
        save_rsm(tmp_path / f"x{suffix}", stats.inner, stats)
    assert len({path.stat().st_mode for path in tmp_path.iterdir()}) == 1


def test_npz_is_plain_numpy(tmp_path, stats):
    save_rsm(tmp_path / "x.npz", stats.inner, stats, {"a": 1})
    with np.load(tmp_path / "x.npz", allow_pickle=False) as file:
        assert set(file) == {"rsm", *stats._fields, "metadata"}
        assert json.loads(str(file["metadata"]))["a"] == 1


def test_npy_holds_the_matrix_alone(tmp_path, stats):
    save_rsm(tmp_path / "x.npy", stats.inner, stats, {"a": 1})
    np.testing.assert_array_equal(np.load(tmp_path / "x.npy"), stats.inner)
    file = load_rsm(tmp_path / "x.npy")
    assert file.statistics is None
    assert file.metadata == {}


def test_rsm_in_fortran_order_survives_safetensors(tmp_path):
    rsm = np.asfortranarray(features(shape=(3, 4)))
    save_rsm(tmp_path / "x.safetensors", rsm)
    np.testing.assert_array_equal(load_rsm(tmp_path / "x.safetensors").rsm, rsm)


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


def test_save_rsm_refuses_what_it_cannot_keep(tmp_path):
    with pytest.raises(TypeError, match="rsm must hold floats.*complex"):
        save_rsm(tmp_path / "x.npy", np.ones((2, 2), complex))
    with pytest.raises(ValueError, match=r"rsm must have shape \(N, M\).*\(3, 4, 2\)"):
        save_rsm(tmp_path / "x.npy", features())
    with pytest.raises(ValueError, match="y_ids must hold 3 names"):
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
