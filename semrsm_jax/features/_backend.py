"""The interface of a framework, whose networks features are extracted from."""

import importlib
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager
from typing import Any, NamedTuple, Protocol, cast

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

from semrsm_jax.features._blocks import ModuleKind
from semrsm_jax.features._readings import Evidence, Reading, Stated
from semrsm_jax.features._tokens import TokenRule

# Called as call(model, images), in place of model(images).
Call = Callable[[Any, Any], Any]
Forward = Callable[[Any], Mapping[str, Any]]
Read = Callable[[TokenRule], Reading]


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


def flax_tokens(
    rule: TokenRule, name: str, output: Any, images: Float[Array, "N H W C"]
) -> jax.Array:
    """The tokens of a flax layer's output for images; maps are (N, H, W, C).

    Raises:
      TypeError: the output is not an array.
      ValueError: its shape is not one of tokens, or the tokens asked for are unknown.
    """
    if not isinstance(output, jax.Array):
        raise TypeError(
            f"layers: {name!r} gives {type(output).__name__}, expected an array"
        )
    evidence = _flax_evidence(rule, images)
    reading = rule.read(name, output.shape, images.shape[0], evidence)
    kept = rule.rows(name, output.shape, reading, evidence)
    return reading.tokens(output, jnp.transpose)[:, kept]


def _flax_evidence(rule: TokenRule, images: Any) -> Evidence:
    """All that is known of a flax network: maps have channels last."""
    _, height, width, _ = images.shape
    return Evidence((height, width), rule.stated, layout="NHWC")


def flax_outputs(
    outputs: Mapping[str, Any], images: Any
) -> dict[str, tuple[Any, Read]]:
    """The layers of a flax network that give one array, with how each is read."""

    def reader(name: str, shape: tuple[int, ...]) -> Read:
        def read(rule: TokenRule) -> Reading:
            return rule.read(name, shape, images.shape[0], _flax_evidence(rule, images))

        return read

    return {
        name: (output, reader(name, output.shape))
        for name, output in outputs.items()
        if isinstance(output, jax.ShapeDtypeStruct)
    }


def images_error(images: Any, error: Exception) -> ValueError:
    """The error for images that a model cannot take."""
    return ValueError(
        f"images: the model cannot take shape {tuple(images.shape)} {images.dtype}, "
        "expected (N, H, W, C) with the sizes and channels that it was built for "
        f"({type(error).__name__}: {error})"
    )


def stated_by(holders: Iterable[Any]) -> Stated:
    """What the first of some objects that has them states about prefix and patches."""
    facts: dict[str, Any] = {}
    for holder in holders:
        for name in ("prefix_tokens", "patch_size"):
            value = getattr(holder, name, None)
            if value is not None:
                facts.setdefault(name, value)
    match facts.get("patch_size"):
        case int(side):
            patch = (side, side)
        case (int(rows), int(columns)):
            patch = (rows, columns)
        case _:
            patch = None
    return Stated(facts.get("prefix_tokens"), patch=patch)
