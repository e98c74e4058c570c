"""flax.linen networks, by `capture_intermediates`."""

import functools
from collections.abc import Iterator
from typing import Any

import jax
from flax import linen as nn
from flax.errors import ScopeParamShapeError
from jaxtyping import Array, Float

from semrsm_jax.features import _flax
from semrsm_jax.features._backend import Call, ModuleKind, Network, images_error
from semrsm_jax.features._readings import Stated

_COLLECTION = "intermediates"


def modules(network: Network, images: Any) -> list[ModuleKind]:
    """The submodules that a call reaches, parents before children.

    A module makes its submodules when it is called, so it is called with shapes only.
    """
    module, variables = _bound(network)
    if images is None:
        raise ValueError(
            "images must be given for a flax.linen module, which makes its layers when "
            "it is called: an array (N, H, W, C), or jax.ShapeDtypeStruct"
        )
    called, kinds = [], {}

    def note(submodule: nn.Module, method: str) -> bool:
        if method == "__call__":
            called.append(submodule.path)
            kinds[submodule.path] = type(submodule).__name__
        return False

    def run(variables: Any, images: Any) -> None:
        _apply(module, variables, images, note, network.call)

    shape = jax.ShapeDtypeStruct(images.shape, images.dtype)
    jax.eval_shape(run, variables, shape)
    # Modules are recorded when they return, children first.
    first: dict[tuple[str, ...], int] = {}
    for place, path in enumerate(called):
        for end in range(1, len(path) + 1):
            first.setdefault(path[:end], place)
    paths = {path for path in called if path}
    ordered = sorted(
        paths, key=lambda path: [first[path[: k + 1]] for k in range(len(path))]
    )
    return [ModuleKind(".".join(path), kinds[path]) for path in ordered]


def stated(network: Network) -> Stated:
    """The module's own `prefix_tokens` and `patch_size`."""
    return _flax.stated_by((network.model,))


def arrays(network: Network) -> Iterator[tuple[str, Any]]:
    """The variables."""
    _, variables = _bound(network)
    for path, leaf in jax.tree_util.tree_leaves_with_path(variables):
        yield jax.tree_util.keystr(path), leaf


def _bound(network: Network) -> tuple[nn.Module, Any]:
    """The module and its variables; a bound module holds its own."""
    module, variables, *_ = network
    if variables is None and module.scope is not None:
        return module.unbind()
    if variables is None:
        raise ValueError(
            "variables must be given for a flax.linen module: what its init returned, "
            "such as {'params': ...}"
        )
    return module, variables


def _apply(
    module: nn.Module, variables: Any, images: Any, wanted: Any, call: Call | None
) -> Any:
    try:
        _, state = module.apply(
            variables,
            images,
            method=call,
            capture_intermediates=wanted,
            mutable=[_COLLECTION],
        )
    except (TypeError, ValueError, ScopeParamShapeError) as error:
        raise images_error(images, error) from error
    return state.get(_COLLECTION, {})


def captured(
    module: nn.Module,
    variables: Any,
    images: Float[Array, "N H W C"],
    layers: tuple[str, ...],
    call: Call | None,
) -> dict[str, Any]:
    """The outputs of the layers, of the last call of each."""

    def wanted(submodule: nn.Module, method: str) -> bool:
        return method == "__call__" and ".".join(submodule.path) in layers

    intermediates = _apply(module, variables, images, wanted, call)
    values = {}
    for name in layers:
        node = intermediates
        for part in name.split("."):
            node = node[part]
        values[name] = node["__call__"][-1]
    return values


# Modules compare by value, as `_flax.running` needs it.
running = functools.partial(_flax.running, _bound, captured)
outputs = functools.partial(_flax.outputs, _bound, captured)
