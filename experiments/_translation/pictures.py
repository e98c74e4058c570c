"""Crops of the photographs at hand, and of the user's folder of images."""

from dataclasses import dataclass

import numpy as np
from jaxtyping import Float

from experiments._common.photographs import LEAST_CONTRAST
from experiments._common.session import Session
from experiments._data.images import draw_files, read_squares
from experiments._translation.config import Case, Crops, TranslationConfig
from semrsm_jax.demo.photographs import draw_crops


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
        wanted = config.batches * config.crops
        rng = np.random.default_rng((config.seed, 0))
        files = session.step(
            "files", lambda: {"files": np.array(draw_files(config.data, wanted, rng))}
        )["files"]

        def read(batch: int) -> Float[np.ndarray, "n size size 3"]:
            chosen = files[batch * config.crops : (batch + 1) * config.crops]
            # The paper downsamples, or resamples, whole images.
            return read_squares(config.data, chosen.tolist(), case.crop)

        return Crops(np.arange(wanted).reshape(config.batches, config.crops), read)
