"""EgoObjects (Zhu et al., 2023): frames of videos, and the objects that each shows.

``EgoObjectsV1_unified_eval.json`` follows LVIS: an object with a list ``images`` and a
list ``annotations``. An image has an ``id``, the name of its file below ``images/``
(``url``), ``width`` and ``height``, its ``subset`` (``"test"`` or ``"val"``), and the
video that it was taken from: ``group_id``, of all videos of one main object in its
surroundings, and ``video_id``, one of up to ten in which distance, camera motion,
background and lighting differ. An annotation has an ``image_id``, a ``bbox``, an
``instance_id`` and, where its kind is one of the 368 of the data set, a
``category_id``. Other fields are not read.
"""

import json
import os
from collections import Counter
from collections.abc import Mapping
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from jaxtyping import Int

from experiments.data.folders import DataSet

_ANNOTATIONS = "EgoObjectsV1_unified_eval.json"
_IMAGES = "images"

EGOOBJECTS = DataSet(
    "EgoObjects",
    "https://ai.meta.com/datasets/egoobjects-downloads: EgoObjectsV1_images.zip (40 "
    f"GB), to be unpacked, and {_ANNOTATIONS}.",
    f"""
    {_ANNOTATIONS}
    {_IMAGES}/*.jpg
    """,
)

_OF_IMAGE = ("id", "url", "width", "height", "group_id", "video_id", "subset")


class Frames(NamedTuple):
    """Frames, in the order of the annotation file.

    Attributes:
      paths: (N,), the files.
      groups: (N,), text: the main object that a frame was taken for, in its
        surroundings; what the paper calls a scene.
      videos: (N,), text: the video of the group.
      counts: (N, C), how many instances of each category a frame shows; categories in
        the order of their ids as text.
    """

    paths: tuple[Path, ...]
    groups: np.ndarray
    videos: np.ndarray
    counts: Int[np.ndarray, "N C"]


def load_egoobjects(
    folder: str | os.PathLike | None,
    subset: str = "test",
    aspect: tuple[int, int] = (16, 9),
) -> Frames:
    """Finds the frames of a subset, as Appendix D.1 filters them.

    Frames of another shape than `aspect` are left out, and those without an object of a
    known category, for which there is no score. Instances without a category do not
    count. Files that the annotations do not name are ignored.

    Args:
      folder: with the annotations and the images, see `EGOOBJECTS`.
      subset: ``"test"`` or ``"val"``.
      aspect: width to height of the frames that are kept, to within a pixel. The paper
        resizes these to one size; every image processor does.

    Raises:
      ValueError: the folder or a file is missing; the annotations are damaged or lack
        what is named above; or there is no frame in the subset.
    """
    root = EGOOBJECTS.folder(folder)
    images, annotations = _read(root / _ANNOTATIONS)
    if len({image["id"] for image in images}) < len(images):
        raise EGOOBJECTS.error(f"{_ANNOTATIONS} has two images of one id")
    counted: dict[Any, Counter[str]] = {image["id"]: Counter() for image in images}
    for number, annotation in enumerate(annotations):
        if annotation.get("image_id") not in counted:
            raise EGOOBJECTS.error(
                f"{_ANNOTATIONS} is damaged: annotation {number} is of image "
                f"{annotation.get('image_id')!r}, which is not listed"
            )
        if annotation.get("category_id") is not None:
            counted[annotation["image_id"]][str(annotation["category_id"])] += 1
    kept = [
        image
        for image in images
        if image["subset"] == subset
        and _has_aspect(image, aspect)
        and counted[image["id"]]
    ]
    if not kept:
        subsets = sorted({str(image["subset"]) for image in images})
        raise EGOOBJECTS.error(
            f"{_ANNOTATIONS} has no frame of subset {subset!r} in {aspect[0]}:"
            f"{aspect[1]} with an object; subsets: {', '.join(subsets) or 'none'}"
        )
    paths = tuple(root / _IMAGES / str(image["url"]) for image in kept)
    EGOOBJECTS.check_exist(paths, f"frames that {_ANNOTATIONS} lists")
    categories = sorted({name for image in kept for name in counted[image["id"]]})
    return Frames(
        paths,
        np.array([str(image["group_id"]) for image in kept]),
        np.array([f"{image['group_id']} {image['video_id']}" for image in kept]),
        np.array([[counted[i["id"]][name] for name in categories] for i in kept]),
    )


def _read(path: Path) -> tuple[list[dict[str, Any]], list[dict[str, Any]]]:
    """The lists of images, which have all fields needed, and of annotations."""
    if not path.is_file():
        raise EGOOBJECTS.error(f"{path} does not exist")
    try:
        document = json.loads(path.read_bytes())
    except (OSError, ValueError) as error:
        raise EGOOBJECTS.error(
            f"{path} cannot be read as JSON; download it again: {error}"
        ) from error
    lists = []
    for key in ("images", "annotations"):
        entries = document.get(key) if isinstance(document, dict) else None
        if not isinstance(entries, list) or not all(
            isinstance(entry, dict) for entry in entries
        ):
            raise EGOOBJECTS.error(f"{path} must hold a list of objects {key!r}")
        lists.append(entries)
    for number, image in enumerate(lists[0]):
        missing = [key for key in _OF_IMAGE if key not in image]
        if missing:
            raise EGOOBJECTS.error(
                f"{path} is damaged: image {number} lacks {', '.join(missing)}"
            )
    return lists[0], lists[1]


def _has_aspect(image: Mapping[str, Any], aspect: tuple[int, int]) -> bool:
    width, height = image["width"], image["height"]
    return abs(width * aspect[1] - height * aspect[0]) < max(aspect)
