"""Checks a checkpoint's keys against a network's, before any value is read."""

import re
from collections.abc import Mapping

import numpy as np
from flax import nnx

from semrsm_jax.models._layers import is_floating
from semrsm_jax.models.checkpoint._files import Tensors
from semrsm_jax.models.checkpoint._rules import Architecture, Shape, Source, sources
from semrsm_jax.models.weights import parameter_paths


def match_keys(
    where: str, architecture: Architecture, model: nnx.Module, tensors: Tensors
) -> dict[str, Source]:
    """Finds for each parameter of a network the tensors that it is read from.

    Raises:
      TypeError: a required tensor is not floating-point.
      ValueError: keys are missing, unexpected or of another shape; all are listed.
    """
    shapes = {path: leaf.shape for path, leaf in parameter_paths(model).items()}
    chosen: dict[str, Source] = {}
    missing: list[str] = []
    misshapen: list[str] = []
    prefixes = _most_used_first(architecture, shapes, tensors)
    for path, options in sources(architecture.rules, prefixes, shapes):
        # The prefix that most keys have; the first, the hub's, if no key fits.
        source = max(options, key=lambda o: sum(n in tensors for n in o.names))
        chosen[path] = source
        missing += [name for name in source.names if name not in tensors]
        misshapen += [
            f"{name}: {tensors[name].shape}, expected {source.shape}"
            for name in source.names
            if name in tensors and tensors[name].shape != source.shape
        ]
    used = {name for source in chosen.values() for name in source.names}
    ignored = re.compile("|".join(architecture.ignored) or r"(?!)")
    unexpected = [k for k in tensors if k not in used and not ignored.fullmatch(k)]
    faults = {"missing": missing, "unexpected": unexpected, "misshapen": misshapen}
    if any(faults.values()):
        listed = "\n".join(
            f"  {len(keys)} {fault}: {'; '.join(sorted(keys))}"
            for fault, keys in faults.items()
            if keys
        )
        raise ValueError(
            f"{where} does not hold the weights of a {type(model).__name__} with this "
            f"config:\n{listed}"
        )
    wrong = [
        f"{name}: {tensors[name].dtype}"
        for name in sorted(used)
        if not isinstance(tensors[name].dtype, np.dtype)
        or not is_floating(tensors[name].dtype)
    ]
    if wrong:
        raise TypeError(
            f"{where} must hold weights of float64, float32, float16 or bfloat16, got "
            f"{'; '.join(wrong)}"
        )
    return chosen


def _most_used_first(
    architecture: Architecture, shapes: Mapping[str, Shape], tensors: Tensors
) -> tuple[str, ...]:
    """Orders the prefixes, so that errors name missing keys like their neighbors."""

    def matches(prefix: str) -> int:
        places = sources(architecture.rules, (prefix,), shapes)
        return sum(
            n in tensors for _, options in places for o in options for n in o.names
        )

    return tuple(sorted(architecture.prefixes, key=matches, reverse=True))
