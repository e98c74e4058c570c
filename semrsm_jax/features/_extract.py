"""Representations (N, S, C) from the named layers of any network."""

import os
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

import jax
import numpy as np
from jaxtyping import Array, Float

from semrsm_jax import _checks
from semrsm_jax.features._backend import Call, Network
from semrsm_jax.features._passes import Extraction, Progress, checked_extraction
from semrsm_jax.features._sources import Images, ImageSource
from semrsm_jax.store import FeatureStore


def extract(
    model: Any,
    images: Images | ImageSource,
    layers: Sequence[str],
    *,
    batch_size: int = 32,
    tokens: str = "all",
    prefix_tokens: int | Mapping[str, int] | None = None,
    layout: str | Mapping[str, str] | None = None,
    variables: Any = None,
    call: Call | None = None,
    allow_random: bool = False,
    progress: Progress | None = None,
) -> dict[str, Float[Array, "N S C"]]:
    """Computes the representations of images at some layers of a network.

    All layers come from the same passes. The network runs in evaluation mode and is not
    changed. Flax modules run as a copy, all batches through one compiled function that
    ends at the last layer: the last batch is padded, and a later call with the same
    architecture, layers and batch shape compiles nothing. Torch modules run on their
    device and in their dtype, without gradients; hooks are removed and modes restored.
    Traced images (inside the caller's `jit` or `grad`, flax only) make a single pass.

    Args:
      model: a `flax.nnx`, `flax.linen` or torch module (`transformers.AutoModel`
        included) that is called with the images; a torch one gets them as
        (N, C, H, W).
      images: (N, H, W, C), floating; NumPy or JAX, already scaled and normalized as the
        network expects them. (N, 3, H, W) and torch tensors are accepted where that is
        unambiguous. Or an `ImageFolder`, or another `ImageSource`.
      layers: names from `layer_names`, or patterns: ``"blocks.*"`` are all blocks.
      batch_size: images a pass; a smaller N is one pass of N images.
      tokens: ``"all"``, ``"patches"`` (without CLS and other prefix tokens) or
        ``"cls"``, for outputs (N, S, C); a map (N, H, W, C)
        consists of patches.
      prefix_tokens: the number of tokens before the patches, of all layers, or by
        layer: ``{"blocks.*": 5}``. None: decided by layer, from what the model states
        (`prefix_tokens`, `num_prefix_tokens`, its learned ``cls_token``,
        ``register_tokens``, ...) and from the grid: a layer of 196 tokens, in a network
        of 14 x 14 patches, has no CLS token yet.
      layout: ``"NHWC"`` or ``"NCHW"``, of outputs with four axes, ``"NSC"`` or
        ``"NCS"``, of those with three; of all layers, or by layer. None: decided by
        layer. Flax has channels last; in torch the types of the modules and the grids
        of the convolutions decide.
      variables: for a flax.linen module that is not bound, what its `init` returned.
      call: calls the model as ``call(model, images)``, where it needs more than the
        images: ``lambda m, x: m(x, train=False)``. A new function for each call of
        `extract` is compiled again. None: the model itself, and ``get_image_features``
        or ``encode_image`` where it has one (CLIP, SigLIP).
      allow_random: accept a torch network that is random in its forward pass, such as
        ViTMAE with its masks.
      progress: called as ``progress(done, total)``, in images, after each batch.

    Returns:
      For each name the tokens (N, S, C) in the dtype of the layer (float64 only where
      JAX has x64 enabled). Outputs (N, H, W, C) are flattened row by row, (N, S, C)
      stay, and (N, C) become one token. A layer that runs several times for one input
      gives the output of its last call. A torch layer that gives a tuple or a
      `ModelOutput` gives the first tensor of it. The tokens of Hiera, which its blocks
      keep by mask unit, are put in order row by row.

    Raises:
      TypeError: `model` is not of one of these frameworks, `images` not a floating
        array, `layers` not a sequence of strings, a count not an integer, `call` or
        `progress` not callable, or a layer's output not an array.
      ValueError: `images` has another rank, is empty, holds NaN or infinity or does not
        fit the model; `layers` is empty or holds an unknown name; a setting is out of
        its range, or `prefix_tokens` is needed and unknown; a layer is not called, its
        output has none of the shapes above, or can be read in two ways, which the error
        shows; a torch network is random.
    """
    network = Network(model, variables, call, allow_random)
    kept = (tokens, prefix_tokens, layout)
    extraction = checked_extraction(network, images, layers, batch_size, kept, progress)
    if _checks.is_traced(images):
        with extraction.running() as forward:
            outputs = forward(extraction.source.read(0, len(extraction.source)))
        return {name: outputs[name] for name in extraction.layers}
    return _in_memory(extraction)


def extract_to_store(
    model: Any,
    images: Images | ImageSource,
    layers: Sequence[str],
    path: str | os.PathLike,
    *,
    batch_size: int = 32,
    tokens: str = "all",
    prefix_tokens: int | Mapping[str, int] | None = None,
    layout: str | Mapping[str, str] | None = None,
    variables: Any = None,
    call: Call | None = None,
    allow_random: bool = False,
    progress: Progress | None = None,
    metadata: Mapping[str, Any] | None = None,
) -> FeatureStore:
    """Computes representations as `extract` does, into a store on the disk.

    Each batch is written when it is computed. If the store exists, with the same
    network, parameters, images and settings, only missing batches are computed.

    Args:
      model: as in `extract`.
      images: as in `extract`; the ids of an `ImageFolder` become those of the store,
        and the images of an array are named "0", "1" and so on.
      layers: as in `extract`.
      path: the folder of the store.
      batch_size: images a pass, and a chunk of the store.
      tokens: as in `extract`.
      prefix_tokens: as in `extract`.
      layout: as in `extract`.
      variables: as in `extract`.
      call: as in `extract`; it is not recorded.
      allow_random: as in `extract`.
      progress: as in `extract`; existing batches count as done.
      metadata: further facts to record, as JSON can express them.

    Returns:
      The store, complete. Layers of bfloat16 are stored in float32.

    Raises:
      TypeError: as `extract`.
      ValueError: as `extract`, or the store at `path` holds other features.
      OSError: the store cannot be written, for example on a full disk; batches
        written before stay.
    """
    network = Network(model, variables, call, allow_random)
    kept = (tokens, prefix_tokens, layout)
    extraction = checked_extraction(network, images, layers, batch_size, kept, progress)
    described = {**(metadata or {}), "extraction": _described(extraction)}
    store, folder = None, Path(path)
    empty = folder.is_dir() and not any(folder.iterdir())
    if os.path.lexists(path) and not empty:
        existing = FeatureStore.open(path)
        shapes = {name: rows.shape[1:] for name, rows in existing.layers.items()}
        if set(shapes) != set(extraction.layers):
            raise ValueError(
                f"output {path} holds the layers {', '.join(shapes)}, expected "
                f"{', '.join(extraction.layers)}; write to another folder"
            )
        store = _create(path, extraction, shapes, existing.dtype, described)
    missing = extraction.batches if store is None else store.missing()
    with extraction.passes(missing) as passes:
        for number, outputs in passes:
            if store is None:
                shapes = {name: value.shape[1:] for name, value in outputs.items()}
                dtype = _stored_dtype(value.dtype for value in outputs.values())
                store = _create(path, extraction, shapes, dtype, described)
            store.write(number, outputs)
    assert store is not None  # there is at least one image
    return store


def _in_memory(extraction: Extraction) -> dict[str, Float[Array, "N S C"]]:
    """Computes all batches, each into its place in one array a layer."""
    samples, features = len(extraction.source), {}
    with extraction.passes(extraction.batches) as passes:
        for number, outputs in passes:
            start = number * extraction.batch_size
            for name, value in outputs.items():
                if name not in features:
                    shape = (samples, *value.shape[1:])
                    features[name] = _aligned(shape, value.dtype)
                elif value.shape[1:] != features[name].shape[1:]:
                    raise ValueError(
                        f"images must have one size: from image {start} on, layer "
                        f"{name!r} gives (S, C) = {value.shape[1:]}, and before "
                        f"{features[name].shape[1:]}"
                    )
                features[name][start : start + len(value)] = value
    return {
        name: jax.device_put(features.pop(name), may_alias=True)
        for name in extraction.layers
    }


def _aligned(shape: tuple[int, ...], dtype: np.dtype) -> np.ndarray:
    """An array that JAX takes over on the CPU without a copy."""
    size = int(np.prod(shape)) * dtype.itemsize
    buffer = np.empty(size + 64, np.uint8)
    offset = -buffer.ctypes.data % 64
    return buffer[offset : offset + size].view(dtype).reshape(shape)


def _create(
    path: str | os.PathLike,
    extraction: Extraction,
    shapes: Mapping[str, Sequence[int]],
    dtype: np.dtype,
    metadata: Mapping[str, Any],
) -> FeatureStore:
    return FeatureStore.create(
        path,
        ids=extraction.source.ids,
        # In the order of the store: a batch's checksums are kept in it.
        layers={name: (shape[0], shape[1]) for name, shape in shapes.items()},
        dtype=dtype,
        batch=extraction.batch_size,
        metadata=metadata,
    )


def _stored_dtype(dtypes: Iterable[np.dtype]) -> np.dtype:
    """One dtype that holds the values of all; Zarr has no bfloat16."""
    dtype = np.result_type(*dtypes)
    return dtype if dtype.kind == "f" else np.dtype(np.float32)


def _described(extraction: Extraction) -> dict[str, Any]:
    """The network, parameters, images and settings that determine the features."""
    model, rule = type(extraction.network.model), extraction.rule
    described = {
        "model": f"{model.__module__}.{model.__qualname__}",
        "parameters_sha256": extraction.digest(),
        "images": extraction.source.digest,
        "tokens": rule.tokens,
        "prefix_tokens": _as_json(rule.prefix, rule.stated.prefix),
        "layout": _as_json(rule.layout, None),
    }
    if rule.prefix is not None and rule.prefix == rule.stated.prefix:
        # What the model states need not hold of every layer; what is given does.
        described["prefix_tokens_given"] = True
    return described


def _as_json(setting: Any, default: Any) -> Any:
    """A setting of `extract` as it was given; the default where none was."""
    if setting is None:
        return default
    return dict(setting) if isinstance(setting, tuple) else setting
