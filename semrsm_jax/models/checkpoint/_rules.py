"""Key tables: the name of each parameter in a checkpoint.

A table is a tuple of rules, one for each parameter. In a rule's names and path `#` is
the index of a layer and `&` that index plus one (torchvision counts stages from 1), in
their order in the path; `@` is the prefix that a network with a head puts before its
backbone, and that the bare backbone lacks.
"""

import itertools
import re
from collections.abc import Iterable, Iterator, Mapping
from typing import NamedTuple

import numpy as np

Shape = tuple[int, ...]
Name = str | tuple[str, ...]  # several are joined along the first axis


class Transform(NamedTuple):
    """How a torch tensor becomes a parameter here.

    Attributes:
      axes: the order in which its axes are taken; None keeps them.
      lead: leading axes of length one, which the checkpoint lacks.
    """

    axes: tuple[int, ...] | None = None
    lead: int = 0

    def apply(self, array: np.ndarray) -> np.ndarray:
        """Converts a tensor of the checkpoint to the parameter, as a view."""
        array = array if self.axes is None else array.transpose(self.axes)
        return array[(None,) * self.lead]

    def source_shape(self, shape: Shape) -> Shape:
        """The shape in the checkpoint of a parameter of this shape."""
        shape = shape[self.lead :]
        axes = range(len(shape)) if self.axes is None else self.axes
        return tuple(shape[axes.index(axis)] for axis in range(len(shape)))


SAME = Transform()
MATRIX = Transform((1, 0))  # torch keeps (out, in)
KERNEL = Transform((2, 3, 1, 0))  # torch keeps (out, in, height, width)
TRANSPOSED = Transform((0, 2, 3, 1))  # torch keeps (in, out, height, width)


class Rule(NamedTuple):
    """A parameter's path, its names in checkpoints, and its transform.

    `names` are alternatives; the first is what the hub's checkpoints use.
    """

    path: str
    names: tuple[Name, ...]
    transform: Transform


def _leaf(name: Name, leaf: str) -> Name:
    """Appends the name of a tensor to that of its module; `_` ends a bare prefix."""
    if isinstance(name, tuple):
        return tuple(str(_leaf(part, leaf)) for part in name)
    return f"{name}{leaf}" if name.endswith("_") else f"{name}.{leaf}"


def tensor(path: str, *names: Name, lead: int = 0) -> tuple[Rule, ...]:
    """A parameter that is not the weight of a module."""
    return (Rule(path, names, Transform(lead=lead)),)


def _module(
    path: str, names: tuple[Name, ...], leaves: Mapping[str, tuple[str, Transform]]
) -> tuple[Rule, ...]:
    return tuple(
        Rule(f"{path}.{ours}", tuple(_leaf(name, theirs) for name in names), transform)
        for ours, (theirs, transform) in leaves.items()
    )


def dense(path: str, *names: Name) -> tuple[Rule, ...]:
    """A linear layer; a rule for an absent bias is not used."""
    leaves = {"kernel": ("weight", MATRIX), "bias": ("bias", SAME)}
    return _module(path, names, leaves)


def conv(path: str, *names: Name) -> tuple[Rule, ...]:
    """A convolution of images."""
    leaves = {"kernel": ("weight", KERNEL), "bias": ("bias", SAME)}
    return _module(path, names, leaves)


def upsampling(path: str, *names: Name) -> tuple[Rule, ...]:
    """A transposed convolution of images."""
    leaves = {"kernel": ("weight", TRANSPOSED), "bias": ("bias", SAME)}
    return _module(path, names, leaves)


def norm(path: str, *names: Name) -> tuple[Rule, ...]:
    """A layer or group normalization."""
    leaves = {"scale": ("weight", SAME), "bias": ("bias", SAME)}
    return _module(path, names, leaves)


def batch_norm(path: str, *names: Name) -> tuple[Rule, ...]:
    """A batch normalization with its running statistics."""
    statistics = {"mean": ("running_mean", SAME), "var": ("running_var", SAME)}
    return norm(path, *names) + _module(path, names, statistics)


class Source(NamedTuple):
    """The source of one parameter in a checkpoint: tensors of one shape, joined."""

    names: tuple[str, ...]
    shape: Shape
    transform: Transform


def sources(
    rules: Iterable[Rule], prefixes: tuple[str, ...], shapes: Mapping[str, Shape]
) -> Iterator[tuple[str, tuple[Source, ...]]]:
    """Lists for each parameter path the possible sources of its values.

    Raises:
      KeyError: a parameter has no rule: the table is incomplete.
    """
    table = {rule.path: rule for rule in rules}
    for path, shape in shapes.items():
        rule = table[re.sub(r"(?<=\.)\d+(?=\.|$)", "#", path)]
        indices = re.findall(r"(?<=\.)(\d+)(?=\.|$)", path)
        whole = rule.transform.source_shape(shape)
        options = []
        for name, prefix in itertools.product(rule.names, prefixes):
            parts = (name,) if isinstance(name, str) else name
            filled = tuple(_fill(part, indices, prefix) for part in parts)
            each = (whole[0] // len(parts), *whole[1:]) if len(parts) > 1 else whole
            options.append(Source(filled, each, rule.transform))
        yield path, tuple(dict.fromkeys(options))


def _fill(name: str, indices: list[str], prefix: str) -> str:
    numbers = iter(indices)

    def number(mark: re.Match) -> str:
        return str(int(next(numbers)) + (mark.group() == "&"))

    return re.sub("[#&]", number, name.replace("@", prefix))
