"""A layer's output read, and replaced, so that what follows it can be run alone."""

from collections.abc import Callable
from typing import Any

import jax
from flax import nnx
from jaxtyping import Array, Float

Logits = Callable[[Any, Float[Array, "N H W 3"]], Float[Array, "N P"]]


class _Recorded(nnx.Module):
    """Runs a layer and hands its output to a function as well."""

    def __init__(self, layer: Any, keep: Callable[[Array], None]) -> None:
        self.layer, self.keep = layer, keep

    def __call__(self, *args: Any, **settings: Any) -> Array:
        output = self.layer(*args, **settings)
        self.keep(output)
        return output


class _Given(nnx.Module):
    """Gives an output computed before, whatever comes in."""

    def __init__(self, output: Array) -> None:
        self.output = nnx.Variable(output)

    def __call__(self, *args: Any, **settings: Any) -> Array:
        return self.output[...]


def output_of(
    model: Any, layer: str, call: Logits, images: Float[Array, "N H W 3"]
) -> Float[Array, "N ... C"]:
    """What a layer, by its dotted path, gives for the images, as it gives it.

    The network, in evaluation mode, is left as it was.
    """
    split = nnx.split(model)

    @jax.jit
    def run(images: Array) -> Array:
        outputs: list[Array] = []
        copy = nnx.merge(*split)
        _replace(copy, layer, lambda old: _Recorded(old, outputs.append))
        call(copy, images)
        return outputs[-1]

    return run(images)


def rest_of(
    model: Any, layer: str, call: Logits, images: Float[Array, "N H W 3"]
) -> Callable[[Float[Array, "N ... C"]], Float[Array, "N P"]]:
    """What the network makes of another output of a layer, compiled.

    What leads to the layer is not computed: nothing reads it. Images are any of the
    right shape.
    """
    split = nnx.split(model)

    @jax.jit
    def run(output: Array) -> Array:
        copy = nnx.merge(*split)
        _replace(copy, layer, lambda _: _Given(output))
        return call(copy, images)

    return run


def _replace(model: Any, path: str, by: Callable[[Any], Any]) -> None:
    *parents, last = path.split(".")
    for name in parents:
        model = model[int(name)] if name.isdigit() else getattr(model, name)
    if last.isdigit():
        model[int(last)] = by(model[int(last)])
    else:
        setattr(model, last, by(getattr(model, last)))
