"""Key tables: the name of each parameter in a checkpoint.

A table is a tuple of rules, one for each parameter. In a rule's names and path `#` is
the index of a layer and `&` that index plus one (torchvision counts stages from 1), in
their order in the path; `@` is the prefix that a network with a head puts before its
backbone, and that the bare backbone lacks.
"""

import functools
import itertools
import re
from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import Any, NamedTuple

import numpy as np
from flax import nnx

from semrsm_jax.models.checkpoint._settings import Settings

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
    leaves: Mapping[str, tuple[str, Transform]], path: str, *names: Name
) -> tuple[Rule, ...]:
    """One rule for each tensor of a module; that of an absent bias is not used."""
    return tuple(
        Rule(f"{path}.{ours}", tuple(_leaf(name, theirs) for name in names), transform)
        for ours, (theirs, transform) in leaves.items()
    )


_BIAS = {"bias": ("bias", SAME)}
_NORM = {"scale": ("weight", SAME), **_BIAS}
_STATISTICS = {"mean": ("running_mean", SAME), "var": ("running_var", SAME)}

dense = functools.partial(_module, {"kernel": ("weight", MATRIX), **_BIAS})
conv = functools.partial(_module, {"kernel": ("weight", KERNEL), **_BIAS})
# A transposed convolution.
upsampling = functools.partial(_module, {"kernel": ("weight", TRANSPOSED), **_BIAS})
# A layer or group normalization.
norm = functools.partial(_module, _NORM)
batch_norm = functools.partial(_module, {**_NORM, **_STATISTICS})


def at(
    places: tuple[str, ...],
    kind: Callable[..., tuple[Rule, ...]],
    ours: str,
    *theirs: Name,
) -> tuple[Rule, ...]:
    """A module or tensor, by its name at each of several places.

    `places` are what stands before `ours` and before each of `theirs`; without these,
    it has our name at the second place too.
    """
    names = (
        tuple(place + part for part in name)
        if isinstance(name, tuple)
        else place + name
        for place, name in zip(places[1:], theirs or (ours,), strict=False)
    )
    return kind(places[0] + ours, *names)


class Architecture(NamedTuple):
    """How to read checkpoints of one `model_type`.

    Attributes:
      classes: the transformers classes that it takes, by the names that a config's
        `architectures` has for them, and whether each has a classifier.
      config: makes our config from the settings, the number of classes (None: no
        classifier) and a dtype.
      build: makes the network from the config, as ``build(config, rngs=...)``.
      rules: the key table.
      prefixes: of the backbone's keys.
      ignored: regular expressions for keys of a checkpoint that are not used here: text
        towers, prompts, buffers.
    """

    classes: Mapping[str, bool]
    config: Callable[[Settings, int | None, Any], Any]
    build: Callable[..., nnx.Module]
    rules: tuple[Rule, ...]
    prefixes: tuple[str, ...]
    ignored: tuple[str, ...] = ()


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
