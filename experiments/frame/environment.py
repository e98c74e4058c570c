"""Where and with what an experiment ran, and its results in types that JSON knows."""

import dataclasses
import math
import os
import platform
import re
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from experiments.frame.worker import usable_cores
from semrsm_jax.store import package_version


def environment(packages: Iterable[str]) -> dict[str, Any]:
    """The machine and the versions of `packages`; "unknown" for one not installed."""
    return {
        "cpu": _cpu_name(),
        "cores": os.cpu_count(),
        "usable_cores": usable_cores(),
        "platform": platform.platform(),
        "python": platform.python_version(),
        "versions": {name: package_version(name) for name in packages},
    }


def plain(value: Any) -> Any:
    """Dicts, lists and numbers as they are, NaN and infinity as None, else text.

    A NamedTuple becomes a dict, and so does a dataclass, with its class as "type".
    """
    if hasattr(value, "_asdict"):
        value = value._asdict()
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        fields = {f.name: getattr(value, f.name) for f in dataclasses.fields(value)}
        value = {"type": type(value).__name__, **fields}
    if isinstance(value, dict):
        return {str(key): plain(entry) for key, entry in value.items()}
    if isinstance(value, list | tuple):
        return [plain(entry) for entry in value]
    if isinstance(value, float):
        return float(value) if math.isfinite(value) else None
    if callable(value):  # its text may hold an address, which says nothing
        return getattr(value, "__qualname__", type(value).__name__)
    return value if value is None or isinstance(value, bool | int) else str(value)


def described(settings: Any) -> str:
    """Settings by their repr; functions without their address, which says nothing."""
    return re.sub(r"<function ([^ >]+) at 0x\w+>", r"\1", repr(settings))


def _cpu_name() -> str:
    """As Linux calls it; the `platform` module often knows the architecture only."""
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
    except OSError:
        lines = []
    names = (line.partition(":")[2] for line in lines if line.startswith("model name"))
    return next(names, platform.processor()).strip() or platform.machine()
