"""The interface of a framework, whose networks features are extracted from."""

import importlib
from collections.abc import Callable, Iterator, Mapping
from contextlib import AbstractContextManager
from typing import Any, NamedTuple, Protocol, cast

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

from semrsm_jax.features._tokens import TokenRule

# Called as call(model, images), in place of model(images).
Call = Callable[[Any, Any], Any]
Forward = Callable[[Any], Mapping[str, Any]]


class Network(NamedTuple):
    """A model with all that is needed to call it.

    Attributes:
      model: of one of the frameworks.
      variables: of a flax.linen module.
      call: how the model is called; None calls it with the images alone.
    """

    model: Any
    variables: Any
    call: Call | None


class Backend(Protocol):
    """One framework; a module of functions."""

    layout: str  # of outputs with four axes

    def list_layers(self, network: Network, images: Any) -> list[str]:
        """Dotted names of the layers whose output can be extracted."""
        ...

    def prefix_tokens(self, network: Network) -> int | None:
        """The number of tokens before the patches; None if unknown."""
        ...

    def arrays(self, network: Network) -> Iterator[tuple[str, Any]]:
        """Names and values of the parameters, as arrays."""
        ...

    def running(
        self, network: Network, layers: tuple[str, ...], rule: TokenRule, size: int
    ) -> AbstractContextManager[Forward]:
        """Prepares the network, and restores it at the end.

        Yields a function from images (n, H, W, C), n being at most `size`, to the
        tokens (n, S, C) of each layer.
        """
        ...


# By the framework's base class, so that no framework is imported to look.
_BACKENDS = {
    "flax.nnx.module.Module": "semrsm_jax.features._nnx",
    "flax.linen.module.Module": "semrsm_jax.features._linen",
    "torch.nn.modules.module.Module": "semrsm_jax.features._torch",
}


def backend_of(model: Any) -> Backend:
    """The framework of a model.

    Raises:
      TypeError: the framework is unknown.
    """
    for base in type(model).__mro__:
        module = _BACKENDS.get(f"{base.__module__}.{base.__qualname__}")
        if module is not None:
            return cast(Backend, importlib.import_module(module))
    raise TypeError(
        "model must be a flax.nnx.Module, flax.linen.Module or torch.nn.Module, got "
        f"{type(model).__name__}"
    )


def fixed_size(
    forward: Callable[[jax.Array], Mapping[str, Float[Array, "size S C"]]], size: int
) -> Forward:
    """Pads smaller batches, so that one compiled function serves all."""

    def padded(images: np.ndarray | jax.Array) -> Mapping[str, Float[Array, "n S C"]]:
        count = images.shape[0]
        batch = jnp.asarray(images)
        if count < size:
            batch = jnp.pad(batch, ((0, size - count), (0, 0), (0, 0), (0, 0)))
        outputs = forward(batch)
        if count == size:
            return outputs
        return {name: tokens[:count] for name, tokens in outputs.items()}

    return padded


def flax_tokens(rule: TokenRule, name: str, output: Any, samples: int) -> jax.Array:
    """The tokens of a flax layer's output.

    Raises:
      TypeError: the output is not an array.
      ValueError: its shape is not one of tokens.
    """
    if not isinstance(output, jax.Array):
        raise TypeError(
            f"layers: {name!r} gives {type(output).__name__}, expected an array"
        )
    return rule(name, output, samples, jnp.transpose)


def images_error(images: Any, error: Exception) -> ValueError:
    """The error for images that a model cannot take."""
    return ValueError(
        f"images: the model cannot take shape {tuple(images.shape)} {images.dtype}, "
        "expected (N, H, W, C) with the sizes and channels that it was built for "
        f"({type(error).__name__}: {error})"
    )
