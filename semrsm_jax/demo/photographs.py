"""Photographs inside scikit-image's own wheel, and crops of them at many scales.

The files are read where the wheel put them: nothing is downloaded. Of the pictures in
the wheel all are taken that a camera, a microscope or a telescope made, in gray or in
color; drawings (chessboards, color wheel, horse, logo, phantom), the 25-pixel faces
and the cut-out of another retina are left out. The credits are those of scikit-image's
documentation (`skimage.data`): CC0 or public domain, or no licence of their own.
"""

import importlib.resources
from collections.abc import Callable
from typing import NamedTuple

import numpy as np
from jaxtyping import Float, Int, UInt8

from semrsm_jax._extras import required

# A photograph of which every crop is refused would otherwise be tried for ever.
_MOST_TRIES = 1000


class Photograph(NamedTuple):
    """One file of `skimage/data`.

    Attributes:
      file: its name.
      scene: what it shows; two views of one scene are never taken as unrelated.
      credit: who made it, as far as scikit-image says.
    """

    file: str
    scene: str
    credit: str


PHOTOGRAPHS = (
    Photograph("astronaut.png", "astronaut", "NASA, public domain"),
    Photograph("brick.png", "brick", "CC0Textures, CC0"),
    Photograph("camera.png", "camera", "Lav Varshney, CC0"),
    Photograph("cell.png", "cell", "Paul Müller et al., CC0"),
    Photograph("chelsea.png", "chelsea", "Stefan van der Walt, CC0"),
    Photograph("clock_motion.png", "clock", "Stefan van der Walt, public domain"),
    Photograph("coffee.png", "coffee", "Rachel Michetti, CC0"),
    Photograph("coins.png", "coins", "Brooklyn Museum, no known restrictions"),
    Photograph("grass.png", "grass", "linolafett (DeviantArt), CC0"),
    Photograph("gravel.png", "gravel", "CC0Textures, CC0"),
    Photograph("hubble_deep_field.jpg", "deep field", "NASA, public domain"),
    Photograph("ihc.png", "tissue", "no known restrictions"),
    Photograph("moon.png", "moon", "scikit-image"),
    Photograph("motorcycle_left.png", "motorcycle", "Middlebury Stereo 2014"),
    Photograph("motorcycle_right.png", "motorcycle", "Middlebury Stereo 2014"),
    Photograph("page.png", "page", "scikit-image"),
    Photograph("retina.jpg", "retina", "Mikael Häggström, CC0"),
    Photograph("rocket.jpg", "rocket", "SpaceX, public domain"),
    Photograph("text.png", "text", "Wikipedia, public domain"),
)

SCENES = tuple(dict.fromkeys(photograph.scene for photograph in PHOTOGRAPHS))


class Crops(NamedTuple):
    """Square crops of photographs, all brought to one size.

    Attributes:
      images: (N, size, size, 3) float32 in [0, 1]; gray ones have three equal channels.
      files: N file names.
      scenes: N names out of `SCENES`.
      regions: (N, 3), the top, left and side of each crop in pixels of its photograph.
    """

    images: Float[np.ndarray, "N size size 3"]
    files: tuple[str, ...]
    scenes: tuple[str, ...]
    regions: Int[np.ndarray, "N 3"]


def load_photograph(photograph: Photograph) -> UInt8[np.ndarray, "H W 3"]:
    """Reads a photograph from the installed scikit-image.

    Returns:
      (H, W, 3), 0 to 255.

    Raises:
      ImportError: scikit-image is not installed.
      FileNotFoundError: this scikit-image does not bring the file along.
    """
    imread = required("skimage.io", "demo", "photographs").imread
    path = importlib.resources.files("skimage").joinpath("data", photograph.file)
    if not path.is_file():
        raise FileNotFoundError(
            f"photograph {photograph.file!r} is not in the installed scikit-image "
            f"({path}); expected scikit-image 0.24 or later, installed from its wheel"
        )
    with importlib.resources.as_file(path) as file:
        image = imread(file)
    return np.repeat(image[..., None], 3, axis=-1) if image.ndim == 2 else image


def draw_crops(
    batches: int,
    per_batch: int,
    size: int,
    rng: np.random.Generator,
    accept: Callable[[Float[np.ndarray, "size size 3"]], bool],
    progress: Callable[[int, int], object] | None = None,
) -> Crops:
    """Draws batches of crops, those of a batch from different scenes.

    A crop is a square whose side is log-uniform between `size` pixels and the short
    side of its photograph, uniform in place, and made smaller with anti-aliasing;
    nothing is ever enlarged. A crop that `accept` refuses is drawn again from the same
    photograph.

    Args:
      batches: how many batches.
      per_batch: crops a batch, at most the number of scenes.
      size: rows and columns of the crops, in pixels.
      rng: the source of all draws.
      accept: whether a crop may serve.
      progress: called as ``progress(done, total)``, in crops.

    Returns:
      The `Crops`, batch after batch, N = batches * per_batch.

    Raises:
      ImportError, FileNotFoundError: as `load_photograph`.
      ValueError: `per_batch` exceeds the scenes, `size` a photograph, or `accept`
        refused a thousand crops of one photograph.
    """
    if per_batch > len(SCENES):
        raise ValueError(
            f"per_batch must be at most {len(SCENES)}, the scenes, got {per_batch}"
        )
    loaded: dict[str, np.ndarray] = {}
    images, chosen, regions = [], [], []
    for _ in range(batches):
        for scene in rng.choice(SCENES, per_batch, replace=False):
            views = [p for p in PHOTOGRAPHS if p.scene == scene]
            view = views[rng.integers(len(views))]
            if view.file not in loaded:
                loaded[view.file] = load_photograph(view)
            image, region = _crop(loaded[view.file], view.file, size, rng, accept)
            images.append(image)
            chosen.append(view)
            regions.append(region)
            if progress is not None:
                progress(len(images), batches * per_batch)
    files, scenes, _ = zip(*chosen, strict=True)
    return Crops(np.stack(images), files, scenes, np.array(regions))


def _crop(
    photograph: UInt8[np.ndarray, "H W 3"],
    file: str,
    size: int,
    rng: np.random.Generator,
    accept: Callable[[Float[np.ndarray, "size size 3"]], bool],
) -> tuple[Float[np.ndarray, "size size 3"], tuple[int, int, int]]:
    """The first random crop that is accepted, with its region."""
    resize = required("skimage.transform", "demo", "photographs").resize
    height, width = photograph.shape[:2]
    if size > min(height, width):
        raise ValueError(
            f"size must be at most the short side of every photograph, got {size} for "
            f"one of {height} x {width} pixels"
        )
    for _ in range(_MOST_TRIES):
        side = round(np.exp(rng.uniform(np.log(size), np.log(min(height, width)))))
        top, left = (int(rng.integers(length - side + 1)) for length in (height, width))
        region = photograph[top : top + side, left : left + side]
        image = resize(region, (size, size), anti_aliasing=side > size)
        image = np.asarray(image, np.float32)
        if accept(image):
            return image, (top, left, side)
    raise ValueError(
        f"accept refused {_MOST_TRIES} crops of {file!r}, expected a rule that some "
        "crop of every photograph meets"
    )
