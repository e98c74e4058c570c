"""Small images of the samples, cropped as the network saw them."""

import base64
import io
import os
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import numpy as np
from jaxtyping import UInt8
from PIL import Image

from semrsm_jax._resources import cores
from semrsm_jax.features.image_file import read_image
from semrsm_jax.features.preprocessing import Preprocessing

_QUALITY = 82
# Pixels of the longer side, by the number of samples: a few MB in all.
_SIDES = ((150, 192), (300, 160), (600, 128))
_LEAST_SIDE = 96


def draw(
    images: Sequence[Any],
    preprocessing: Preprocessing | None,
    progress: Callable[[int, int], object],
) -> tuple[tuple[str, ...], tuple[int, int]]:
    """Small JPEGs in base64, and the height and width of the first one's image.

    Args:
      images: paths, or arrays (H, W, 3) or (H, W), uint8 or floats in [0, 1].
      preprocessing: the part of an image that the network saw; None: all of it.
      progress: called as ``progress(done, total)``, in images.

    Raises:
      TypeError: an array is of another dtype.
      ValueError: a file cannot be read, or an array has another shape or range.
    """
    side = next((s for most, s in _SIDES if len(images) <= most), _LEAST_SIDE)

    def one(image: Any) -> tuple[str, tuple[int, int]]:
        if isinstance(image, str | os.PathLike):
            read = read_image if preprocessing is None else preprocessing.read
            pixels = read(image)
        else:
            pixels = _pixels(image)
        if preprocessing is not None:
            pixels = preprocessing.seen(pixels)
        small = Image.fromarray(pixels)
        small.thumbnail((side, side), Image.Resampling.LANCZOS)
        if max(small.size) < side // 2:
            # Few pixels stay sharp when the page enlarges them.
            factor = side // max(small.size)
            small = small.resize(
                (small.width * factor, small.height * factor), Image.Resampling.NEAREST
            )
        stream = io.BytesIO()
        small.save(stream, "JPEG", quality=_QUALITY, optimize=True)
        encoded = base64.b64encode(stream.getvalue()).decode("ascii")
        return encoded, (pixels.shape[0], pixels.shape[1])

    encoded_images = []
    with ThreadPoolExecutor(cores()) as pool:
        for picture in pool.map(one, images):
            encoded_images.append(picture)
            progress(len(encoded_images), len(images))
    jpeg, sizes = zip(*encoded_images, strict=True)
    return jpeg, sizes[0]


def _pixels(image: Any) -> UInt8[np.ndarray, "H W 3"]:
    pixels = np.asarray(image)
    if pixels.ndim == 2:
        pixels = np.repeat(pixels[..., None], 3, axis=-1)
    if pixels.ndim != 3 or pixels.shape[-1] != 3 or 0 in pixels.shape:
        raise ValueError(f"images must have shape (H, W, 3), got {pixels.shape}")
    if pixels.dtype == np.uint8:
        return pixels
    if pixels.dtype.kind != "f":
        raise TypeError(f"images must be uint8 or floats, got dtype {pixels.dtype}")
    if not (pixels.min() >= 0 and pixels.max() <= 1):
        raise ValueError(
            f"images must be in [0, 1] where they are floats, got {pixels.min():g} to "
            f"{pixels.max():g}"
        )
    return np.rint(255 * pixels).astype(np.uint8)
