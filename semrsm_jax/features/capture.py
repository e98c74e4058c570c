"""Representations (N, S, C) from the named layers of any flax.nnx network.

`nnx.capture(..., method_outputs=...)` would record every method of every module, by
patching the classes themselves, and only methods that a class defines in its own body:
a module that inherits its `__call__` is passed over. Here the layers asked for, and
only they, sow their output from a subclass made on the fly. That happens on a copy of
the model, inside the traced function, so the caller's model and its classes are never
touched.
"""

import difflib
import functools
import types
from collections.abc import Callable, Iterator, Sequence
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from flax import nnx
from jaxtyping import Array, Float

from semrsm_jax import _checks
from semrsm_jax.representations import to_tokens

_LAYOUTS = {4: "NHWC", 3: "NSC"}


class _LayerOutput(nnx.Intermediate):
    """Keeps our outputs apart from what the user's modules sow themselves."""


def list_layers(model: nnx.Module) -> list[str]:
    """Lists the submodules whose output `extract` can capture.

    Args:
      model: any nnx module.

    Returns:
      Dotted paths such as `"vit.encoder.layer.3"`, parents before children, in order
      of assignment of the attributes. A module that is shared stands under each
      of its paths. Containers (`nnx.List`, `nnx.Dict`) are part of a path only.

    Raises:
      TypeError: `model` is not an `nnx.Module`.
    """
    if not isinstance(model, nnx.Module):
        raise TypeError(f"model must be a flax.nnx.Module, got {type(model).__name__}")
    return [name for name, _ in _submodules(model)]


def extract(
    model: nnx.Module,
    images: Float[Array, "N H W C"],
    layers: Sequence[str],
    *,
    batch_size: int = 32,
    progress: Callable[[int, int], object] | None = None,
) -> dict[str, Float[Array, "N S C"]]:
    """Computes the representations of images in some layers of a network.

    The network runs in evaluation mode on a copy, so the model given is not changed.
    All batches pass through one compiled function; the last one is padded, and a later
    call with the same architecture, layers and batch shape compiles nothing. Images
    that are traced (inside the caller's `jit` or `grad`) go through in a single pass.

    Args:
      model: any nnx module that is called as `model(images)`.
      images: (N, H, W, C), floating; NumPy or JAX, already scaled and normalised as the
        network expects it.
      layers: names from `list_layers`.
      batch_size: images a pass; a smaller N is one pass of N images.
      progress: called as `progress(done, total)`, in images, when a batch is computed.

    Returns:
      For each name the tokens (N, S, C) in the dtype of the layer. Outputs (N, H, W, C)
      are flattened row by row, (N, S, C) stay, and (N, C) become one token. A layer
      that runs several times for one input gives the output of its last call.

    Raises:
      TypeError: `model` is no nnx module, `images` no floating array, `layers` no
        sequence of strings, `batch_size` no integer, `progress` not callable, or a
        layer gives something other than an array.
      ValueError: `images` has another rank, is empty, holds NaN or infinity or does not
        fit the model; `layers` is empty or holds an unknown name; `batch_size` is below
        1; a layer is not called, or its output has none of the shapes above.
    """
    names = _check_layers(layers, list_layers(model))
    _check_images(images)
    batch_size = min(_checks.at_least("batch_size", batch_size, 1), images.shape[0])
    if progress is not None and not callable(progress):
        raise TypeError(f"progress must be callable or None, got {progress!r}")
    # Evaluation mode belongs to the static part: set before the split, it gives a model
    # in either mode the same compiled function.
    copy = nnx.merge(*nnx.split(model))
    copy.eval()
    graphdef, state = nnx.split(copy)
    if _checks.is_traced(images):
        outputs = _compiled_forward(graphdef, state, images, names)
        return {name: outputs[name] for name in names}

    # All are checked before the first is computed, a batch at a time on the device.
    for batch in _batches(images, batch_size):
        _checks.finite("images", batch)
    done, results = 0, []
    for batch in _batches(images, batch_size):
        size = batch.shape[0]
        if size < batch_size:
            batch = jnp.pad(batch, ((0, batch_size - size), (0, 0), (0, 0), (0, 0)))
        outputs = _compiled_forward(graphdef, state, batch, names)
        if size < batch_size:
            outputs = {name: tokens[:size] for name, tokens in outputs.items()}
        results.append(outputs)
        done += size
        if progress is not None:
            jax.block_until_ready(outputs)  # or it would report what is only queued
            progress(done, images.shape[0])
    # In the order asked for: a dict that comes out of jit is sorted.
    return {name: jnp.concatenate([r[name] for r in results]) for name in names}


def _batches(images: Any, batch_size: int) -> Iterator[jax.Array]:
    """Cuts the images into batches, brought to the device one at a time."""
    for start in range(0, images.shape[0], batch_size):
        yield jnp.asarray(images[start : start + batch_size])


def _forward(
    graphdef: Any, state: Any, images: Float[Array, "N H W C"], names: tuple[str, ...]
) -> dict[str, Float[Array, "N S C"]]:
    """Runs a fresh copy of the model and returns the tokens of the layers `names`."""
    model = nnx.merge(graphdef, state)
    modules = dict(_submodules(model))
    # A shared module has one canonical path, under which nnx files what it sows.
    paths = {id(module): path for path, module in nnx.iter_modules(model)}
    for module in {id(modules[name]): modules[name] for name in names}.values():
        object.__setattr__(module, "__class__", _sowing(type(module)))
    try:
        _, sown = nnx.capture(model, _LayerOutput)(images)
    except (TypeError, ValueError) as error:
        raise ValueError(
            f"images: the model cannot take shape {images.shape} {images.dtype}, "
            "expected (N, H, W, C) with the sizes and channels that it was built for "
            f"({type(error).__name__}: {error})"
        ) from error
    outputs = {path[:-1]: leaf.get_value() for path, leaf in nnx.to_flat_state(sown)}
    tokens = {}
    for name in names:
        path = paths[id(modules[name])]
        if path not in outputs:
            raise ValueError(f"layers: the model does not call {name!r}")
        tokens[name] = _layer_tokens(name, outputs[path], images.shape[0])
    return tokens


# The names and the graph are compared by value, so equal models share a compilation.
_compiled_forward = jax.jit(_forward, static_argnames=("graphdef", "names"))


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
        if id(child) in ancestors:  # a child that knows its parent
            continue
        name = f"{prefix}{key}"
        if isinstance(child, nnx.Module) and not isinstance(child, nnx.List | nnx.Dict):
            yield name, child
        yield from _submodules(child, f"{name}.", (*ancestors, id(node)))


def _layer_tokens(name: str, output: Any, samples: int) -> Float[Array, "N S C"]:
    """Brings the captured output of one layer into the form (N, S, C)."""
    if not isinstance(output, jax.Array):
        raise TypeError(
            f"layers: {name!r} gives {type(output).__name__}, expected an array"
        )
    # Layers stacked by nnx.scan or nnx.vmap give their own axis first.
    if output.ndim not in (2, *_LAYOUTS) or output.shape[0] != samples:
        raise ValueError(
            f"layers: {name!r} gives shape {output.shape}, expected (N, H, W, C), "
            f"(N, S, C) or (N, C) with N = {samples}"
        )
    if output.ndim == 2:
        return output[:, None, :]
    return to_tokens(output, layout=_LAYOUTS[output.ndim])


def _check_layers(layers: Any, known: list[str]) -> tuple[str, ...]:
    """Returns the names as a tuple once each is known to be a layer."""
    if isinstance(layers, str):
        raise TypeError(
            f"layers must be a sequence of names, got the string {layers!r}; "
            f"write [{layers!r}]"
        )
    is_sequence = isinstance(layers, Sequence)
    if not is_sequence or not all(isinstance(name, str) for name in layers):
        raise TypeError(f"layers must be a sequence of strings, got {layers!r}")
    if not layers:
        raise ValueError("layers must name at least one layer, got none")
    for name in layers:
        if name not in known:
            near = difflib.get_close_matches(name, known, n=3, cutoff=0.4) or known[:5]
            raise ValueError(f"layers: unknown layer {name!r}; nearest are {near}")
    return tuple(dict.fromkeys(layers))


def _check_images(images: Any) -> None:
    """Refuses images that are not a floating array (N, H, W, C)."""
    if not isinstance(images, jax.Array | np.ndarray):
        raise TypeError(
            f"images must be a NumPy or JAX array, got {type(images).__name__}"
        )
    if not jnp.issubdtype(images.dtype, jnp.floating):
        raise TypeError(
            f"images must be floating, got dtype {images.dtype}; scale them as the "
            "network was trained, for example images.astype('float32') / 255"
        )
    if images.ndim != 4 or 0 in images.shape:
        raise ValueError(
            f"images must have shape (N, H, W, C), none of them 0, got {images.shape}"
        )
