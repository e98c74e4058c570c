"""Tiny-ImageNet: 200 classes of 64x64 pixels, with their labels.

wnids.txt names a class a line, by its WordNet id. Of the classes, train/ID/images holds
500 images each. The 10,000 of val/images have their classes in val_annotations.txt, a
line each: name, WordNet id, and a box (left, top, right, bottom), between tabs. Some
images are grey.
"""

import os
from pathlib import Path
from typing import Literal, NamedTuple

import numpy as np
from jaxtyping import Int

from experiments._common.session import silent
from experiments.data.folders import DataSet
from semrsm_jax.cli.console import Report
from semrsm_jax.features import ImageFolder
from semrsm_jax.features.image_folder import Preprocess

Split = Literal["train", "val"]

TINY_IMAGENET = DataSet(
    "Tiny-ImageNet",
    "http://cs231n.stanford.edu/tiny-imagenet-200.zip.",
    """
    wnids.txt
    train/n01443537/images/n01443537_0.JPEG ...
    val/val_annotations.txt
    val/images/val_0.JPEG ...
    """,
)
_SHOWN = 5


class TinyImageNet(NamedTuple):
    """Labelled images.

    Attributes:
      images: the images, by class and name (train) or as they are listed (val).
      labels: (N,), the class of each as a place in `wnids`.
      wnids: WordNet ids of all classes, sorted, as networks trained on folders by class
        have them.
    """

    images: ImageFolder
    labels: Int[np.ndarray, " N"]
    wnids: tuple[str, ...]


def open_tiny_imagenet(
    folder: str | os.PathLike | None,
    preprocess: Preprocess,
    samples: int | None = None,
    seed: int = 0,
    split: Split = "val",
    report: Report = silent,
) -> TinyImageNet:
    """Opens images of a split, drawn at random; only those are looked at.

    Files that no list names are left alone: images without an annotation, folders of no
    class, the test split.

    Args:
      folder: tiny-imagenet-200, see `TINY_IMAGENET`.
      preprocess: from uint8 (H, W, 3) to what a network expects.
      samples: how many images; None takes all.
      seed: of the draw.
      split: ``"train"`` or ``"val"``.
      report: called as ``report(description, done, total)``.

    Raises:
      ValueError: the folder is missing, or holds fewer images; a list is missing or
        damaged; an image that is listed is missing; or one of those drawn is broken.
    """
    root = TINY_IMAGENET.folder(folder)
    wnids = tuple(sorted(set(_lines(root / "wnids.txt"))))
    found = (_annotated if split == "val" else _in_folders)(root, wnids)
    drawn = TINY_IMAGENET.draw(len(found), samples, seed)
    paths, labels = zip(*(found[i] for i in drawn), strict=True)
    images = TINY_IMAGENET.images(root, paths, preprocess, report)
    return TinyImageNet(images, np.array(labels), wnids)


def _lines(path: Path) -> list[str]:
    """The lines of a list that are not empty, without space behind them."""
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
    found, seen = [], set()
    for number, line in enumerate(_lines(path), 1):
        fields = line.split("\t")
        if len(fields) != 6 or not all(f.strip().isdigit() for f in fields[2:]):
            raise TINY_IMAGENET.error(
                f"{path}, line {number}: expected name, WordNet id and 4 numbers "
                f"between tabs, got {line!r}"
            )
        name, wnid = fields[:2]
        if wnid not in places:
            raise TINY_IMAGENET.error(
                f"{path}, line {number}: {wnid!r} is none of the {len(wnids)} classes "
                "of wnids.txt"
            )
        if name in seen:
            raise TINY_IMAGENET.error(f"{path}, line {number}: {name} is listed twice")
        seen.add(name)
        found.append((root / "val" / "images" / name, places[wnid]))
    _check_there(root, [image for image, _ in found])
    return found


def _in_folders(root: Path, wnids: tuple[str, ...]) -> list[tuple[Path, int]]:
    """The training images of all classes."""
    folders = [root / "train" / wnid / "images" for wnid in wnids]
    _check_there(root, folders)
    return [
        (path, label)
        for label, (wnid, folder) in enumerate(zip(wnids, folders, strict=True))
        for path in sorted(folder.glob(f"{wnid}_*.JPEG"), key=_place_in_class)
    ]


def _place_in_class(path: Path) -> tuple[int, str]:
    """n01443537_10 comes after n01443537_9."""
    number = path.stem.partition("_")[2]
    return int(number) if number.isdigit() else 0, path.name


def _check_there(root: Path, paths: list[Path]) -> None:
    missing = [path for path in paths if not path.exists()]
    if missing:
        names = ", ".join(p.relative_to(root).as_posix() for p in missing[:_SHOWN])
        more = ", ..." if len(missing) > _SHOWN else ""
        raise TINY_IMAGENET.error(
            f"{len(missing)} of {len(paths)} that are listed are missing in {root}: "
            f"{names}{more}"
        )
