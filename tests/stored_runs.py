"""Features to run on, what a run left on the disk, and pieces of hostile files."""

import resource
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np

from semrsm_jax import Exact, Identity, pair_statistics
from semrsm_jax.engine import run
from semrsm_jax.store import RunStore

EXACT = Exact(solver="scipy")


def features(seed=0, shape=(11, 6, 4)) -> np.ndarray:
    return np.random.default_rng(seed).normal(size=shape).astype(np.float32)


def small_run(folder: Path, x=None, **options) -> RunStore:
    """A run in tiles of 4 samples, each matched position by position."""
    x = features() if x is None else x
    return run(x, store=folder, **{"matcher": Identity(), "tile": 4, **options})


def contents(folder: Path) -> dict[str, bytes]:
    """Every file of a run by its path, the lock apart, which is empty."""
    return {
        str(path.relative_to(folder)): path.read_bytes()
        for path in sorted(folder.rglob("*"))
        if path.is_file() and path.name != ".lock"
    }


def times(folder: Path, pattern="c.*") -> dict[Path, int]:
    """When each file of the name was written, chunks of arrays unless told."""
    return {path: path.stat().st_mtime_ns for path in folder.rglob(pattern)}


def assert_equals_memory(store, x, y=None, matcher=EXACT, **options):
    """The statistics of a run are those that are computed in memory."""
    expected = pair_statistics(x, y, matcher, **options)
    stored = store.statistics(0, len(x))
    assert (stored.column_error is None) == (expected.column_error is None)
    for name, values in stored._asdict().items():
        if values is None:
            continue
        # Chunks of another size may round the last bit otherwise.
        np.testing.assert_allclose(
            values, getattr(expected, name), rtol=1e-5, atol=1e-5, err_msg=name
        )
        assert values.dtype == getattr(expected, name).dtype


@contextmanager
def full_disk(size: int) -> Iterator[None]:
    """No file can grow beyond so many bytes."""
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, limits[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)


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
