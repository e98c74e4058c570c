"""Processor cores and memory that this process may use."""

import ctypes
import os
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from functools import cache
from itertools import product
from pathlib import Path
from typing import Any

import jax

# jax.Device, which type checkers do not accept as a type.
Device = Any

_limit: ContextVar[int | None] = ContextVar("core limit", default=None)


def cores() -> int:
    """Processor cores that this process, or here this thread, may use."""
    limit = _limit.get()
    if limit is not None:
        return limit
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


@contextmanager
def core_limit(count: int) -> Iterator[None]:
    """Limits the solver's threads, for work that this thread begins in the block.

    Args:
      count: threads at most, at least 1; outside of any such block all cores are used.

    Yields:
      Nothing; the limit ends with the block.
    """
    token = _limit.set(count)
    try:
        yield
    finally:
        _limit.reset(token)


_blas_lock = threading.Lock()
_blas_users = 0
_blas_threads: list[int] = []


@contextmanager
def one_blas_thread() -> Iterator[None]:
    """Keeps OpenBLAS to the calling thread until the block ends, in the whole process.

    Its own threads would take the cores that ours compute on, and spin beside them.
    Another BLAS is left as it is.
    """
    global _blas_users
    with _blas_lock:
        if _blas_users == 0:
            _blas_threads[:] = [get() for get, _ in _openblas()]
            for _, limit in _openblas():
                limit(1)
        _blas_users += 1
    try:
        yield
    finally:
        with _blas_lock:
            _blas_users -= 1
            if _blas_users == 0:
                for (_, limit), count in zip(_openblas(), _blas_threads, strict=True):
                    limit(count)


@cache
def _openblas() -> list[tuple[Any, Any]]:
    """What gets and what sets the number of threads of each OpenBLAS in the process."""
    try:
        lines = Path("/proc/self/maps").read_text().splitlines()
    except OSError:
        return []
    functions = []
    for path in sorted({line.split()[-1] for line in lines if "openblas" in line}):
        library = ctypes.CDLL(path)
        for prefix, suffix in product(("scipy_", ""), ("64_", "")):
            name = f"{prefix}openblas_{{}}_num_threads{suffix}"
            if hasattr(library, name.format("set")):
                pair = (getattr(library, name.format(verb)) for verb in ("get", "set"))
                functions.append(tuple(pair))
                break
    return functions


def default_device() -> Device:
    """The device of JAX's arrays that are put on none by name."""
    with jax.ensure_compile_time_eval():
        (device,) = jax.device_put(0).devices()
    return device


def physical_memory() -> int:
    """Bytes of memory of the machine; 8 GiB where the system does not report it."""
    try:
        return os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    except (AttributeError, ValueError, OSError):
        return 8 * 2**30


def free_memory(device: Device | None = None) -> int:
    """Free bytes: of an accelerator where it reports them, else of this machine."""
    statistics = None if device is None else device.memory_stats()
    if statistics and "bytes_limit" in statistics:
        return statistics["bytes_limit"] - statistics.get("bytes_in_use", 0)
    return min(_available(), _left_to_the_groups())


def _available() -> int:
    try:
        lines = Path("/proc/meminfo").read_text().splitlines()
        (line,) = (line for line in lines if line.startswith("MemAvailable:"))
        return int(line.split()[1]) * 1024
    except (OSError, ValueError):
        return physical_memory()


def _left_to_the_groups() -> int:
    """Free bytes of the control groups of a container or of a cluster's job."""
    try:
        lines = Path("/proc/self/cgroup").read_text().splitlines()
        (line,) = (line for line in lines if line.startswith("0::/"))
    except (OSError, ValueError):
        return physical_memory()
    own = Path("/sys/fs/cgroup") / line.removeprefix("0::/")
    return min(map(_left_to, (own, *own.parents)))


def _left_to(group: Path) -> int:
    """Free bytes of one control group; without a limit, those of the machine."""
    try:
        limit, used = (
            int((group / f"memory.{name}").read_text()) for name in ("max", "current")
        )
        lines = (group / "memory.stat").read_text().splitlines()
        held = dict(line.split() for line in lines)
        # Copies of files, which the system drops where memory is needed.
        used -= int(held["inactive_file"]) + int(held["active_file"])
        return max(0, limit - used)
    except (OSError, ValueError, KeyError):
        return physical_memory()


def process_memory() -> int:
    """Bytes that this process uses; 0 where the system does not report it."""
    try:
        pages = int(Path("/proc/self/statm").read_text().split()[1])
        return pages * os.sysconf("SC_PAGE_SIZE")
    except (OSError, ValueError, IndexError):
        return 0


def is_out_of_memory(error: BaseException) -> bool:
    """Whether an exception means that memory, here or on a device, ran out."""
    # JAX raises a RuntimeError of its own.
    return isinstance(error, MemoryError) or (
        isinstance(error, RuntimeError) and "RESOURCE_EXHAUSTED" in str(error)
    )
