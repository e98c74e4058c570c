"""One image file: its pixels, or the reason why it cannot be read."""

import hashlib
import io
import os
import stat
import struct
from pathlib import Path

import numpy as np
from jaxtyping import UInt8
from PIL import Image, ImageOps, UnidentifiedImageError

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


def read_image(path: str | os.PathLike) -> UInt8[np.ndarray, "H W 3"]:
    """Reads the first frame of an image file as RGB, with its EXIF rotation applied.

    Transparency is dropped, as Hugging Face's ``convert("RGB")`` does: the color below
    it is kept. Grayscale is repeated over the channels, one of 16 bits by its upper 8;
    palettes are looked up; CMYK is converted without a color profile.

    Args:
      path: the file.

    Returns:
      (H, W, 3), uint8.

    Raises:
      ValueError: the file is missing, not a regular file, not an image, damaged, of
        floating or 32-bit pixels, or has more than ``PIL.Image.MAX_IMAGE_PIXELS``.
    """
    try:
        return _decoded(_file_bytes(Path(path)), thumbnail=False)
    except ValueError as error:
        raise ValueError(f"{path}: {error}") from error


def examine(path: Path) -> bytes | ValueError:
    """The SHA-256 of an image that can be decoded, or the error."""
    try:
        content = _file_bytes(path)
        _decoded(content, thumbnail=True)
    except ValueError as error:
        return error
    return hashlib.sha256(content).digest()


def _file_bytes(path: Path) -> bytes:
    try:
        # Reading a pipe would never end.
        if not stat.S_ISREG(path.stat().st_mode):
            raise ValueError("not a regular file")
        return path.read_bytes()
    except OSError as error:
        raise ValueError(error.strerror or str(error)) from error


def _decoded(content: bytes, *, thumbnail: bool) -> UInt8[np.ndarray, "H W 3"]:
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
            return np.asarray(_as_rgb(ImageOps.exif_transpose(image)))
    except UnidentifiedImageError as error:
        raise ValueError("not an image that Pillow can read") from error
    except _DAMAGE as error:
        raise ValueError(str(error) or type(error).__name__) from error


def _as_rgb(image: Image.Image) -> Image.Image:
    if image.mode.startswith("I") or image.mode == "F":
        pixels = np.asarray(image)
        if image.mode == "F" or pixels.min() < 0 or pixels.max() >= 2**16:
            raise ValueError(f"pixels of mode {image.mode} have no known range")
        # Pillow itself would show all above 255 as white.
        image = Image.fromarray((pixels >> 8).astype(np.uint8))
    return image.convert("RGB")
