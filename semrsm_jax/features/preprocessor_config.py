"""The preprocessing of a checkpoint: preprocessor_config.json of Hugging Face."""

import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any, NamedTuple

from semrsm_jax import _checks
from semrsm_jax.features.preprocessing import (
    Exactly,
    LongestEdge,
    Preprocessing,
    ShortestEdge,
)
from semrsm_jax.store.stored_array import read_json

_FILES = ("preprocessor_config.json", "processor_config.json")

# In the oldest checkpoints on the hub, such as google/vit-base-patch16-224, the file
# names no class: it is that of transformers for the model_type of config.json.
_OF_MODEL = {
    "bit": "Bit",
    "clip": "CLIP",
    "clip_vision_model": "CLIP",
    "clipseg": "ViT",
    "convnextv2": "ConvNext",
    "dinov2": "Bit",
    "resnet": "ConvNext",
    "sam": "Sam",
    "sam_vision_model": "Sam",
    "vit": "ViT",
}


class _Processor(NamedTuple):
    """The defaults of an image processor."""

    size: Mapping[str, int]
    resample: int
    mean: tuple[float, float, float]
    std: tuple[float, float, float]
    crop: int | None = None
    pad: int | None = None
    # Whether a `size` of one number means both sides, or the shorter one.
    square: bool = False
    crop_pct: float | None = None
    # Whether it converts images to RGB itself, and so composes transparency onto white.
    convert_rgb: bool = False


_HALF = (0.5, 0.5, 0.5)
_IMAGENET = ((0.485, 0.456, 0.406), (0.229, 0.224, 0.225))
_CLIP = (
    (0.48145466, 0.4578275, 0.40821073),
    (0.26862954, 0.26130258, 0.27577711),
)

# The keys of the class, today and before 2023.
_CLASS_KEYS = ("image_processor_type", "feature_extractor_type")

# By the class name without "ImageProcessor", "FeatureExtractor", "Fast" and "Pil".
_PROCESSORS = {
    "ViT": _Processor({"height": 224, "width": 224}, 2, _HALF, _HALF, square=True),
    "DeiT": _Processor(
        {"height": 256, "width": 256}, 3, _HALF, _HALF, crop=224, square=True
    ),
    "CLIP": _Processor({"shortest_edge": 224}, 3, *_CLIP, crop=224, convert_rgb=True),
    "Bit": _Processor({"shortest_edge": 224}, 3, *_CLIP, crop=224, convert_rgb=True),
    "ConvNext": _Processor({"shortest_edge": 384}, 3, _HALF, _HALF, crop_pct=0.875),
    "Sam": _Processor(
        {"longest_edge": 1024}, 2, *_IMAGENET, pad=1024, convert_rgb=True
    ),
}


def load_preprocessing(path: str | os.PathLike) -> Preprocessing:
    """Reads the preprocessing of a checkpoint from its preprocessor_config.json.

    If the file names no processor, as in the oldest checkpoints on the hub, it is that
    of the network in the config.json beside it.

    Args:
      path: the file, or the checkpoint's folder.

    Returns:
      The steps. Of the Hugging Face processors ViT, DeiT, CLIP, Bit (BiT, DINOv2),
      ConvNext (ConvNeXt, ResNet) and Sam are known, under their present and older
      names; CLIPSeg comes with that of ViT or CLIP.

    Raises:
      ValueError: the file is missing or not JSON, names an unknown processor, or
        holds a setting out of range.
    """
    path = Path(path)
    if path.is_dir():
        files = [path / name for name in _FILES if (path / name).is_file()]
        if not files:
            raise ValueError(
                f"{path} holds no {_FILES[0]}, which states the preprocessing"
            )
        path = files[0]
    config = read_json(path)
    config = config.get("image_processor", config)
    if not isinstance(config, dict):
        raise ValueError(f"{path}: image_processor must be a JSON object")
    if not any(config.get(key) for key in _CLASS_KEYS):
        network = path.parent / "config.json"
        kind = read_json(network).get("model_type") if network.is_file() else None
        config = {**config, _CLASS_KEYS[0]: _OF_MODEL.get(str(kind))}
    try:
        return preprocessing_from_config(config)
    except (TypeError, ValueError, KeyError) as error:
        raise ValueError(f"{path}: {error}") from error


def preprocessing_from_config(config: Mapping[str, Any]) -> Preprocessing:
    """Reads the settings of a Hugging Face image processor.

    Args:
      config: the contents of preprocessor_config.json.

    Returns:
      The `Preprocessing` of this processor.

    Raises:
      TypeError: a setting is of another type than expected.
      ValueError: the processor is unknown, or a setting out of its range.
    """
    given = next((config[key] for key in _CLASS_KEYS if config.get(key)), None)
    name = str(given).removesuffix("Pil").removesuffix("Fast")
    name = name.removesuffix("ImageProcessor").removesuffix("FeatureExtractor")
    if name not in _PROCESSORS:
        known = ", ".join(f"{key}ImageProcessor" for key in _PROCESSORS)
        raise ValueError(f"image_processor_type must be one of {known}, got {given!r}")
    processor = _PROCESSORS[name]

    def setting(key: str, default: Any) -> Any:
        value = config.get(key)
        return default if value is None else value

    size = _sides(setting("size", processor.size), processor.square)
    resize, crop, pad = None, None, None
    if setting("do_center_crop", processor.crop is not None):
        crop = _height_width("crop_size", setting("crop_size", processor.crop))
    if setting("do_resize", True):
        resize = _resize_rule(size)
        if processor.crop_pct is not None:
            fraction = setting("crop_pct", processor.crop_pct)
            resize, crop = _convnext(size, fraction, crop)
    if setting("do_pad", processor.pad is not None):
        pad = _height_width("pad_size", setting("pad_size", processor.pad))
    mean = std = None
    if setting("do_normalize", True):
        mean = three_channels("image_mean", setting("image_mean", processor.mean))
        std = three_channels("image_std", setting("image_std", processor.std))
        if not all(std):
            raise ValueError(f"image_std must not hold 0, got {std}")
    resample = setting("resample", processor.resample)
    if _checks.at_least("resample", resample, 0) > 5:
        raise ValueError(f"resample must be one of Pillow's 0 to 5, got {resample}")
    scale = None
    if setting("do_rescale", True):
        scale = float(setting("rescale_factor", 1 / 255))
    converts = setting("do_convert_rgb", processor.convert_rgb)
    transparency = "white" if converts else "drop"
    return Preprocessing(resize, resample, crop, scale, mean, std, pad, transparency)


def _sides(size: Any, square: bool) -> Mapping[str, int]:
    """Converts `size`, a number in older files, to its present form."""
    if isinstance(size, int):
        return {"height": size, "width": size} if square else {"shortest_edge": size}
    if isinstance(size, list) and len(size) == 2:
        return {"height": size[0], "width": size[1]}
    if not isinstance(size, Mapping):
        raise TypeError(f"size must be a number or an object, got {size!r}")
    sides = {key: value for key, value in size.items() if value is not None}
    for key, value in sides.items():
        _checks.at_least(f"size.{key}", value, 1)
    return sides


def _resize_rule(size: Mapping[str, int]) -> ShortestEdge | LongestEdge | Exactly:
    match dict(size):
        case {"shortest_edge": pixels, **other} if not other:
            return ShortestEdge(pixels)
        case {"longest_edge": pixels, **other} if not other:
            return LongestEdge(pixels)
        case {"height": height, "width": width, **other} if not other:
            return Exactly(height, width)
    raise ValueError(
        "size must hold shortest_edge, longest_edge, or height and width, got "
        f"{dict(size)}"
    )


def _convnext(
    size: Mapping[str, int], fraction: float, crop: tuple[int, int] | None
) -> tuple[ShortestEdge | Exactly, tuple[int, int] | None]:
    """ConvNeXt crops a fraction of a small image, and takes a large one as a whole."""
    if set(size) != {"shortest_edge"}:
        raise ValueError(f"size must hold shortest_edge, got {dict(size)}")
    side = size["shortest_edge"]
    if side >= 384:
        return Exactly(side, side), crop
    if crop is not None:
        raise ValueError("do_center_crop does not fit crop_pct, which crops too")
    return ShortestEdge(int(side / fraction)), (side, side)


def _height_width(name: str, value: Any) -> tuple[int, int]:
    if isinstance(value, Mapping):
        if not {"height", "width"} <= set(value):
            raise ValueError(f"{name} must hold height and width, got {dict(value)}")
        value = (value["height"], value["width"])
    elif isinstance(value, int):
        value = (value, value)
    if not isinstance(value, list | tuple) or len(value) != 2:
        raise TypeError(f"{name} must be a number or an object, got {value!r}")
    height, width = (_checks.at_least(name, side, 1) for side in value)
    return height, width


def three_channels(name: str, value: Any) -> tuple[float, float, float]:
    """A number for each channel; one number stands for all."""
    values = [value] * 3 if isinstance(value, int | float) else list(value)
    if len(values) != 3:
        raise ValueError(f"{name} must hold three numbers, got {value!r}")
    red, green, blue = map(float, values)
    return red, green, blue
