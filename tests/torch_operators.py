"""torchvision beside a build of torch that its compiled operators do not fit.

There is no CPU wheel of torchvision for every CPU wheel of torch. Networks need none of
its operators, but importing it, and so timm, fails unless two of them are declared.
"""

import importlib.abc
import importlib.machinery
import sys
from pathlib import Path

_OPERATORS = "nms", "qnms"
_kept = []  # a library is undeclared when it is collected


class _Declaring(importlib.abc.MetaPathFinder):
    """Declares the operators before torchvision is imported for the first time."""

    def find_spec(self, name, path=None, target=None):
        if name == "torchvision" and not _kept:
            spec = importlib.machinery.PathFinder.find_spec(name)
            if spec is not None and spec.origin is not None:
                _declare(Path(spec.origin).parent)
        return None


def _declare(folder: Path) -> None:
    import torch

    try:
        torch.ops.load_library(next(folder.glob("_C.*")))
    except (OSError, StopIteration):
        library = torch.library.Library("torchvision", "DEF")
        for operator in _OPERATORS:
            library.define(
                f"{operator}(Tensor dets, Tensor scores, float iou_threshold) -> Tensor"
            )
        _kept.append(library)


def install() -> None:
    """Makes torchvision importable in this process."""
    sys.meta_path.insert(0, _Declaring())
