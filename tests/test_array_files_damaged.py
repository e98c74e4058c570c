"""Files that are damaged, hostile, or of another kind are named, and nothing runs."""

import io
import os
import pickle
import zipfile
from pathlib import Path

import numpy as np
import pytest
from array_files import SUFFIXES, features, write
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from stored_runs import Trap, npy_header

from semrsm_jax.store import load_features

PNG = b"\x89PNG\r\n\x1a\n" + bytes(200)


def npy_bytes(array) -> bytes:
    buffer = io.BytesIO()
    np.save(buffer, array)
    return buffer.getvalue()


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
