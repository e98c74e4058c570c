"""Photographs, of scikit-image's wheel or of any folder, and square crops of them.

Crops of one photograph are not independent, so all draws say which one each crop is of:
intervals resample photographs.
"""

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, Int, UInt8
from PIL import Image

from experiments.data.folders import DataSet
from experiments.frame.finding import Number, number
from experiments.frame.networks import LEAST_CONTRAST
from semrsm_jax.comparison.inference import score_interval
from semrsm_jax.demo.photographs import PHOTOGRAPHS, SCENES, load_photograph
from semrsm_jax.features.image_file import read_image
from semrsm_jax.features.image_folder import find_images

_LEAST_SHARE = 0.5  # of a photograph's short side, of the side of a crop
_MOST_TRIES = 1000  # of a photograph all of whose crops are blank
_LEAST = 8  # photographs; intervals over fewer mean little

FOLDER = DataSet(
    "Photographs",
    "your own; by default those that scikit-image brings along.",
    f"""
    any/folders/below/it/*.jpg    photographs, of different things, at least {_LEAST}
    """,
)
HELP = (
    "At the scale pretrained: a folder of photographs, at any depth below it; none: "
    "those that scikit-image brings along."
)
Read = Callable[[], UInt8[np.ndarray, "H W 3"]]


class DrawnCrops(NamedTuple):
    """Square crops.

    Attributes:
      images: (N, side, side, 3), 0 to 255.
      photographs: (N,), the number of the photograph that each is of.
    """

    images: UInt8[np.ndarray, "N side side 3"]
    photographs: Int[np.ndarray, " N"]

    @property
    def pixels(self) -> Float[np.ndarray, "N side side 3"]:
        """The crops in [0, 1]."""
        return self.images.astype(np.float32) / 255


@dataclass(frozen=True)
class PhotographCrops:
    """How crops are drawn of photographs: at random places, at many scales.

    The side of a crop is at least half the short side of its photograph; it is
    resampled to `side` pixels. Blank crops are drawn again.

    Attributes:
      side: rows and columns of the crops, in pixels.
    """

    side: int = 224

    def draw(self, data: Path | None, count: int, seed: int) -> DrawnCrops:
        """Draws crops of all photographs, of each as many as of any other or one more.

        As many crops in a row as there are photographs are of different ones.

        Args:
          data: folder of photographs; None: those of scikit-image.
          count: how many crops.
          seed: of the draw.

        Raises:
          ImportError: scikit-image is needed, and not installed.
          ValueError: there is no such folder, it holds too few photographs, or one
            cannot be read or is blank.
        """
        sources = readers(data)
        order = np.random.default_rng((seed, 1)).permutation(len(sources))
        return self.of(sources, np.resize(order, count), seed)

    def of(
        self, sources: list[Read], numbers: Int[np.ndarray, " N"], seed: int
    ) -> DrawnCrops:
        """Draws one crop of each of these photographs, which may repeat.

        Each photograph is read once.
        """
        images = np.empty((len(numbers), self.side, self.side, 3), np.uint8)
        for photograph in np.unique(numbers).tolist():
            picture = Image.fromarray(sources[photograph]())
            rng = np.random.default_rng((seed, 2, photograph))
            for place in np.flatnonzero(numbers == photograph):
                images[place] = self._crop(picture, rng)
        return DrawnCrops(images, numbers)

    def _crop(self, picture: Image.Image, rng: np.random.Generator) -> np.ndarray:
        sides = self.side, self.side
        for _ in range(_MOST_TRIES):
            size = rng.uniform(_LEAST_SHARE, 1) * min(picture.size)
            left, top = (rng.uniform(0, length - size) for length in picture.size)
            box = left, top, left + size, top + size
            crop = picture.resize(sides, Image.Resampling.BICUBIC, box)
            pixels = np.asarray(crop)
            # The middle is what shifted windows share.
            third = self.side // 3
            if pixels[third:-third, third:-third].std() >= 255 * LEAST_CONTRAST:
                return pixels
        raise ValueError(
            f"all of {_MOST_TRIES} crops of a photograph of {picture.size} pixels are "
            "blank; remove it from the folder"
        )


def readers(data: Path | None) -> list[Read]:
    """What reads each photograph: RGB (H, W, 3), 0 to 255.

    Of scikit-image's two views of one scene the first is taken.

    Args:
      data: folder of photographs, in the order of their paths; None: scikit-image's.

    Raises:
      ValueError: there is no such folder, or it holds too few photographs.
    """
    if data is None:
        first = [next(p for p in PHOTOGRAPHS if p.scene == s) for s in SCENES]
        return [partial(load_photograph, photograph) for photograph in first]
    root = FOLDER.folder(data)
    paths = find_images(root)
    if len(paths) < _LEAST:
        raise FOLDER.error(
            f"{root} must hold at least {_LEAST} photographs, found {len(paths)}"
        )
    return [partial(read_image, path) for path in paths]


def between_photographs(photographs: Int[np.ndarray, " N"] | None) -> dict[str, Any]:
    """What makes intervals those of pairs of different photographs; None: of all pairs.

    Two crops of one photograph are alike whatever the network does.

    Args:
      photographs: the photograph of each crop.

    Returns:
      Arguments of `bootstrap_interval` and `difference_test`.
    """
    if photographs is None:
        return {}
    return {"groups": photographs, "within_groups": "drop"}


def median_over_pairs(
    values: Float[np.ndarray, " P"],
    left: Int[np.ndarray, " P"],
    right: Int[np.ndarray, " P"],
    seed: int,
) -> Number:
    """The median of pairs of crops, with its interval over photographs.

    A resample draws photographs; a pair counts the product of how often its two were
    drawn.

    Args:
      values: of each pair.
      left: the photograph of its first crop.
      right: the photograph of its second crop.
      seed: of the resamples.
    """
    names, both = np.unique(np.stack([left, right]), return_inverse=True)
    one, other = both.reshape(2, -1)
    order = np.argsort(values)
    data = tuple(jnp.asarray(each[order]) for each in (values, one, other))
    groups = np.arange(len(names))
    return number(score_interval(data, _median, key=seed, groups=groups))


def _median(data: tuple[Array, Array, Array], counts: Array) -> Array:
    """The weighted median of sorted values of pairs; NaN where none is drawn."""
    values, one, other = data
    below = jnp.cumsum(counts[one] * counts[other])
    half = below[-1] / 2
    middle = [values[jnp.searchsorted(below, half, side)] for side in ("left", "right")]
    return jnp.where(half > 0, sum(middle) / 2, jnp.nan)
