"""Any folder of photographs: ImageNet, Tiny-ImageNet, or your own."""

import os
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from jaxtyping import Float

from experiments.data.folders import DataSet
from semrsm_jax.features.image_file import read_image
from semrsm_jax.features.image_folder import find_images
from semrsm_jax.features.preprocessing import Exactly, Preprocessing

IMAGES = DataSet(
    "ImageNet or Tiny-ImageNet",
    "https://image-net.org/download.php, after registration; Tiny-ImageNet at "
    "http://cs231n.stanford.edu/tiny-imagenet-200.zip.",
    """
    any/folders/below/it/*.JPEG   images, at any depth; at least as many as are drawn
    """,
)


def draw_files(
    folder: str | os.PathLike | None, count: int, rng: np.random.Generator
) -> list[str]:
    """Draws different images of a folder, as paths below it.

    Raises:
      ValueError: there is no such folder, or it holds too few images.
    """
    root = IMAGES.folder(folder)
    paths = find_images(root)
    if len(paths) < count:
        raise IMAGES.error(
            f"{root} must hold at least {count} images, found {len(paths)}"
        )
    chosen = rng.choice(len(paths), count, replace=False)
    return [str(paths[number].relative_to(root)) for number in chosen]


def read_squares(
    folder: str | os.PathLike | None, files: Sequence[str], side: int
) -> Float[np.ndarray, "n side side 3"]:
    """Reads whole images, each resampled to a square, as values in [0, 1].

    Raises:
      ValueError: there is no such folder, or a file cannot be read.
    """
    root = IMAGES.folder(folder)
    size = Exactly(side, side)
    prepare = Preprocessing(resize=size, crop=None, mean=None, std=None)
    return np.stack([prepare(read_image(Path(root, name))) for name in files])
