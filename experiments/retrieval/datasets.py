"""The paper's own images: EgoObjects (section 4.2) and Cityscapes (Appendix D.4)."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from jaxtyping import Int, UInt8
from PIL import Image

from experiments.data.cityscapes import (
    CITYSCAPES,
    Streets,
    classes_present,
    load_cityscapes,
)
from experiments.data.egoobjects import EGOOBJECTS, load_egoobjects
from experiments.data.folders import DataSet
from experiments.frame.session import Session
from experiments.retrieval.collection import (
    OTHER_SCENES,
    SAME_SCENE,
    Collection,
    Groups,
    Measure,
    folder_name,
)
from semrsm_jax.features import load_network, read_image
from semrsm_jax.retrieval import class_iou, instance_f1

if TYPE_CHECKING:
    from experiments.retrieval.config import RetrievalConfig

_DRAWN = 256  # pixels, the longer side of an image in the gallery

Files = Sequence[Path]


@dataclass(frozen=True)
class EgoObjects:
    """Frames of EgoObjects, and the instances of each category that they show.

    Images are prepared as the checkpoint's own preprocessor_config.json says.

    Attributes:
      subset: of the data set.
      aspect: width to height of the frames that take part.
      batch_size: images a pass.
      dtype: that the networks compute in.
    """

    subset: str = "test"
    aspect: tuple[int, int] = (16, 9)
    batch_size: int = 8
    dtype: str = "float32"

    def collect(self, config: "RetrievalConfig", session: Session) -> Collection:
        """Draws frames; raises as `load_egoobjects`."""
        session.report("Reading annotations of EgoObjects", 0, None)
        frames = load_egoobjects(config.data, self.subset, self.aspect)
        queries, database = _draw(EGOOBJECTS, config, len(frames.paths))

        def split(values: Any) -> Any:
            return values[queries], values[database]

        files = split(np.array(frames.paths, object))
        counts = split(frames.counts)
        return Collection(
            "EgoObjects",
            {"F1": Measure(instance_f1, *counts), "IoU": Measure(class_iou, *counts)},
            {
                SAME_SCENE: Groups(*split(frames.videos)),
                OTHER_SCENES: Groups(*split(frames.groups)),
            },
            frames.groups[queries],
            partial(_picture, files[0]),
            partial(_picture, files[1]),
            partial(_features, self, EGOOBJECTS, config.data, files, session),
        )


@dataclass(frozen=True)
class Cityscapes:
    """Validation images of Cityscapes, looked up in the training images.

    Attributes:
      least_pixels: of a class, or it does not count as present.
      batch_size: images a pass.
      dtype: that the networks compute in.
    """

    least_pixels: int = 1
    batch_size: int = 8
    dtype: str = "float32"

    def collect(self, config: "RetrievalConfig", session: Session) -> Collection:
        """Takes the images of both splits; raises as `load_cityscapes`."""
        rng = np.random.default_rng(config.seed)
        queries, database = (
            _some(load_cityscapes(config.data, split), split, wanted, rng)
            for split, wanted in (("val", config.queries), ("train", config.sizes[-1]))
        )

        def look() -> dict[str, np.ndarray]:
            sides = {"queries": queries, "database": database}
            return {
                name: classes_present(streets, self.least_pixels, session.report)
                for name, streets in sides.items()
            }

        present = session.step("classes", look)
        files = queries.paths, database.paths
        return Collection(
            "Cityscapes",
            {"IoU": Measure(class_iou, present["queries"], present["database"])},
            {"training images": Groups(queries.sequences, database.sequences)},
            queries.sequences,
            partial(_picture, files[0]),
            partial(_picture, files[1]),
            partial(_features, self, CITYSCAPES, config.data, files, session),
        )


def _draw(
    data_set: DataSet, config: "RetrievalConfig", count: int
) -> tuple[Int[np.ndarray, " Q"], Int[np.ndarray, " M"]]:
    try:
        return config.draw(count)
    except ValueError as error:
        raise data_set.error(str(error)) from error


def _some(
    streets: Streets, split: str, wanted: int, rng: np.random.Generator
) -> Streets:
    """So many of the images of a split, drawn at random."""
    if len(streets.paths) < wanted:
        raise CITYSCAPES.error(
            f"{split!r} has {len(streets.paths)} images, {wanted} are needed"
        )
    chosen = rng.permutation(len(streets.paths))[:wanted]
    return Streets(
        tuple(streets.paths[i] for i in chosen),
        tuple(streets.labels[i] for i in chosen),
        streets.sequences[chosen],
    )


def _features(
    source: EgoObjects | Cityscapes,
    data_set: DataSet,
    folder: Path | None,
    files: tuple[Files, Files],
    session: Session,
    network: str,
) -> Mapping[str, tuple[Any, Any]]:
    """Tokens at the last hidden layer, extracted to disk."""
    session.report(f"Loading {network}", 0, None)
    loaded = load_network(network, source.dtype)
    preprocess = loaded.preprocessing()
    root, rows = data_set.folder(folder), []
    for name, paths in zip(("queries", "database"), files, strict=True):
        images = data_set.images(root, list(paths), preprocess, session.report)
        layers = session.features(
            f"{folder_name(network)}/{name}",
            loaded.model,
            images,
            [loaded.last],
            source.batch_size,
        ).layers
        rows.append(layers[loaded.last])
    return {loaded.last: (rows[0], rows[1])}


def _picture(files: Files, number: int) -> UInt8[np.ndarray, "H W 3"]:
    image = Image.fromarray(read_image(files[number]))
    image.thumbnail((_DRAWN, _DRAWN))
    return np.asarray(image)
