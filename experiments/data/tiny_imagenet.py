"""Tiny-ImageNet's validation images: 200 classes of 64x64 pixels, with their labels.

wnids.txt names a class a line, by its WordNet id. The 10,000 of val/images have their
classes in val_annotations.txt, a line each: name, WordNet id, and a box (left, top,
right, bottom), between tabs. Some images are gray.
"""

import os
from pathlib import Path
from typing import NamedTuple

import numpy as np
from jaxtyping import Int

from experiments.data.folders import DataSet
from experiments.frame.session import silent
from semrsm_jax.cli.console import Report
from semrsm_jax.features import ImageFolder
from semrsm_jax.features.image_folder import Preprocess

TINY_IMAGENET = DataSet(
    "Tiny-ImageNet",
    "http://cs231n.stanford.edu/tiny-imagenet-200.zip.",
    """
    wnids.txt
    val/val_annotations.txt
    val/images/val_0.JPEG ...
    """,
)


class TinyImageNet(NamedTuple):
    """Labeled images.

    Attributes:
      images: the images, as they are listed.
      labels: (N,), the class of each: its place among the sorted WordNet ids, as
        networks trained on folders by class have them.
    """

    images: ImageFolder
    labels: Int[np.ndarray, " N"]


def open_tiny_imagenet(
    folder: str | os.PathLike | None,
    preprocess: Preprocess,
    samples: int | None = None,
    seed: int = 0,
    report: Report = silent,
) -> TinyImageNet:
    """Opens validation images, drawn at random; only those are read.

    Files that no list names are ignored: images without an annotation, other splits.

    Args:
      folder: tiny-imagenet-200, see `TINY_IMAGENET`.
      preprocess: from uint8 (H, W, 3) to what a network expects.
      samples: how many images; None takes all.
      seed: of the draw.
      report: called as ``report(description, done, total)``.

    Raises:
      ValueError: the folder is missing, or holds fewer images; a list is missing or
        damaged; an image that is listed is missing; or one of those drawn is broken.
    """
    root = TINY_IMAGENET.folder(folder)
    wnids = tuple(sorted(set(_lines(root / "wnids.txt"))))
    labeled = _annotated(root, wnids)
    drawn = TINY_IMAGENET.draw(len(labeled), samples, seed)
    paths, labels = zip(*(labeled[i] for i in drawn), strict=True)
    images = TINY_IMAGENET.images(root, paths, preprocess, report)
    return TinyImageNet(images, np.array(labels))


def _lines(path: Path) -> list[str]:
    """The lines of a list that are not empty, without trailing spaces."""
    try:
        text = path.read_text()
    except (OSError, UnicodeDecodeError) as error:
        reason = getattr(error, "strerror", None) or "no text"
        raise TINY_IMAGENET.error(f"{path} cannot be read: {reason}") from error
    lines = [line.rstrip() for line in text.splitlines() if line.strip()]
    if not lines:
        raise TINY_IMAGENET.error(f"{path} is empty")
    return lines


def _annotated(root: Path, wnids: tuple[str, ...]) -> list[tuple[Path, int]]:
    """The validation images that are listed, with their classes."""
    path = root / "val" / "val_annotations.txt"
    places = {wnid: place for place, wnid in enumerate(wnids)}
    labels: dict[Path, int] = {}
    for number, line in enumerate(_lines(path), 1):
        fields = line.split("\t")
        if len(fields) != 6 or not all(f.strip().isdigit() for f in fields[2:]):
            wrong = f"expected name, WordNet id and 4 numbers between tabs: {line!r}"
        elif (wnid := fields[1]) not in places:
            wrong = f"{wnid!r} is none of the {len(wnids)} classes of wnids.txt"
        elif (image := root / "val" / "images" / fields[0]) in labels:
            wrong = f"{fields[0]} is listed twice"
        else:
            labels[image] = places[wnid]
            continue
        raise TINY_IMAGENET.error(f"{path}, line {number}: {wrong}")
    TINY_IMAGENET.check_exist([*labels], "listed images")
    return [*labels.items()]
