"""The interface of a framework, whose networks features are extracted from."""

import importlib
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager
from typing import Any, NamedTuple, Protocol, cast

from semrsm_jax.features._readings import Reading, Stated
from semrsm_jax.features._tokens import TokenRule

# Called as call(model, images), in place of model(images).
Call = Callable[[Any, Any], Any]
Forward = Callable[[Any], Mapping[str, Any]]
Read = Callable[[TokenRule], tuple[Reading, slice]]


class Network(NamedTuple):
    """A model with all that is needed to call it.

    Attributes:
      model: of one of the frameworks.
      variables: of a flax.linen module.
      call: how the model is called; None calls it with the images alone.
      random: whether a torch model may be random in its forward pass.
    """

    model: Any
    variables: Any = None
    call: Call | None = None
    random: bool = False


class ModuleKind(NamedTuple):
    """A module as the search for blocks sees it.

    Attributes:
      name: dotted.
      kind: the name of its class.
      container: it is a list of modules, called one after the other or by its owner.
    """

    name: str
    kind: str
    container: bool = False


class Backend(Protocol):
    """One framework; a module of functions."""

    def modules(self, network: Network, images: Any) -> list[ModuleKind]:
        """The layers whose output can be extracted."""
        ...

    def outputs(
        self, network: Network, layers: Sequence[str], images: Any
    ) -> Mapping[str, tuple[Any, Read]]:
        """Shape and dtype of what each layer that is called gives, and how to read it.

        Outputs that are not arrays are left out.
        """
        ...

    def stated(self, network: Network) -> Stated:
        """What the model states about its tokens."""
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


def images_error(images: Any, error: Exception) -> ValueError:
    """The error for images that a model cannot take."""
    return ValueError(
        f"images: the model cannot take shape {tuple(images.shape)} {images.dtype}, "
        "expected (N, H, W, C) with the sizes and channels that it was built for "
        f"({type(error).__name__}: {error})"
    )
