"""Files that are damaged, hostile, or of another kind are named, and nothing runs."""

import io
import os
import pickle
import warnings
import zipfile
from pathlib import Path

import numpy as np
import pytest
from array_files import SUFFIXES, features, write
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from stored_runs import Trap, npy_header

from semrsm_jax.store import load_features

ARRAY = features()
PICKLED = "stored as a pickle, which is never read"
TRAP = np.array([Trap("sprung")])
FOREIGN = [
    (b"\x89PNG\r\n\x1a\n" + bytes(200), "a PNG image"),
    (b"\xff\xd8\xff" + bytes(100), "a JPEG image"),
    (b"version https://git-lfs.github.com/spec/v1\n", "git lfs pull"),
    (pickle.dumps([1, 2, 3]), "a pickle"),
    (b"hello world", "it starts with b'hello wo'"),
]


def saved(save, *arrays, **named) -> bytes:
    buffer = io.BytesIO()
    save(buffer, *arrays, **named)
    return buffer.getvalue()


NPY, STORED = saved(np.save, ARRAY), saved(np.savez, x=ARRAY)


def zip_of(*members: tuple[str, bytes], method=zipfile.ZIP_DEFLATED) -> bytes:
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", method) as archive, warnings.catch_warnings():
        warnings.filterwarnings("ignore", "Duplicate name")
        for name, content in members:
            archive.writestr(name, content)
    return buffer.getvalue()


def claiming(size: int, content: bytes) -> bytes:
    """A member that is said to unpack to so many bytes."""
    archive, old = zip_of(("x.npy", content)), len(content).to_bytes(4, "little")
    assert archive.count(old) == 2  # the member's own header and the directory
    return archive.replace(old, size.to_bytes(4, "little"))


def flipped(content: bytes, at: int) -> bytes:
    return content[:at] + bytes([content[at] ^ 1]) + content[at + 1 :]


# The file, what is in it, and what is said of it.
REFUSED = [
    *(
        (f"x{suffix}", content, f"is not a {suffix} file.*{kind}")
        for suffix in SUFFIXES
        for content, kind in FOREIGN
    ),
    ("x.npy", STORED, "is not a .npy file but a zip archive"),
    ("x.safetensors", NPY, "is not a .safetensors file but a .npy array"),
    *(
        ("x.npy", pickle.dumps(TRAP[0], protocol), "pickle, which could run code")
        for protocol in range(2, pickle.HIGHEST_PROTOCOL + 1)
    ),
    ("x.npy", saved(np.save, TRAP), PICKLED),
    ("x.npz", saved(np.savez_compressed, x=TRAP), PICKLED),
    # Headers that claim more than the file holds, and less.
    *(
        ("x.npy", npy_header(shape) + bytes(12), "is truncated: its header claims")
        for shape in (f"({10**18},)", "(999999999999, 999999999999)", "(4,)")
    ),
    ("x.npy", NPY + NPY, "holds more than one array"),
    *(
        ("x.npy", header + bytes(12), "damaged|impossible")
        for header in (
            npy_header("(-3, -1)"),
            npy_header("'three'"),
            npy_header(descr="nonsense"),
            npy_header("(" * 4000 + ")" * 4000),
            npy_header(fortran="open('sprung', 'w')"),
            b"\x93NUMPY\x02\x00\xff\xff\xff\xff{",
            b"\x93NUMPY\x09\x00\x00\x00{",
        )
    ),
    *(
        ("x.npz", zip_of((name, NPY)), "leads out of it")
        for name in ("../x.npy", "/x.npy", "a/../../x.npy", "..\\x.npy")
    ),
    ("x.npz", zip_of(("model/data.pkl", pickle.dumps(3))), "holds no array"),
    ("x.npz", saved(np.savez), "holds no array"),
    (
        "x.npz",
        zip_of(("x.npy", npy_header(f"({10**15},)") + bytes(12))),
        "is truncated: its header claims",
    ),
    # The directory and the array's header say 12 bytes of values, deflate 4 MiB.
    (
        "x.npz",
        claiming(len(npy_header()) + 12, npy_header() + bytes(4 * 2**20)),
        "truncated or damaged: Bad CRC-32",
    ),
    # More than deflate can hold.
    ("x.npz", claiming(2**31, NPY), "it has 2147483648"),
    (
        "x.npz",
        zip_of(("x.npy", NPY), method=zipfile.ZIP_LZMA),
        "in a way NumPy never writes",
    ),
    ("x.npz", zip_of(("x.npy", NPY), ("x.npy", NPY)), "holds 'x' twice"),
    (
        "x.npz",
        flipped(STORED, STORED.index(ARRAY.tobytes()) + 5),
        "Bad CRC-32",
    ),
]


@pytest.mark.parametrize(
    ("name", "content", "message"),
    REFUSED,
    ids=lambda value: "" if isinstance(value, bytes) else None,
)
def test_files_are_refused_for_what_they_are(
    tmp_path, monkeypatch, name, content, message
):
    """And nothing else is written."""
    monkeypatch.chdir(tmp_path)
    Path(name).write_bytes(content)
    error = TypeError if message == PICKLED else ValueError
    with pytest.raises(error, match=message):
        load_features(name)
    assert os.listdir() == [name]


@pytest.mark.parametrize("suffix", SUFFIXES)
def test_every_truncation_is_refused(tmp_path, suffix):
    whole = write(tmp_path / f"whole{suffix}", features()).read_bytes()
    path = tmp_path / f"x{suffix}"
    for length in range(1, len(whole), 7):
        path.write_bytes(whole[:length])
        with pytest.raises(ValueError, match="truncated|damaged|not a .* file"):
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
