"""Networks of timm, torchvision, transformers, and of a function of the user's."""

import importlib
import os
import sys
from collections.abc import Callable, Mapping
from types import ModuleType
from typing import Any, NamedTuple, cast

import numpy as np
from PIL import Image

from semrsm_jax._extras import required
from semrsm_jax.features._tokens import nearest
from semrsm_jax.features.image_folder import Preprocess
from semrsm_jax.features.preprocessing import (
    Exactly,
    ForeignPreprocessing,
    Preprocessing,
    ShortestEdge,
)
from semrsm_jax.features.preprocessor_config import three_channels

# Pillow's filters, by the names of timm and torchvision.
_FILTERS = {each.name.lower(): each.value for each in Image.Resampling}


class Built(NamedTuple):
    """A network of a library, with the preprocessing that belongs to it.

    Attributes:
      model: a torch or flax module.
      preprocess: prepares an image; None where it is not known.
    """

    model: Any
    preprocess: Preprocess | None


def _torchvision_models() -> ModuleType:
    """The networks of torchvision."""
    try:
        return required("torchvision.models", "torchvision")
    except RuntimeError as error:  # its operators are of another torch
        raise ImportError(
            f"torchvision is installed but cannot be imported: {error}. As a rule, "
            "it was built for another torch: install versions of both that "
            "belong together, from one index"
        ) from error


def build_timm(name: str, pretrained: bool) -> Built:
    """A network of timm, and the preprocessing of its data config."""
    timm = required("timm", "timm")
    if not name.startswith(("hf-hub:", "hf_hub:", "local-dir:")) and not timm.is_model(
        name.partition(".")[0]
    ):
        raise _unknown("timm", name, timm.list_models())
    model = _with_weights(
        f"timm:{name}", lambda: timm.create_model(name, pretrained=pretrained)
    )
    config = timm.data.resolve_model_data_config(model)
    return Built(model, _of_timm(timm, config))


def build_torchvision(name: str, pretrained: bool) -> Built:
    """A network of torchvision, and the transforms of its default weights."""
    models = _torchvision_models()
    if name not in models.list_models():
        raise _unknown("torchvision", name, models.list_models())
    weights = models.get_model_weights(name).DEFAULT
    model = _with_weights(
        f"torchvision:{name}",
        lambda: models.get_model(name, weights=weights if pretrained else None),
    )
    return Built(model, _of_torchvision(weights.transforms()))


def build_transformers(folder: str, pretrained: bool) -> Built:
    """A network of transformers, from a folder, and its processor."""
    transformers = required("transformers", "transformers")
    required("torch", "torch")

    def build() -> Any:
        # By default it computes in the dtype that the weights were saved in.
        if pretrained:
            return transformers.AutoModel.from_pretrained(folder, dtype="float32")
        config = transformers.AutoConfig.from_pretrained(folder)
        return transformers.AutoModel.from_config(config, dtype="float32")

    model = _with_weights(f"hf:{folder}", build)
    try:
        processor = transformers.AutoImageProcessor.from_pretrained(folder)
    except (OSError, ValueError, KeyError, TypeError, ImportError):
        return Built(model, None)

    def prepare(image: Image.Image) -> Any:
        values = processor(images=image, return_tensors="np")["pixel_values"]
        return np.asarray(values)[0]

    converts = getattr(processor, "do_convert_rgb", None)
    text = f"transformers {processor.to_json_string()}"
    return Built(
        model, ForeignPreprocessing(prepare, text, "white" if converts else "drop")
    )


def build_by_function(source: str) -> Built:
    """What ``module:function`` returns: a network, or one and its preprocessing."""
    module_name, _, name = source.partition(":")
    if os.getcwd() not in sys.path:  # as for python -m
        sys.path.insert(0, os.getcwd())
    try:
        module = importlib.import_module(module_name)
    except ImportError as error:
        raise ImportError(f"--model {source}: {error}") from error
    build = getattr(module, name, None)
    if not callable(build):
        known = [each for each, value in vars(module).items() if callable(value)]
        raise ValueError(
            f"model must be module:function, got {source}; {module_name} has no "
            f"function {name!r}, nearest are {nearest(name, known)}"
        )
    try:
        value = build()
    except Exception as error:  # of the user's code: no traceback in the shell
        raise ValueError(f"{source} fails: {type(error).__name__}: {error}") from error
    if isinstance(value, tuple) and len(value) == 2:
        model, preprocess = value
        if not callable(preprocess):
            raise TypeError(
                f"{source} must return a network, or one and a function that prepares "
                f"an image; got {type(preprocess).__name__} for that function"
            )
        return Built(model, cast(Preprocess, preprocess))
    return Built(value, None)


def _with_weights(source: str, build: Callable[[], Any]) -> Any:
    """Builds a network, which may download its weights."""
    try:
        return build()
    except MemoryError:
        raise
    except Exception as error:  # of the library's code: no traceback in the shell
        first = (str(error).strip() or type(error).__name__).splitlines()[0]
        hint = "random weights of the same architecture: pretrained=False (--untrained)"
        if isinstance(error, OSError) or "onnect" in type(error).__name__:
            raise ConnectionError(
                f"the weights of {source} cannot be fetched: {first}; {hint}"
            ) from error
        raise ValueError(f"{source} cannot be built: {first}; {hint}") from error


def _unknown(library: str, name: str, known: list[str]) -> ValueError:
    return ValueError(
        f"model: {library} has no network {name!r}; nearest are {nearest(name, known)}"
    )


def _of_timm(timm: ModuleType, config: Mapping[str, Any]) -> Preprocess:
    """The preprocessing of timm's data config, as its evaluation does it."""
    _, *size = config["input_size"]
    mode, fraction = config["crop_mode"], config["crop_pct"]
    scaled = [int(side / fraction) for side in size]
    square = scaled[0] == scaled[1]
    known = config["interpolation"] in _FILTERS and len(config["mean"]) == 3
    if not known or mode == "border" or (mode == "center" and not square):
        transform = timm.data.create_transform(**config, is_training=False)
        return ForeignPreprocessing(transform, f"timm {dict(config)}")
    return Preprocessing(
        Exactly(*scaled) if mode == "squash" else ShortestEdge(scaled[0]),
        _FILTERS[config["interpolation"]],
        (size[0], size[1]),
        mean=three_channels("mean", config["mean"]),
        std=three_channels("std", config["std"]),
        crop_to_even=True,
    )


def _of_torchvision(transforms: Any) -> Preprocess:
    """The preprocessing of torchvision's presets."""
    mode = getattr(getattr(transforms, "interpolation", None), "value", None)
    if type(transforms).__name__ != "ImageClassification" or mode not in _FILTERS:
        return ForeignPreprocessing(transforms, f"torchvision {transforms!r}")
    resize, crop = transforms.resize_size, transforms.crop_size
    return Preprocessing(
        ShortestEdge(resize[0]) if len(resize) == 1 else Exactly(*resize),
        _FILTERS[mode],
        (crop[0], crop[-1]),
        mean=three_channels("mean", transforms.mean),
        std=three_channels("std", transforms.std),
        crop_to_even=True,
    )
