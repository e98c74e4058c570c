"""Features to run on, what a run left on the disk, and pieces of hostile files."""

from pathlib import Path

import numpy as np


def features(seed=0, shape=(11, 6, 4)) -> np.ndarray:
    return np.random.default_rng(seed).normal(size=shape).astype(np.float32)


def contents(folder: Path) -> dict[str, bytes]:
    """Every file of a run by its path, the lock apart, which is empty."""
    return {
        str(path.relative_to(folder)): path.read_bytes()
        for path in sorted(folder.rglob("*"))
        if path.is_file() and path.name != ".lock"
    }


class Trap:
    """Unpickling it would create a file."""

    def __init__(self, path: Path):
        self.path = path

    def __reduce__(self):
        return (open, (str(self.path), "w"))


def npy_header(shape="(3,)", descr="<f4", fortran="False") -> bytes:
    """The header of a .npy file, true or not."""
    text = f"{{'descr': {descr!r}, 'fortran_order': {fortran}, 'shape': {shape}, }}\n"
    return b"\x93NUMPY\x01\x00" + len(text).to_bytes(2, "little") + text.encode()
