"""Small images of the samples, cropped as the network saw them."""

import base64
import io
import os
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from jaxtyping import UInt8
from PIL import Image

from semrsm_jax._resources import cores
from semrsm_jax.features.image_file import read_image
from semrsm_jax.features.image_folder import find_images, image_id
from semrsm_jax.features.preprocessing import Preprocessing

_QUALITY = 82
# Pixels of the longer side, by the number of samples: a few MB in all.
_SIDES = ((150, 192), (300, 160), (600, 128))
_LEAST_SIDE = 96


class Pictures(NamedTuple):
    """Small images, one a sample.

    Attributes:
      jpeg: each in base64.
      size: height and width of the first image as the network saw it.
    """

    jpeg: tuple[str, ...]
    size: tuple[int, int]


def find(
    folder: str | os.PathLike, ids: Sequence[str] | None, count: int
) -> tuple[list[Path], tuple[str, ...]]:
    """The image of each sample: by id, or by order if the samples have no ids.

    Args:
      folder: searched with all folders below it.
      ids: paths below the folder, with or without suffix; None: samples have none.
      count: N.

    Returns:
      N paths and N names.

    Raises:
      ValueError: as `find_images`, or an image is missing.
    """
    paths, root = find_images(folder), Path(folder)
    if ids is None:
        if len(paths) != count:
            raise ValueError(
                f"images: {folder} must hold {count} images, one a sample, where "
                f"samples have no ids; got {len(paths)}"
            )
        return paths, tuple(image_id(root, path) for path in paths)
    by_id = {path.stem: path for path in paths}
    by_id |= {path.name: path for path in paths}
    by_id |= {image_id(root, path): path for path in paths}
    missing = [name for name in ids if name not in by_id]
    if missing:
        raise ValueError(
            f"images: {folder} must hold the images that the samples' ids name, "
            f"{len(missing)} of {len(ids)} are missing, for example {missing[0]!r}; "
            f"the folder holds for example {image_id(root, paths[0])!r}"
        )
    return [by_id[name] for name in ids], tuple(ids)


def draw(
    images: Sequence[Any],
    preprocessing: Preprocessing | None,
    progress: Callable[[int, int], object],
) -> Pictures:
    """Makes the small images.

    Args:
      images: paths, or arrays (H, W, 3) or (H, W), uint8 or floats in [0, 1].
      preprocessing: the part of a file that the network saw; None: all of it.
      progress: called as ``progress(done, total)``, in images.

    Raises:
      TypeError: an array is of another dtype.
      ValueError: a file cannot be read, or an array has another shape or range.
    """
    side = next((s for most, s in _SIDES if len(images) <= most), _LEAST_SIDE)

    def one(image: Any) -> tuple[str, tuple[int, int]]:
        if isinstance(image, str | os.PathLike):
            pixels = read_image(image)
            pixels = pixels if preprocessing is None else preprocessing.seen(pixels)
        else:
            pixels = _pixels(image)
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
    return Pictures(jpeg, sizes[0])


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
