"""From pixels to a network's input: resize, crop, scale, normalize, pad.

The steps are those of the Hugging Face image processors that compute with Pillow: their
newer ones, which compute with torch, filter slightly differently (by up to about one
level of 255, where an image shrinks).
"""

import ast
import dataclasses
import os
from collections.abc import Callable
from typing import Any

import numpy as np
from jaxtyping import Float, UInt8
from PIL import Image

from semrsm_jax.features.image_file import read_image


@dataclasses.dataclass(frozen=True)
class ShortestEdge:
    """Resizes so that the shorter side becomes `pixels`; the other is rounded down."""

    pixels: int

    def __call__(self, height: int, width: int) -> tuple[int, int]:
        """The new (height, width)."""
        long = int(self.pixels * max(height, width) / min(height, width))
        return (long, self.pixels) if width <= height else (self.pixels, long)


@dataclasses.dataclass(frozen=True)
class LongestEdge:
    """Resizes so that the longer side becomes `pixels`; the other is rounded (SAM)."""

    pixels: int

    def __call__(self, height: int, width: int) -> tuple[int, int]:
        """The new (height, width)."""
        scale = self.pixels / max(height, width)
        # A very thin strip keeps one pixel.
        return max(1, int(height * scale + 0.5)), max(1, int(width * scale + 0.5))


@dataclasses.dataclass(frozen=True)
class Exactly:
    """Resizes to one size, whatever the shape of the image."""

    height: int
    width: int

    def __call__(self, height: int, width: int) -> tuple[int, int]:
        """The new (height, width)."""
        return self.height, self.width


@dataclasses.dataclass(frozen=True)
class Preprocessing:
    """Resize, center crop, scale, normalize, pad: in this order, each if not None.

    The defaults are those of torchvision's ImageNet checkpoints (resize the shorter
    side to 256, crop 224 x 224, ImageNet's mean and deviation).

    Attributes:
      resize: rule from (height, width) to the new one.
      resample: Pillow's filter; 0 nearest, 1 Lanczos, 2 bilinear, 3 bicubic, 4 box,
        5 Hamming.
      crop: (height, width) cut from the middle; a smaller image gets a black border.
      scale: factor for pixels of 0 to 255.
      mean: of the three channels, subtracted after scaling.
      std: of the three channels, divided by.
      pad: (height, width) reached by zeros at the bottom and the right, at the end.
      transparency: what `read` does with it: ``"drop"`` keeps the color below it,
        ``"white"`` composes the image onto white.
      crop_to_even: how half of an odd surplus is rounded: to the even number, as
        torchvision and timm do, or down, as Hugging Face does.
    """

    resize: ShortestEdge | LongestEdge | Exactly | None = ShortestEdge(256)
    resample: int = 2
    crop: tuple[int, int] | None = (224, 224)
    scale: float | None = 1 / 255
    mean: tuple[float, float, float] | None = (0.485, 0.456, 0.406)
    std: tuple[float, float, float] | None = (0.229, 0.224, 0.225)
    pad: tuple[int, int] | None = None
    transparency: str = "drop"
    crop_to_even: bool = False

    def read(self, path: str | os.PathLike) -> UInt8[np.ndarray, "H W 3"]:
        """Reads an image file as the image processor of the network does.

        Transparency is dropped or composed by `transparency`, and gray of 16 bits
        becomes white above 255, with a warning. Two things differ on purpose from the
        processors of Hugging Face, given an image that Pillow opened: the EXIF rotation
        is applied, and images of other modes, which those of ViT, DeiT and ConvNeXt
        reject, are converted to RGB. The `load_image` of transformers does both.

        Args:
          path: the file.

        Returns:
          (H, W, 3), uint8, RGB, what `__call__` takes.

        Raises:
          ValueError: as `read_image`.
        """
        return read_image(path, transparency=self.transparency, deep="clip")

    def __call__(self, image: UInt8[np.ndarray, "H W 3"]) -> Float[np.ndarray, "h w 3"]:
        """Prepares one image.

        Args:
          image: (H, W, 3), uint8, RGB.

        Returns:
          (h, w, 3), float32.

        Raises:
          TypeError: `image` is not uint8.
          ValueError: `image` has another shape, is empty, larger than `pad`, or resized
            to more than ``PIL.Image.MAX_IMAGE_PIXELS`` pixels.
        """
        _check_image(image)
        if self.resize is not None:
            height, width = self.resize(*image.shape[:2])
            _check_size(height, width, image.shape)
            resized = Image.fromarray(image).resize((width, height), self.resample)
            image = np.asarray(resized)
        if self.crop is not None:
            image = _center_crop(image, self.crop, self.crop_to_even)
        # The product is rounded once: in float32 it would differ in the last digit.
        scale = 1.0 if self.scale is None else self.scale
        pixels = (image * np.float64(scale)).astype(np.float32)
        if self.mean is not None:
            pixels -= np.asarray(self.mean, np.float32)
        if self.std is not None:
            pixels /= np.asarray(self.std, np.float32)
        return pixels if self.pad is None else _padded(pixels, self.pad)

    def seen(self, image: UInt8[np.ndarray, "H W 3"]) -> UInt8[np.ndarray, "h w 3"]:
        """The part of an image that the network sees: only resized, cropped and padded.

        Raises the errors of `__call__`.
        """
        plain = dataclasses.replace(self, scale=None, mean=None, std=None)
        return plain(image).astype(np.uint8)


@dataclasses.dataclass(frozen=True)
class ForeignPreprocessing:
    """A transform of timm, torchvision or transformers; equal where its text is.

    Attributes:
      transform: from a Pillow image to a tensor (3, h, w).
      text: what it is, recorded in the features.
      transparency: as of `Preprocessing`.
    """

    transform: Callable[[Image.Image], Any] = dataclasses.field(
        compare=False, repr=False
    )
    text: str
    transparency: str = "drop"

    def read(self, path: str | os.PathLike) -> UInt8[np.ndarray, "H W 3"]:
        """Reads an image file, as `Preprocessing.read` does."""
        return read_image(path, transparency=self.transparency, deep="clip")

    def __call__(self, image: UInt8[np.ndarray, "H W 3"]) -> Float[np.ndarray, "h w 3"]:
        """Prepares one image, as `Preprocessing` does."""
        prepared = np.asarray(self.transform(Image.fromarray(image)), np.float32)
        if prepared.ndim != 3 or prepared.shape[0] != 3:
            raise ValueError(
                f"preprocessing must give (3, h, w), got shape {prepared.shape} from "
                f"{self.text}"
            )
        return np.ascontiguousarray(prepared.transpose(1, 2, 0))


def preprocessing_from_text(text: str) -> Preprocessing | None:
    """The inverse of ``str``, which stores of features use.

    Returns:
      The `Preprocessing`; None for any other text.
    """
    known = {c.__name__: c for c in (Preprocessing, ShortestEdge, LongestEdge, Exactly)}

    def value(node: ast.expr) -> Any:
        if not isinstance(node, ast.Call):
            return ast.literal_eval(node)
        assert isinstance(node.func, ast.Name) and not node.args
        return known[node.func.id](
            **{k.arg or "": value(k.value) for k in node.keywords}
        )

    try:
        parsed = value(ast.parse(text, mode="eval").body)
    except (AssertionError, KeyError, SyntaxError, TypeError, ValueError):
        return None
    return parsed if isinstance(parsed, Preprocessing) else None


def _check_image(image: np.ndarray) -> None:
    if image.dtype != np.uint8:
        raise TypeError(f"image must be uint8, got dtype {image.dtype}")
    if image.ndim != 3 or image.shape[-1] != 3 or 0 in image.shape:
        raise ValueError(f"image must have shape (H, W, 3), got {image.shape}")


def _check_size(height: int, width: int, shape: tuple[int, ...]) -> None:
    limit = Image.MAX_IMAGE_PIXELS
    if limit is not None and height * width > limit:
        raise ValueError(
            f"image of shape {shape} would be resized to {height} x {width} pixels, "
            f"more than {limit:,} (PIL.Image.MAX_IMAGE_PIXELS)"
        )


def _center_crop(
    image: UInt8[np.ndarray, "H W 3"], size: tuple[int, int], to_even: bool
) -> UInt8[np.ndarray, "h w 3"]:
    """Cuts `size` from the middle; pads a smaller image with black.

    Rounding follows Hugging Face: of an odd surplus the smaller half is cut at the top
    and left, or with `to_even` the even one; of an odd border the larger half is there.
    """
    border = [
        (-(-max(0, want - have) // 2), max(0, want - have) // 2)
        for have, want in zip(image.shape[:2], size, strict=True)
    ]
    image = np.pad(image, (*border, (0, 0)))
    top, left = (
        round((have - want) / 2) if to_even else (have - want) // 2
        for have, want in zip(image.shape[:2], size, strict=True)
    )
    return image[top : top + size[0], left : left + size[1]]


def _padded(
    image: Float[np.ndarray, "H W 3"], size: tuple[int, int]
) -> Float[np.ndarray, "h w 3"]:
    missing = [want - have for have, want in zip(image.shape[:2], size, strict=True)]
    if min(missing) < 0:
        raise ValueError(f"pad must be at least {image.shape[:2]}, got {size}")
    return np.pad(image, ((0, missing[0]), (0, missing[1]), (0, 0)))
