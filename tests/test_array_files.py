"""Arrays are read from .npy, .npz and .safetensors, and what cannot be is named."""

import os

import ml_dtypes
import numpy as np
import pytest
from array_files import SUFFIXES, features, write

from semrsm_jax.store import load_features


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


def test_what_is_no_file_of_an_array_is_named(tmp_path):
    path = write(tmp_path / "x.npy", features())
    with pytest.raises(ValueError, match="one array without a name, got key='a'"):
        load_features(path, "a")
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
    os.mkfifo(tmp_path / "pipe.npy")
    with pytest.raises(ValueError, match="not a regular file"):
        load_features(tmp_path / "pipe.npy")


@pytest.mark.parametrize(
    ("suffix", "array"),
    [
        (".npy", np.ones(3, complex)),
        (".npy", np.ones(3, bool)),
        (".npy", np.array(["a"])),
        (".npy", np.array([b"a"])),
        (".npy", np.array(["2020"], "M8[D]")),
        (".npy", np.ones(3, np.longdouble)),
        (".npy", np.ones(3, [("a", "f4")])),
        (".safetensors", np.ones(3, bool)),
        (".safetensors", np.ones(3, np.complex64)),
    ],
)
def test_other_dtypes_are_refused(tmp_path, suffix, array):
    with pytest.raises(TypeError, match="must hold floats or integers.*got dtype"):
        load_features(write(tmp_path / f"x{suffix}", array))


@pytest.mark.parametrize("suffix", SUFFIXES)
def test_empty_files_and_arrays_are_refused(tmp_path, suffix):
    (tmp_path / f"empty{suffix}").touch()
    with pytest.raises(ValueError, match=r"is empty \(0 bytes\)"):
        load_features(tmp_path / f"empty{suffix}")
    with pytest.raises(ValueError, match=r"empty array, of shape \(0, 3\)"):
        load_features(write(tmp_path / f"x{suffix}", np.ones((0, 3))))
