"""New files: checked before the work, and whole or not there at all after it."""

import os
import secrets
import shutil
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from semrsm_jax.store._array_files import SUFFIXES

_PREFIX = ".semrsm-"
_STALE_SECONDS = 3600


def check_output(
    path: str | os.PathLike,
    overwrite: bool = False,
    *,
    suffixes: Sequence[str] = SUFFIXES,
    inputs: Sequence[str | os.PathLike] = (),
) -> Path:
    """Checks, before any long work, that a file can be written; leaves no trace.

    Folders that are missing are made when the file is written.

    Args:
      path: the file to write.
      overwrite: an existing file may be replaced.
      suffixes: the kinds of file that may be written.
      inputs: files that must not be replaced, whatever `overwrite` says.

    Returns:
      The path, with links resolved, so that a link's target is replaced, not the link.

    Raises:
      ValueError: the suffix is another, the file exists, the path is a folder, leads
        through a file, or its folder cannot be written to.
    """
    if Path(path).suffix.lower() not in suffixes:
        raise ValueError(
            f"output {path} must end in one of {', '.join(suffixes)}, got "
            f"{Path(path).suffix or 'no suffix'}"
        )
    try:
        target = Path(os.path.realpath(path))
        folder = target.parent
        while not folder.exists():
            folder = folder.parent
        if not folder.is_dir():
            raise ValueError(f"output {path} cannot be written: {folder} is a file")
        if target.is_dir():
            raise ValueError(f"output {path} is a folder, expected a file name")
        if target.exists():
            if any(Path(i).exists() and target.samefile(i) for i in inputs):
                raise ValueError(f"output {path} is an input, and would replace it")
            if not target.is_file():
                raise ValueError(f"output {path} is no regular file")
            if not overwrite:
                raise ValueError(f"output {path} exists; --overwrite replaces it")
        _try_writing(folder)
    except OSError as error:
        raise ValueError(
            f"output {path} cannot be written: {error.strerror or error}"
        ) from error
    return target


@contextmanager
def new_file(
    path: str | os.PathLike, overwrite: bool = False, *, wait: bool = True
) -> Iterator[Path]:
    """Yields a temporary path beside `path`; what was written there becomes `path`.

    The file appears in one step, with `wait` once it is on the disk itself. If the
    block raises, nothing is left of it, and a file that was there stays as it was.

    Args:
      path: the file to write; folders above it are made.
      overwrite: whether a file that is there may be replaced.
      wait: for the disk, so that a power cut leaves the old file or the new one.

    Yields:
      The temporary path.

    Raises:
      ValueError: the file exists and `overwrite` is False.
      OSError: a folder cannot be made, or the file not written.
    """
    path = Path(os.path.realpath(path))
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.parent / _temporary_name(path.suffix)
    try:
        yield temporary
        if wait:
            with temporary.open("rb+") as stream:
                os.fsync(stream.fileno())
        if path.exists() and not overwrite:
            raise ValueError(f"output {path} exists; --overwrite replaces it")
        os.replace(temporary, path)
    finally:
        temporary.unlink(missing_ok=True)


@contextmanager
def new_folder(path: str | os.PathLike) -> Iterator[Path]:
    """Yields an empty folder beside `path`; with what was written there it becomes it.

    It appears in one step, or not at all. Where another process makes the same folder
    in the meantime, that one stays.

    Raises:
      OSError: a folder cannot be made.
    """
    path = Path(os.path.realpath(path))
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.parent / _temporary_name("")
    temporary.mkdir()
    try:
        yield temporary
        try:
            temporary.rename(path)
        except OSError:
            # There, and not empty: which error tells of it depends on the system.
            if not path.is_dir():
                raise
    finally:
        shutil.rmtree(temporary, ignore_errors=True)


def check_folder(path: str | os.PathLike) -> Path:
    """Checks that a folder can be made, or written to where it is there.

    Returns:
      The path, with links resolved.

    Raises:
      ValueError: the path is a file, leads through one, or cannot be written to.
    """
    target = Path(os.path.realpath(path))
    try:
        folder = target
        while not folder.exists():
            folder = folder.parent
        if not folder.is_dir():
            what = (
                "is a file, expected a folder"
                if folder == target
                else (f"cannot be written: {folder} is a file")
            )
            raise ValueError(f"output {path} {what}")
        _try_writing(folder)
    except OSError as error:
        raise ValueError(
            f"output {path} cannot be written: {error.strerror or error}"
        ) from error
    return target


def sweep(folder: Path) -> None:
    """Removes what `new_file` left below a folder; nobody else may be writing there."""
    for path in folder.rglob(f"{_PREFIX}*"):
        path.unlink(missing_ok=True)


def remove_stale(folder: Path) -> None:
    """Removes what writers of `new_file` left in a folder when they were killed."""
    for path in folder.glob(f"{_PREFIX}*"):
        # A younger one may still be written, by another process.
        if time.time() - path.stat().st_mtime > _STALE_SECONDS:
            path.unlink(missing_ok=True)


def _try_writing(folder: Path) -> None:
    # Only trying tells: permissions, quotas and read-only disks all have a say.
    trial = folder / _temporary_name("")
    trial.mkdir()
    trial.rmdir()


def _temporary_name(suffix: str) -> str:
    # Short, whatever the file's own name: names have a limit.
    return f"{_PREFIX}{secrets.token_hex(6)}{suffix}"
