"""Cityscapes (Cordts et al., 2016): street scenes, and the class of each pixel.

Images are ``leftImg8bit/SPLIT/CITY/CITY_SEQ_FRAME_leftImg8bit.png``, of 2048 x 1024
pixels; their fine annotations are in ``gtFine``, in the same folders and by the same
names, with ``_gtFine_labelIds.png`` at the end: one channel of 8 bits, 0 to 33, the ids
of the data set's own list of labels. Files of colors, instances and polygons are not
read.
"""

import os
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from pathlib import Path
from typing import NamedTuple

import numpy as np
from jaxtyping import Bool
from PIL import Image

from experiments.data.folders import DataSet
from experiments.frame.session import silent
from experiments.frame.worker import usable_cores
from semrsm_jax.cli.console import Report

_IMAGE, _LABELS = "_leftImg8bit.png", "_gtFine_labelIds.png"

CITYSCAPES = DataSet(
    "Cityscapes",
    "https://www.cityscapes-dataset.com/downloads (free for research, after "
    "registration): leftImg8bit_trainvaltest.zip (11 GB) and gtFine_trainvaltest.zip "
    "(241 MB), both to be unpacked into one folder.",
    f"""
    leftImg8bit/train/aachen/aachen_000000_000019{_IMAGE} ...
    leftImg8bit/val/frankfurt/frankfurt_000000_000294{_IMAGE} ...
    gtFine/train/aachen/aachen_000000_000019{_LABELS} ...
    gtFine/val/frankfurt/frankfurt_000000_000294{_LABELS} ...
    """,
)

# Id of each class that the data set's own scores are about -> its name.
CLASSES = {
    7: "road",
    8: "sidewalk",
    11: "building",
    12: "wall",
    13: "fence",
    17: "pole",
    19: "traffic light",
    20: "traffic sign",
    21: "vegetation",
    22: "terrain",
    23: "sky",
    24: "person",
    25: "rider",
    26: "car",
    27: "truck",
    28: "bus",
    31: "train",
    32: "motorcycle",
    33: "bicycle",
}
_LARGEST = 33  # of all ids; the others are ignored in the data set's own scores


class Streets(NamedTuple):
    """Images of one split, by city and name.

    Attributes:
      paths: (N,), the files of the images.
      labels: (N,), those of their label ids.
      sequences: (N,), text: city and number of the recording.
    """

    paths: tuple[Path, ...]
    labels: tuple[Path, ...]
    sequences: np.ndarray


def load_cityscapes(folder: str | os.PathLike | None, split: str) -> Streets:
    """Finds the images of a split and their annotations.

    Args:
      folder: with ``leftImg8bit`` and ``gtFine``, see `CITYSCAPES`.
      split: ``"train"`` or ``"val"``; the annotations of others are not public.

    Raises:
      ValueError: the folder is missing, there is no image of the split, or one of an
        image and its annotation is missing.
    """
    root = CITYSCAPES.folder(folder)
    images = _names(root / "leftImg8bit" / split, _IMAGE)
    labels = _names(root / "gtFine" / split, _LABELS)
    if not images:
        raise CITYSCAPES.error(f"there is no image in {root / 'leftImg8bit' / split}")
    halves = (("annotation", images, labels), ("image", labels, images))
    for missing, files, others in halves:
        alone = sorted(set(files) - set(others))
        if alone:
            raise CITYSCAPES.error(
                f"{len(alone)} of {len(files)} files of {split!r} have no {missing}:",
                (files[key] for key in alone),
            )
    order = sorted(images)
    return Streets(
        tuple(images[key] for key in order),
        tuple(labels[key] for key in order),
        # CITY/CITY_SEQ_FRAME: all but the frame.
        np.array([key.rpartition("_")[0].partition("/")[2] for key in order]),
    )


def classes_present(
    streets: Streets, least_pixels: int = 1, report: Report = silent
) -> Bool[np.ndarray, "N 19"]:
    """Which of `CLASSES` each image shows.

    Args:
      streets: the images.
      least_pixels: of a class, or it does not count.
      report: called as ``report(description, done, total)``.

    Raises:
      ValueError: an annotation is broken, or holds something other than label ids.
    """
    rows: list[np.ndarray] = []
    broken: list[str] = []
    read, paths = partial(_present, least_pixels=least_pixels), streets.labels
    with ThreadPoolExecutor(usable_cores()) as pool:
        results = zip(paths, pool.map(read, paths), strict=True)
        for done, (path, result) in enumerate(results, start=1):
            if isinstance(result, str):
                broken.append(f"{path}: {result}")
            else:
                rows.append(result)
            report("Reading annotations of Cityscapes", done, len(paths))
    if broken:
        raise CITYSCAPES.error(
            f"{len(broken)} of {len(paths)} annotations cannot be read; unpack them "
            "again:",
            broken,
        )
    return np.stack(rows)


def _present(path: Path, least_pixels: int) -> Bool[np.ndarray, " 19"] | str:
    """Whether the image shows each class, or what is wrong with the file."""
    try:
        with Image.open(path) as image:
            pixels = np.asarray(image)
    except (OSError, SyntaxError, ValueError, Image.DecompressionBombError) as error:
        return str(error) or type(error).__name__
    if pixels.ndim != 2 or pixels.dtype != np.uint8:
        return f"expected one channel of 8 bits, got {pixels.shape} {pixels.dtype}"
    areas = np.bincount(pixels.ravel(), minlength=256)
    if areas[_LARGEST + 1 :].any():
        return (
            f"expected label ids of 0 to {_LARGEST}, got {int(pixels.max())}; files "
            "of train ids hold other numbers"
        )
    return areas[list(CLASSES)] >= least_pixels


def _names(folder: Path, end: str) -> dict[str, Path]:
    """City and name, without its end -> the file."""
    return {
        f"{path.parent.name}/{path.name.removesuffix(end)}": path
        for path in folder.glob(f"*/*{end}")
        if not path.name.startswith(".")  # what some systems leave beside a file
    }
