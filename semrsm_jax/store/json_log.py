"""A log that programs read: a JSON object a line."""

import json
import os
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

# Called as write(event, what is known of it).
Write = Callable[[str, Mapping[str, Any]], None]


@contextmanager
def json_log(path: str | os.PathLike | None) -> Iterator[Write]:
    """Yields what appends an event to a file until the block ends; nothing for None."""
    if path is None:
        yield lambda event, fields: None
        return
    try:
        # Appended a line at a time, so that several processes may share a file.
        stream = Path(path).open("a", encoding="utf-8", buffering=1)
    except OSError as error:
        raise ValueError(
            f"JSON log {path} cannot be written: {error.strerror or error}"
        ) from error

    def write(event: str, fields: Mapping[str, Any]) -> None:
        time = datetime.now(UTC).isoformat(timespec="milliseconds")
        line = json.dumps({"time": time, "event": event, **fields}, default=str)
        stream.write(line + "\n")

    with stream:
        yield write
