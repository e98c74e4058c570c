"""One image file: its pixels, or the reason why it cannot be read."""

import hashlib
import io
import os
import stat
import struct
import warnings
from pathlib import Path

import numpy as np
from jaxtyping import UInt8
from PIL import Image, ImageOps, UnidentifiedImageError

from semrsm_jax import _checks

# Modes of more than 8 bits a pixel.
_DEEP = frozenset({"I", "I;16", "I;16L", "I;16B", "I;16N", "F"})
# What Pillow raises for damaged files of any format.
_DAMAGE = (
    OSError,
    SyntaxError,
    ValueError,
    EOFError,
    TypeError,
    IndexError,
    struct.error,
    Image.DecompressionBombError,
)


def read_image(
    path: str | os.PathLike, *, transparency: str = "drop", deep: str = "scale"
) -> UInt8[np.ndarray, "H W 3"]:
    """Reads the first frame of an image file as RGB, with its EXIF rotation applied.

    Grayscale is repeated over the channels; palettes are looked up; CMYK is converted
    without a color profile. `Preprocessing.read` chooses the settings that the image
    processor of a network has.

    Args:
      path: the file.
      transparency: ``"drop"`` keeps the color below it; ``"white"`` composes the image
        onto white. Both are done by Hugging Face's processors.
      deep: what becomes of gray of 16 bits: ``"scale"`` keeps its upper 8, so that it
        looks the same; ``"clip"`` makes values above 255 white, as Pillow and with it
        all image processors do, and warns of it.

    Returns:
      (H, W, 3), uint8.

    Raises:
      ValueError: the file is missing, not a regular file, not an image, damaged, of
        floating or 32-bit pixels, or has more than ``PIL.Image.MAX_IMAGE_PIXELS``; a
        setting is none of its choices.
    """
    _checks.one_of("transparency", transparency, ("drop", "white"))
    _checks.one_of("deep", deep, ("scale", "clip"))
    try:
        image = _decoded(_file_bytes(Path(path)))
        pixels = np.asarray(_as_rgb(image, transparency, deep))
        if deep == "clip" and image.mode in _DEEP and np.asarray(image).max() > 255:
            warnings.warn(
                f"{path}: gray of 16 bits, whose values above 255 become white, as in "
                "the image processors of Hugging Face; save it with 8 bits to have its "
                "whole range",
                stacklevel=2,
            )
        return pixels
    except ValueError as error:
        raise ValueError(f"{path}: {error}") from error


def examine(path: Path) -> bytes | ValueError:
    """The SHA-256 of an image that can be decoded, or the error."""
    try:
        content = _file_bytes(path)
        _as_rgb(_decoded(content, thumbnail=True), "drop", "scale")
    except ValueError as error:
        return error
    return hashlib.sha256(content).digest()


def file_digest(path: Path) -> bytes:
    """The SHA-256 of a file; ValueError if it cannot be read."""
    return hashlib.sha256(_file_bytes(path)).digest()


def _file_bytes(path: Path) -> bytes:
    try:
        # Reading a pipe would never end.
        if not stat.S_ISREG(path.stat().st_mode):
            raise ValueError("not a regular file")
        return path.read_bytes()
    except OSError as error:
        raise ValueError(error.strerror or str(error)) from error


def _decoded(content: bytes, *, thumbnail: bool = False) -> Image.Image:
    """The first frame, turned upright, in the file's own mode."""
    _check_canvas(content)
    try:
        with Image.open(io.BytesIO(content)) as image:
            limit = Image.MAX_IMAGE_PIXELS
            if limit is not None and image.width * image.height > limit:
                raise ValueError(
                    f"{image.width} x {image.height} pixels, more than the {limit:,} "
                    "that Pillow considers safe (PIL.Image.MAX_IMAGE_PIXELS)"
                )
            if thumbnail:
                # Reads the whole file, but decodes at an eighth of the size.
                image.draft("RGB", (1, 1))
            image.load()
            return ImageOps.exif_transpose(image)
    except UnidentifiedImageError as error:
        raise ValueError("not an image that Pillow can read") from error
    except _DAMAGE as error:
        raise ValueError(str(error) or type(error).__name__) from error


def _check_canvas(content: bytes) -> None:
    """Rejects a WebP animation whose header states a large canvas, mostly empty.

    One wrong bit can make it so, and Pillow would fill it for seconds.
    """
    frame = content.find(b"ANMF", 30)
    if content[8:16] != b"WEBPVP8X" or frame < 0:
        return
    (width, height), (w, h) = (
        [1 + int.from_bytes(content[at + n : at + n + 3], "little") for n in (0, 3)]
        for at in (24, frame + 14)
    )
    if width * height > max(2**22, 4 * w * h):
        raise ValueError(
            f"damaged, or an animation of {width} x {height} pixels whose first frame "
            f"has {w} x {h} of them"
        )


def _as_rgb(image: Image.Image, transparency: str, deep: str) -> Image.Image:
    try:
        if image.mode in _DEEP:
            pixels = np.asarray(image)
            if image.mode == "F" or pixels.min() < 0 or pixels.max() >= 2**16:
                raise ValueError(f"pixels of mode {image.mode} have no known range")
            if deep == "scale":
                image = Image.fromarray((pixels >> 8).astype(np.uint8))
        # As transformers' `convert_to_rgb` decides it.
        known = image.info.get("transparency") is not None
        transparent = "A" in image.getbands() or known
        if transparency == "white" and transparent:
            image = image.convert("RGBA")
            white = Image.new("RGBA", image.size, (255, 255, 255, 255))
            image = Image.alpha_composite(white, image)
        return image.convert("RGB")
    except _DAMAGE as error:
        raise ValueError(str(error) or type(error).__name__) from error
