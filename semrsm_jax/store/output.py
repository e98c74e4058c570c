"""New files: checked before the work, and whole or not there at all after it."""

import os
import secrets
import shutil
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path

SUFFIXES = (".npy", ".npz", ".safetensors")

# Files that are not complete yet begin so.
TEMPORARY = ".semrsm-"


class OtherContentError(ValueError):
    """A store holds something else than what is to be written to it."""


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
    target = Path(os.path.realpath(path))
    with _unwritable_named(path):
        folder = _nearest_folder(path, target.parent)
        if target.is_dir():
            raise ValueError(f"output {path} is a folder, expected a file name")
        if target.exists():
            if any(Path(i).exists() and target.samefile(i) for i in inputs):
                raise ValueError(f"output {path} is an input, and would replace it")
            if not target.is_file():
                raise ValueError(f"output {path} is not a regular file")
            if not overwrite:
                raise ValueError(f"output {path} exists; --overwrite replaces it")
        _try_writing(folder)
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
    # numpy.savez adds a suffix to names that end in .NPZ.
    temporary = path.parent / _temporary_name(path.suffix.lower())
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
    with _unwritable_named(path):
        if target.exists() and not target.is_dir():
            raise ValueError(f"output {path} is a file, expected a folder")
        _try_writing(_nearest_folder(path, target))
    return target


def _nearest_folder(path: str | os.PathLike, folder: Path) -> Path:
    """The folder itself, or the first that exists of those above it."""
    while not folder.exists():
        folder = folder.parent
    if not folder.is_dir():
        raise ValueError(f"output {path} cannot be written: {folder} is a file")
    return folder


@contextmanager
def _unwritable_named(path: str | os.PathLike) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        raise ValueError(
            f"output {path} cannot be written: {error.strerror or error}"
        ) from error


def sweep(folder: Path) -> None:
    """Removes what killed processes left, where no other process may write."""
    for path in [*folder.rglob(f"{TEMPORARY}*")]:
        if path.is_dir():
            shutil.rmtree(path, ignore_errors=True)
        else:
            path.unlink(missing_ok=True)


def _try_writing(folder: Path) -> None:
    # Only trying tells: permissions, quotas and read-only disks all have a say.
    trial = folder / _temporary_name("")
    trial.mkdir()
    # Another process may just have swept the folder.
    with suppress(FileNotFoundError):
        trial.rmdir()


def _temporary_name(suffix: str) -> str:
    # Short, whatever the file's own name: names have a limit.
    return f"{TEMPORARY}{secrets.token_hex(6)}{suffix}"
