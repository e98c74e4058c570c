"""Crops of the photographs at hand, and of the user's folder of images."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, NamedTuple

import numpy as np
from jaxtyping import Float, Int
from PIL import Image

from experiments.data.images import draw_files, read_squares
from experiments.data.photographs import FOLDER, PhotographCrops, readers
from experiments.frame.networks import LEAST_CONTRAST
from experiments.frame.session import Session
from experiments.scenes.parts import BACKGROUNDS, crop, photograph

if TYPE_CHECKING:
    from experiments.translation.config import Case, WindowsConfig

_LEAST_SHARE = 0.7  # of a tile's short side; smaller crops would be enlarged much
_MOST_TRIES = 1000  # of a photograph all of whose crops were blank


class Crops(NamedTuple):
    """Crops by batch, read when they are needed.

    Attributes:
      scenes: (B, n), the number of what each crop shows, all of a batch different.
      read: gives the crops (n, size, size, 3) of a batch, in [0, 1].
    """

    scenes: Int[np.ndarray, "B n"]
    read: Callable[[int], Float[np.ndarray, "n size size 3"]]


@dataclass(frozen=True)
class Photographs:
    """Crops of scikit-image's photographs, those of a batch of different ones.

    They are of the tiles that no shipped network was trained on.
    """

    def __call__(
        self, config: "WindowsConfig", case: "Case", session: Session
    ) -> Crops:
        """Draws the crops; those of one photograph are of one scene."""

        def draw() -> dict[str, np.ndarray]:
            rng = np.random.default_rng((config.seed, 0))
            scenes = _scenes(config, len(BACKGROUNDS), rng)
            images = [_crop(BACKGROUNDS[scene], case, rng) for scene in scenes.flat]
            return {"images": np.stack(images), "scenes": scenes}

        return _stored(**session.step(f"{case.name}/crops", draw))


def _scenes(
    config: "WindowsConfig", count: int, rng: np.random.Generator
) -> Int[np.ndarray, "B n"]:
    """Which of `count` photographs, different ones in each batch."""
    draws = (rng.choice(count, config.crops, False) for _ in range(config.batches))
    return np.stack([*draws])


def _stored(scenes: Int[np.ndarray, "B n"], images: np.ndarray) -> Crops:
    """Crops as a step keeps them, those of all batches one after the other."""
    return Crops(scenes, images.reshape(*scenes.shape, *images.shape[1:]).__getitem__)


def _crop(
    scene: str, case: "Case", rng: np.random.Generator
) -> Float[np.ndarray, "size size 3"]:
    for _ in range(_MOST_TRIES):
        box = crop(scene, "test", rng.uniform(_LEAST_SHARE, 1.0), rng)
        size = case.crop, case.crop
        picture = photograph(scene).resize(size, Image.Resampling.BILINEAR, box)
        pixels = np.asarray(picture, np.float32) / 255
        # Two windows of blank sky have nothing in common to be found.
        if pixels[case.shift : case.window, : case.window].std() >= LEAST_CONTRAST:
            return pixels
    raise ValueError(f"all of {_MOST_TRIES} crops of {scene!r} are blank")


@dataclass(frozen=True)
class WholePhotographs:
    """Crops of photographs as they are, at many scales, a batch of different ones.

    The photographs are those of the user's folder, or scikit-image's.
    """

    def __call__(
        self, config: "WindowsConfig", case: "Case", session: Session
    ) -> Crops:
        """Draws the crops; those of one photograph are of one scene.

        Raises:
          ImportError, ValueError: as `PhotographCrops.draw`.
        """

        def draw() -> dict[str, np.ndarray]:
            sources = readers(config.data)
            if len(sources) < config.crops:
                raise FOLDER.error(
                    f"{config.data} must hold at least {config.crops} photographs, "
                    f"found {len(sources)}"
                )
            rng = np.random.default_rng((config.seed, 0))
            scenes = _scenes(config, len(sources), rng)
            drawn = PhotographCrops(case.crop).of(sources, scenes.ravel(), config.seed)
            return {"images": drawn.images, "scenes": scenes}

        crops = _stored(**session.step(f"{case.name}/crops", draw))
        return crops._replace(
            read=lambda batch: crops.read(batch).astype(np.float32) / 255
        )


@dataclass(frozen=True)
class ImageFiles:
    """Whole images of the user's folder, each brought to the size of a crop.

    Which files are taken is drawn once and kept with the finished steps.
    """

    def __call__(
        self, config: "WindowsConfig", case: "Case", session: Session
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
