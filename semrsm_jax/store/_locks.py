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
    """A lock of the operating system on a file, released when the block ends.

    Where the file system knows no locks, each process takes itself for the only one.
    """

    def __init__(self, path: Path) -> None:
        """Nothing is done before the block begins."""
        self._path = path

    def __enter__(self) -> Self:
        """Opens the file, and makes it where there is none."""
        self._file = os.open(self._path, os.O_RDWR | os.O_CREAT, 0o666)
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
        """Takes the lock together with others, once nobody has it alone."""
        if fcntl is not None:
            with suppress(OSError):
                fcntl.flock(self._file, fcntl.LOCK_SH)

    def remove(self) -> None:
        """Removes the file; only for who has the lock alone."""
        self._path.unlink(missing_ok=True)
