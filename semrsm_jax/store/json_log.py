"""A log that programs read: a JSON object a line."""

import json
import os
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import Any


class JSONLog:
    """A file to which events are appended, a line each; what was there stays."""

    def __init__(self, path: Path) -> None:
        """Use `json_log`."""
        # Appended a line at a time, so that several processes may share a file.
        self._stream = path.open("a", encoding="utf-8", buffering=1)

    def write(self, event: str, fields: Mapping[str, Any]) -> None:
        """Appends an event, with the time and what is known of it."""
        time = datetime.now(UTC).isoformat(timespec="milliseconds")
        line = json.dumps({"time": time, "event": event, **fields}, default=str)
        self._stream.write(line + "\n")

    def close(self) -> None:
        """Closes the file."""
        self._stream.close()


@contextmanager
def json_log(path: str | os.PathLike | None) -> Iterator[JSONLog | None]:
    """Opens a log until the block ends; None for None.

    Raises:
      ValueError: the file cannot be written.
    """
    if path is None:
        yield None
        return
    try:
        log = JSONLog(Path(path))
    except OSError as error:
        raise ValueError(
            f"JSON log {path} cannot be written: {error.strerror or error}"
        ) from error
    try:
        yield log
    finally:
        log.close()
