"""A user's own photographs, in place of scenes, as `windows` and `channels` take them."""

from pathlib import Path

import numpy as np
from jaxtyping import Float

from experiments._common.session import silent
from experiments._data._folders import DataSet
from semrsm_jax.cli._console import Report
from semrsm_jax.features.image_folder import find_images
from semrsm_jax.features.preprocessing import Preprocessing, ShortestEdge

PHOTOGRAPHS = DataSet(
    "photographs",
    "any that you have; ImageNet's validation images (https://image-net.org, free for "
    "research after registration) or COCO's (https://cocodataset.org, val2017).",
    """
    any/folders/below/any-name.jpg    (or .png, .webp, .bmp, .tiff, .gif)
    """,
)


def read_photographs(
    folder: Path, side: int, count: int, seed: int, report: Report = silent
) -> Float[np.ndarray, "N side side 3"]:
    """Draws photographs of a folder, each the central square made `side` pixels wide.

    Returns:
      (count, side, side, 3), in [0, 1]; which ones depends on the seed.

    Raises:
      ValueError: the folder is missing, holds fewer images, or a broken one is drawn.
    """
    root = PHOTOGRAPHS.folder(folder)
    paths = find_images(root)
    if len(paths) < count:
        raise PHOTOGRAPHS.error(
            f"{root} must hold at least {count} images, got {len(paths)}"
        )
    drawn = np.random.default_rng(seed).permutation(len(paths))[:count]
    square = Preprocessing(ShortestEdge(side), crop=(side, side), mean=None, std=None)
    images = PHOTOGRAPHS.images(root, [paths[i] for i in drawn], square, report)
    return images.read(0, count)
