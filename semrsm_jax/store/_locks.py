"""Locks between processes, which end with the process that holds them."""

import os
from contextlib import suppress
from pathlib import Path
from types import ModuleType
from typing import Self

fcntl: ModuleType | None
try:
    import fcntl
except ImportError:  # not on this system, where each process takes itself for alone
    fcntl = None


class Lock:
    """A lock of the operating system on a file or folder, until the block ends.

    Where the file system knows no locks, each process takes itself for the only one.
    """

    def __init__(self, path: Path) -> None:
        """Nothing is done before the block begins."""
        self._path = path

    def __enter__(self) -> Self:
        """Opens the file, and makes it where there is none; or opens a folder."""
        flags = os.O_RDONLY if self._path.is_dir() else os.O_RDWR | os.O_CREAT
        self._file = os.open(self._path, flags, 0o666)
        return self

    def __exit__(self, *error: object) -> None:
        """Releases the lock."""
        os.close(self._file)

    def alone(self) -> bool:
        """Tries to take the lock for this process alone, and says whether it did."""
        try:
            if fcntl is not None:
                fcntl.flock(self._file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            return False
        except OSError:
            pass
        return True

    def share(self) -> None:
        """Takes the lock together with others, once no process has it alone."""
        self._wait("LOCK_SH")

    def wait(self) -> None:
        """Takes the lock for this process alone, once no other has it."""
        self._wait("LOCK_EX")

    def _wait(self, kind: str) -> None:
        if fcntl is not None:
            with suppress(OSError):
                fcntl.flock(self._file, getattr(fcntl, kind))

    def remove(self) -> None:
        """Removes the file; only for who has the lock alone."""
        self._path.unlink(missing_ok=True)
