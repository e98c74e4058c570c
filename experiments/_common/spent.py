"""How long the work of an experiment took, however many runs it was spread over."""

import json
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from semrsm_jax.store import new_file

_FILE = "seconds.json"


@contextmanager
def time_kept(folder: Path, finished: bool) -> Iterator[None]:
    """Adds the time of what runs inside to that of earlier runs, also if it is stopped.

    Args:
      folder: of the experiment's finished steps.
      finished: its results are there, and are only read again: nothing is added.
    """
    start = time.perf_counter()
    try:
        yield
    finally:
        if not finished:
            total = seconds(folder) + time.perf_counter() - start
            folder.mkdir(parents=True, exist_ok=True)
            with new_file(folder / _FILE, overwrite=True) as temporary:
                temporary.write_text(json.dumps(total))


def seconds(folder: Path) -> float:
    """The time of all runs so far, 0 where there was none."""
    try:
        return float(json.loads((folder / _FILE).read_text()))
    except (OSError, ValueError, TypeError):
        return 0.0
