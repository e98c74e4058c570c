"""Crops of the photographs at hand, and of the user's folder of images."""

from dataclasses import dataclass
from pathlib import Path

import numpy as np
from jaxtyping import Float

from experiments._common.photographs import LEAST_CONTRAST
from experiments._common.session import Session
from experiments._data._folders import DataSet
from experiments._translation.config import Case, Crops, TranslationConfig
from semrsm_jax.demo.photographs import draw_crops
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


@dataclass(frozen=True)
class Photographs:
    """Crops at many scales of scikit-image's photographs, those of a batch unlike."""

    def __call__(
        self, config: TranslationConfig, case: Case, session: Session
    ) -> Crops:
        """Draws the crops; two crops show one scene where their photographs do."""

        def shared_differ(crop: Float[np.ndarray, "H W 3"]) -> bool:
            # Two windows of blank sky have nothing in common to be found.
            return crop[case.shift : case.window].std() >= LEAST_CONTRAST

        def draw() -> dict[str, np.ndarray]:
            crops = draw_crops(
                config.batches,
                config.crops,
                case.crop,
                np.random.default_rng((config.seed, 0)),
                shared_differ,
                lambda done, total: session.report(
                    f"Cropping photographs, {case.name}", done, total
                ),
            )
            _, scenes = np.unique(crops.scenes, return_inverse=True)
            return {"images": crops.images, "scenes": scenes}

        found = session.step(f"{case.name}/crops", draw)
        shape = config.batches, config.crops
        images = found["images"].reshape(*shape, *found["images"].shape[1:])
        return Crops(found["scenes"].reshape(shape), images.__getitem__)


@dataclass(frozen=True)
class ImageFiles:
    """Whole images of the user's folder, each brought to the size of a crop.

    Which files are taken is drawn once and kept with the finished steps.
    """

    def __call__(
        self, config: TranslationConfig, case: Case, session: Session
    ) -> Crops:
        """Chooses the files; each shows a scene of its own.

        Raises:
          ValueError: there is no such folder, or it holds too few images.
        """
        folder = IMAGES.folder(config.data)
        wanted = config.batches * config.crops

        def choose() -> dict[str, np.ndarray]:
            paths = find_images(folder)
            if len(paths) < wanted:
                raise IMAGES.error(
                    f"{folder} must hold at least {wanted} images, found {len(paths)}"
                )
            rng = np.random.default_rng((config.seed, 0))
            chosen = rng.choice(len(paths), wanted, replace=False)
            return {
                "files": np.array([str(paths[k].relative_to(folder)) for k in chosen])
            }

        files = session.step("files", choose)["files"]
        # The paper downsamples or resamples whole images; nothing is normalised here.
        size = Exactly(case.crop, case.crop)
        prepare = Preprocessing(resize=size, crop=None, mean=None, std=None)

        def read(batch: int) -> Float[np.ndarray, "n size size 3"]:
            names = files[batch * config.crops : (batch + 1) * config.crops]
            return np.stack([prepare(read_image(Path(folder, n))) for n in names])

        return Crops(np.arange(wanted).reshape(config.batches, config.crops), read)
