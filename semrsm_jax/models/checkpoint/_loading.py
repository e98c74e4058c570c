"""From a checkpoint to a network."""

import difflib
import os
import re
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import jax.numpy as jnp
import numpy as np
from flax import nnx
from jax.typing import DTypeLike

from semrsm_jax.models._layers import floating, is_floating
from semrsm_jax.models.checkpoint._clip import CLIP, CLIP_VISION, CLIPSEG
from semrsm_jax.models.checkpoint._convolutional import BIT, CONVNEXTV2, RESNET
from semrsm_jax.models.checkpoint._files import Tensors, open_tensors, weights_file
from semrsm_jax.models.checkpoint._hub import locate
from semrsm_jax.models.checkpoint._rules import Architecture, Shape, Source, sources
from semrsm_jax.models.checkpoint._settings import Settings
from semrsm_jax.models.checkpoint._torchvision import torchvision_config
from semrsm_jax.models.checkpoint._vit import DINOV2, SAM, SAM_VISION, VIT
from semrsm_jax.models.weights import parameter_paths
from semrsm_jax.store.stored_array import read_json

# By a config's model_type.
ARCHITECTURES: dict[str, Architecture] = {
    "bit": BIT,
    "clip": CLIP,
    "clip_vision_model": CLIP_VISION,
    "clipseg": CLIPSEG,
    "convnextv2": CONVNEXTV2,
    "dinov2": DINOV2,
    "resnet": RESNET,
    "sam": SAM,
    "sam_vision_model": SAM_VISION,
    "vit": VIT,
}


def load(
    source: str | os.PathLike,
    *,
    config: str | os.PathLike | Mapping[str, Any] | None = None,
    dtype: DTypeLike = jnp.float32,
    revision: str | None = None,
) -> Any:
    """Loads a network with the weights of a checkpoint.

    One tensor is read at a time, so that no more than the network and its largest
    tensor are in memory.

    Args:
      source: a Hugging Face checkpoint as a folder, one of its weight files
        (.safetensors, .index.json, or with torch .bin, .pth, .pt), the id of a
        repository on the hub, or one of `VARIANTS`; or a state dict of torchvision's
        ResNets and ViTs.
      config: the checkpoint's config.json, or its content, if it is not beside the
        weights. torchvision's state dicts need none.
      dtype: of parameters and features; normalizations use float32 at least.
      revision: branch, tag or commit on the hub.

    Returns:
      The network, a `flax.nnx` module in evaluation mode with its `config`.

    Raises:
      ConnectionError: the hub cannot be reached.
      ImportError: the hub, or torch, is needed and not installed.
      TypeError: the weights are not floating-point, or `dtype` is not a dtype.
      ValueError: `dtype` is not floating; the checkpoint does not exist or is
        damaged; its class is not supported; or keys are missing, unexpected or of
        another shape.
    """
    dtype = floating("dtype", dtype)
    path = locate(source, revision=revision)
    file = weights_file(path)
    tensors = open_tensors(file)
    where, values = _config_values(file, config, tensors)
    architecture, settings = read_config(where, values, dtype)
    model = network_of_shapes(lambda: architecture.build(settings, rngs=nnx.Rngs(0)))
    model.eval()
    return _filled(model, _match_keys(str(file), architecture, model, tensors), tensors)


def network_of_shapes(build: Callable[[], nnx.Module]) -> nnx.Module:
    """Builds a network of shapes without values, its layers in the order of definition.

    `nnx.eval_shape` alone would sort the attributes of each module by name.
    """
    order: dict[tuple, list[str]] = {}

    def traced() -> nnx.Module:
        model = build()
        order.update((path, list(vars(m))) for path, m in nnx.iter_modules(model))
        return model

    model = nnx.eval_shape(traced)
    for path, module in nnx.iter_modules(model):
        attributes = vars(module)
        ordered = {name: attributes.pop(name) for name in order[path]}
        attributes.update(ordered)
    return model


def _config_values(
    file: Path, config: str | os.PathLike | Mapping[str, Any] | None, tensors: Tensors
) -> tuple[str, Mapping[str, Any]]:
    """The content of the config, and its name in errors."""
    if isinstance(config, Mapping):
        return "config", config
    path = file.parent / "config.json" if config is None else Path(config)
    if config is None and not path.exists():
        values = torchvision_config(tensors)
        if values is None:
            raise ValueError(
                f"{path} does not exist; config= must give the checkpoint's config, "
                "since its keys are not torchvision's"
            )
        return str(file), values
    return str(path), read_json(path)


def read_config(
    where: str, values: Mapping[str, Any], dtype: DTypeLike
) -> tuple[Architecture, Any]:
    """Reads the `values` of a Hugging Face config, the file `where`, as our config.

    Raises:
      ValueError: its class is not supported, or a value is out of range.
    """
    kind = values.get("model_type")
    if not isinstance(kind, str) or kind not in ARCHITECTURES:
        near = difflib.get_close_matches(str(kind), ARCHITECTURES, n=3, cutoff=0.4)
        raise ValueError(
            f"{where}: model_type {kind!r} is not supported; "
            + (f"nearest are {', '.join(near)}; " if near else "")
            + f"supported are {', '.join(ARCHITECTURES)}"
        )
    architecture = ARCHITECTURES[kind]
    # A config without a class is that of the bare backbone, the last listed.
    names = values.get("architectures") or [*architecture.classes][-1:]
    name = str(names[0] if isinstance(names, list) else names)
    if name not in architecture.classes:
        raise ValueError(
            f"{where}: class {name!r} is not supported; of model_type {kind!r} are "
            f"{', '.join(architecture.classes)}"
        )
    settings = Settings(where, values)
    classes = settings.labels() if architecture.classes[name] else None
    try:
        return architecture, architecture.config(settings, classes, dtype)
    except (TypeError, ValueError) as error:
        if str(error).startswith(where):
            raise
        raise ValueError(f"{where}: {error}") from error


def _match_keys(
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


def _filled(
    model: nnx.Module, sources: Mapping[str, Source], tensors: Tensors
) -> nnx.Module:
    """Fills a network of shapes with values, one tensor at a time."""
    for path, leaf in parameter_paths(model).items():
        source = sources[path]
        parts = [np.asarray(tensors[name].read()) for name in source.names]
        whole = parts[0] if len(parts) == 1 else np.concatenate(parts)
        values = source.transform.apply(whole).astype(leaf.dtype)
        leaf.set_value(jnp.asarray(values))
    return model
