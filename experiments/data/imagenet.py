"""Images of ImageNet (ILSVRC 2012), validation or test, without their labels.

The archives ILSVRC2012_img_val.tar and ILSVRC2012_img_test_v10102019.tar hold files
named ILSVRC2012_val_00000001.JPEG to 00050000, and ILSVRC2012_test_00000001.JPEG to
00100000, in one folder. Many copies have the validation images sorted into a folder for
each class, named by its WordNet id; Kaggle's copy has the same files deeper down. The
classes are in none of the names, and no experiment needs them.
"""

import os
import re
from pathlib import Path
from typing import Literal

from experiments.data.folders import DataSet
from experiments.frame.session import silent
from semrsm_jax.cli.console import Report
from semrsm_jax.features import ImageFolder
from semrsm_jax.features.image_folder import Preprocess

Split = Literal["val", "test"]

IMAGENET = DataSet(
    "ImageNet (ILSVRC 2012)",
    "https://image-net.org/challenges/LSVRC/2012 (free for research, after "
    "registration), or Kaggle's imagenet-object-localization-challenge.",
    """
    val/ILSVRC2012_val_00000001.JPEG ..., or
    val/n01751748/ILSVRC2012_val_00000001.JPEG ..., in folders by class, or
    ILSVRC/Data/CLS-LOC/val/ILSVRC2012_val_00000001.JPEG ..., as Kaggle has it
    """,
)
# Where a split may lie below the folder that the user names.
_PLACES = ("{split}", "ILSVRC/Data/CLS-LOC/{split}", ".")


def open_imagenet(
    folder: str | os.PathLike | None,
    preprocess: Preprocess,
    samples: int | None = None,
    seed: int = 0,
    split: Split = "val",
    report: Report = silent,
) -> ImageFolder:
    """Opens images of a split, drawn at random; only those are read.

    Other files are ignored: those of other splits, lists, thumbnails.

    Args:
      folder: in which the images lie, see `IMAGENET`.
      preprocess: from uint8 (H, W, 3) to what a network expects.
      samples: how many images; None takes all.
      seed: of the draw.
      split: ``"val"``, or ``"test"``, the images without published labels.
      report: called as ``report(description, done, total)``.

    Returns:
      The images in the order of their numbers.

    Raises:
      ValueError: the folder is missing, or holds fewer images of the split; an image
        stands in it twice; or one of those drawn is broken.
    """
    root = IMAGENET.folder(folder)
    for place in _PLACES:
        paths = _numbered(root / place.format(split=split), split)
        if paths:
            break
    else:
        raise IMAGENET.error(f"there is no ILSVRC2012_{split}_*.JPEG in {root}")
    chosen = [paths[i] for i in IMAGENET.draw(len(paths), samples, seed)]
    return IMAGENET.images(root, chosen, preprocess, report)


def _numbered(folder: Path, split: Split) -> list[Path]:
    """The images of a split in a folder or its folders by class, by their number."""
    name = re.compile(rf"ILSVRC2012_{split}_(\d{{8}})\.JPEG")
    paths: dict[str, Path] = {}
    for pattern in ("*.JPEG", "n????????/*.JPEG"):
        for path in folder.glob(pattern):
            match = name.fullmatch(path.name)
            if match is None:
                continue
            if match[1] in paths:
                raise IMAGENET.error(
                    f"{path.name} exists twice:", (paths[match[1]], path)
                )
            paths[match[1]] = path
    return [paths[number] for number in sorted(paths)]
