"""How the output of a layer is read: which axis is which, and where patches begin."""

import math
from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np

from semrsm_jax._layouts import AXES

# Tokens beside a known grid, such as CLS and registers, where their number is unknown.
_MOST_PREFIX_TOKENS = 16


class Stated(NamedTuple):
    """What a model states about its tokens.

    Attributes:
      prefix: the number of tokens before the patches, where all are there; None if it
        states none.
      cls: whether the first of them is a CLS token.
      patch: (height, width) of a patch in pixels; None if unknown.
    """

    prefix: int | None = None
    cls: bool = True
    patch: tuple[int, int] | None = None


class Evidence(NamedTuple):
    """What is known when outputs are read.

    Attributes:
      image: (H, W) of the images.
      stated: what the model states.
      layout: of all outputs with four axes, where the framework has only one.
      maps: the grids of the outputs of convolutions and the like; empty if unknown.
      channels_first: all modules that fix their axes, called with maps, have channels
        first.
    """

    image: tuple[int, int]
    stated: Stated = Stated()
    layout: str | None = None
    maps: frozenset[tuple[int, int]] = frozenset()
    channels_first: bool = False


class Reading(NamedTuple):
    """How the outputs (N, ...) of one layer become tokens.

    Attributes:
      layout: ``"NC"``, ``"NSC"``, ``"NCS"``, ``"NHWC"`` or ``"NCHW"``.
      grid: (rows, columns) of the patches; None if unknown.
      prefix: the number of tokens before the patches; None if unknown.
      cls: whether the first token is a CLS token.
      order: the place of each token, row by row, in the output; None: as it stands.
    """

    layout: str
    grid: tuple[int, int] | None = None
    prefix: int | None = None
    cls: bool = False
    order: np.ndarray | None = None

    def tokens(
        self, output: Any, permute: Callable[[Any, tuple[int, ...]], Any]
    ) -> Any:
        """Brings an output into the form (N, S, C)."""
        if self.layout in AXES:
            output = permute(output, AXES[self.layout])
        output = output.reshape(output.shape[0], -1, output.shape[-1])
        return output if self.order is None else output[:, self.order]


def read_output(
    name: str,
    shape: tuple[int, ...],
    evidence: Evidence,
    *,
    layout: str | None = None,
    prefix: int | None = None,
    own: str | None = None,
    inner: frozenset[str] = frozenset(),
) -> Reading:
    """Decides how a layer's outputs are read.

    Args:
      name: of the layer, for errors.
      shape: of its output, with two to four axes.
      evidence: what is known of the network.
      layout: as the caller states it for this layer.
      prefix: as the caller states it for this layer.
      own: the layout that the module's type, or that of the module which reads its
        output, fixes.
      inner: the layouts that modules inside of it give to outputs of the same shape.

    Raises:
      ValueError: two readings are possible, or none; the error shows them.
    """
    axes = len(shape)
    if layout is not None and len(layout) != axes:
        raise ValueError(
            f"layout: {layout!r} does not fit {name!r}, which gives shape {shape}"
        )
    if axes == 2:
        return Reading("NC")
    if axes == 4:
        layout = (
            layout
            or evidence.layout
            or _layout_of_map(name, shape, evidence, own, inner)
        )
        rows, columns = shape[1:3] if layout == "NHWC" else shape[2:]
        return Reading(layout, (rows, columns), 0)
    layout = layout or own or _layout_of_sequence(name, shape, evidence)
    count = shape[1] if layout == "NSC" else shape[2]
    return _read_sequence(layout, count, prefix, evidence)


def _read_sequence(
    layout: str, count: int, prefix: int | None, evidence: Evidence
) -> Reading:
    """A sequence of `count` tokens; prefix None where two numbers fit, or none."""
    stated = evidence.stated
    fitting = prefix_readings(count, evidence)
    if prefix is None:
        numbers = {number for number, _ in fitting}
        if len(numbers) == 1:
            (prefix,) = numbers
        elif not numbers and not evidence.maps and count > (stated.prefix or 0):
            prefix = stated.prefix  # nothing contradicts what the model states
        cls = bool(prefix) and stated.cls
    else:
        cls = prefix > 0
    grids = {grid for number, grid in fitting if number == prefix}
    return Reading(layout, grids.pop() if len(grids) == 1 else None, prefix, cls)


def prefix_readings(
    count: int, evidence: Evidence
) -> list[tuple[int, tuple[int, int] | None]]:
    """The prefixes and grids that `count` tokens may consist of.

    There are no prefix tokens, or as many as the model states; grids that were seen go
    before those that are only likely.
    """
    stated, fitting = evidence.stated.prefix or 0, []
    likely = _likely_grids(evidence)
    for grids in (evidence.maps, likely):
        for number in sorted({0, stated}):
            for grid in sorted(grids, reverse=True):
                if math.prod(grid) == count - number:
                    fitting.append((number, grid))
        if stated and count == stated and grids is not likely:
            fitting.append((stated, None))
        if fitting:
            break
    return fitting


def _likely_grids(evidence: Evidence) -> set[tuple[int, int]]:
    """Grids that were seen, halved again and again; or parts of the image's size."""
    (height, width), patch = evidence.image, evidence.stated.patch
    if evidence.maps:
        grids = set()
        for grid in evidence.maps:
            while max(grid) > 1:
                grids.add(grid)
                grid = (-(-grid[0] // 2), -(-grid[1] // 2))
        return grids | evidence.maps
    if patch is not None:
        return {(height // patch[0], width // patch[1])}
    strides = range(1, max(height, width) + 1)
    exact = {(height // s, width // s) for s in strides if height % s == 0 == width % s}
    return exact | ({(1, 1)} if height == width else set())


def _layout_of_map(
    name: str,
    shape: tuple[int, ...],
    evidence: Evidence,
    own: str | None,
    inner: frozenset[str],
) -> str:
    """The layout of an output with four axes."""
    grids = {"NCHW": shape[2:], "NHWC": shape[1:3]}
    likely = _likely_grids(evidence) | {(1, 1)}  # what is pooled
    if own is not None and grids[own] in likely:
        return own
    fitting = [layout for layout, grid in grids.items() if grid in likely]
    if len(fitting) == 1:
        return fitting[0]
    if (fitting and evidence.channels_first) or inner == {"NCHW"}:
        return "NCHW"
    texts = {
        layout: f"{layout!r}, {grid[0]} x {grid[1]} tokens of "
        f"{shape[1] if layout == 'NCHW' else shape[3]} channels"
        for layout, grid in grids.items()
    }
    fits = "both fit" if fitting else "neither fits"
    raise _ambiguous(name, shape, texts, fits, evidence)


def _layout_of_sequence(name: str, shape: tuple[int, ...], evidence: Evidence) -> str:
    """The layout of an output with three axes; tokens come first wherever that fits."""
    count = shape[1]
    beside = [count - math.prod(grid) for grid in evidence.maps]
    if (
        not evidence.maps
        or count == 1
        or prefix_readings(count, evidence)
        or any(0 < number <= _MOST_PREFIX_TOKENS for number in beside)
    ):
        return "NSC"
    texts = {
        "NSC": f"'NSC', {count} tokens of {shape[2]} channels",
        "NCS": f"'NCS', {shape[2]} tokens of {count} channels",
    }
    raise _ambiguous(name, shape, texts, "the first does not fit", evidence)


def _ambiguous(
    name: str,
    shape: tuple[int, ...],
    texts: dict[str, str],
    fits: str,
    evidence: Evidence,
) -> ValueError:
    """The error that shows both readings."""
    first, second = texts
    known = ", ".join(f"{h} x {w}" for h, w in sorted(evidence.maps, reverse=True)[:4])
    where = f"the grids of this network ({known})" if known else "the image's size"
    return ValueError(
        f"layers: {name!r} gives shape {shape}, which may be read as "
        f"{texts[first]}, or as {texts[second]}; {fits} {where}. "
        f"State it: layout={{{name!r}: {first!r}}} or {second!r}"
    )
