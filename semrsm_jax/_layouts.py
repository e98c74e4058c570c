"""Orders of the axes of activations, and which of them an array has."""

import warnings
from collections.abc import Sequence

from semrsm_jax import _checks

# How each layout leads to (N, S, C): the order of axes that brings the channels last.
AXES = {
    "NHWC": (0, 1, 2, 3),
    "NCHW": (0, 2, 3, 1),
    "NSC": (0, 1, 2),
    "NCS": (0, 2, 1),
}
# The layout of an array of so many axes, unless it is given.
_LAYOUT_OF_AXES = {3: "NSC", 4: "NHWC"}


def layout_of(name: str, shape: Sequence[int], layout: str | None) -> str:
    """The layout given, or that of the number of axes; warns where that looks wrong.

    ValueError, which names the activations: it is not in `AXES`, or does not fit the
    axes.
    """
    shape = tuple(shape)
    if layout is None:
        if len(shape) not in _LAYOUT_OF_AXES:
            raise ValueError(
                f"{name} must have 3 axes (N, S, C) or 4 (N, H, W, C), or those of a "
                f"layout that is given; got shape {shape}"
            )
        if len(shape) == 4 and shape[2] == shape[3] != shape[1]:
            warnings.warn(
                f"{name} of shape {shape} is read as (N, H, W, C), of {shape[3]} "
                "channels; if it is (N, C, H, W), as PyTorch has it, give the layout "
                "NCHW, otherwise NHWC",
                stacklevel=3,
            )
        return _LAYOUT_OF_AXES[len(shape)]
    _checks.one_of("layout", layout, tuple(AXES))
    if len(shape) != len(layout):
        raise ValueError(
            f"layout '{layout}' needs {len(layout)} axes, got {name} of shape {shape}"
        )
    return layout
