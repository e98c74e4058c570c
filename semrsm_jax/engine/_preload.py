"""What the workers of a local cluster load when they start."""

import signal
from typing import Any


def dask_setup(worker: Any) -> None:
    """Leaves Ctrl-C to the process that started the workers, which then ends them."""
    del worker
    signal.signal(signal.SIGINT, signal.SIG_IGN)
