"""flax.nnx networks: the chosen layers sow their output.

`nnx.capture(..., method_outputs=...)` would record every method of every module, by
patching the classes themselves, and only methods that a class defines in its own body:
it misses a module that inherits its `__call__`. Here only the chosen layers sow their
output, from a subclass made on the fly. That happens on a copy of the model, inside the
traced function, so the caller's model and its classes do not change. The compiler
removes all computation after the last of these layers.
"""

import functools
import types
from collections.abc import Iterator
from typing import Any

import jax
from flax import nnx
from jaxtyping import Array, Float

from semrsm_jax.features import _flax
from semrsm_jax.features._backend import Call, ModuleKind, Network, images_error
from semrsm_jax.features._readings import Stated


class _LayerOutput(nnx.Intermediate):
    """Separates our outputs from those that the user's modules sow."""


def modules(network: Network, images: Any) -> list[ModuleKind]:
    """The submodules, parents before children, in the order of definition.

    A shared module is listed under each of its paths. Containers (`nnx.List`,
    `nnx.Dict`) are only part of a path.
    """
    del images
    return [
        ModuleKind(name, type(module).__name__)
        for name, module in _submodules(network.model)
    ]


def stated(network: Network) -> Stated:
    """The `prefix_tokens` and `patch_size` of the model's config or of the model."""
    return _flax.stated_by((getattr(network.model, "config", None), network.model))


def arrays(network: Network) -> Iterator[tuple[str, Any]]:
    """Parameters and statistics, without the state of random numbers."""
    state = nnx.state(network.model, nnx.Not(nnx.RngState))
    for path, leaf in jax.tree_util.tree_leaves_with_path(state):
        yield jax.tree_util.keystr(path), leaf


def _prepared(network: Network) -> tuple[Any, Any]:
    """The graph and the state of a copy in evaluation mode."""
    # Evaluation mode belongs to the static part: set before the split, it gives a model
    # in either mode the same compiled function.
    copy = nnx.merge(*nnx.split(network.model))
    copy.eval()
    return nnx.split(copy)


def captured(
    graphdef: Any,
    state: Any,
    images: Float[Array, "N H W C"],
    layers: tuple[str, ...],
    call: Call | None,
) -> dict[str, Any]:
    """Runs a fresh copy of the model: the outputs of the layers that are called."""
    model = nnx.merge(graphdef, state)
    named = dict(_submodules(model))
    # A shared module has one canonical path, under which nnx files what it sows.
    paths = {id(module): path for path, module in nnx.iter_modules(model)}
    for module in {id(named[name]): named[name] for name in layers}.values():
        object.__setattr__(module, "__class__", _sowing(type(module)))
    try:
        run = nnx.capture(call or (lambda m, x: m(x)), _LayerOutput)
        _, sown = run(model, images)
    except (TypeError, ValueError) as error:
        raise images_error(images, error) from error
    values = {path[:-1]: leaf.get_value() for path, leaf in nnx.to_flat_state(sown)}
    return {
        name: values[paths[id(named[name])]]
        for name in layers
        if paths[id(named[name])] in values
    }


@functools.cache
def _sowing(module_type: type[nnx.Module]) -> type[nnx.Module]:
    """Makes a subclass whose `__call__`, inherited or not, sows what it returns."""

    def call(self: Any, *args: Any, **kwargs: Any) -> Any:
        output = module_type.__call__(self, *args, **kwargs)
        self.sow(_LayerOutput, "output", output, lambda _, last: last, lambda: None)
        return output

    body = {"__call__": call, "__module__": module_type.__module__}
    return types.new_class(
        module_type.__name__, (module_type,), exec_body=lambda scope: scope.update(body)
    )


def _submodules(
    node: Any, prefix: str = "", ancestors: tuple[int, ...] = ()
) -> Iterator[tuple[str, nnx.Module]]:
    """Walks the submodules depth first, parents first, in order of definition."""
    if isinstance(node, nnx.Pytree):
        children = vars(node).items()
    elif isinstance(node, dict):
        children = node.items()
    elif isinstance(node, list | tuple):
        children = enumerate(node)
    else:
        return
    for key, child in children:
        if id(child) in ancestors:  # a reference to a parent
            continue
        name = f"{prefix}{key}"
        if isinstance(child, nnx.Module) and not isinstance(child, nnx.List | nnx.Dict):
            yield name, child
        yield from _submodules(child, f"{name}.", (*ancestors, id(node)))


running = functools.partial(_flax.running, _prepared, captured)
outputs = functools.partial(_flax.outputs, _prepared, captured)
