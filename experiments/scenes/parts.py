"""What scenes are made of, held apart for training and for testing.

Each photograph is cut into tiles, a third of which are for testing: no pixel of a
photograph and no digit serves both splits. Some photographs give objects, cut out as
ellipses, and the others backgrounds, so that no object hides in its own like.
"""

import colorsys
import functools
from typing import Literal, NamedTuple

import numpy as np
from jaxtyping import Float
from PIL import Image, ImageFilter

from experiments.scenes.digits import load_digits
from semrsm_jax.demo.photographs import PHOTOGRAPHS, SCENES, load_photograph

Split = Literal["train", "test"]
SPLITS: tuple[Split, ...] = ("train", "test")

# The photographs that objects are cut from, each a class beside the ten digits.
OBJECTS = ("coins", "gravel", "deep field", "tissue", "page", "retina")
CLASSES = tuple(f"digit {digit}" for digit in range(10)) + OBJECTS
BACKGROUNDS = tuple(scene for scene in SCENES if scene not in OBJECTS)

SPRITE = 64  # pixels, rows and columns of an object before it is put into a scene
_TEST_SHARE = 1 / 3
_DIGIT_SEED = 8
_LEAST_TILE = 85  # pixels; photographs of a short side below three of it give two
_SOFT_EDGE = 0.12  # of the radius of a cut-out, over which it fades out
# Around the retina the photograph is black: what is cut is the inner part.
_INNER = {"retina": 0.15}
# Top, left, bottom and right of the coins, in pixels.
_COINS = (
    *((33, 21, 74, 67), (39, 81, 74, 120), (28, 131, 74, 179), (30, 192, 73, 240)),
    *((34, 255, 72, 295), (16, 305, 72, 364), (104, 25, 145, 67), (107, 84, 145, 122)),
    *((110, 134, 145, 174), (105, 186, 144, 227), (96, 245, 144, 296)),
    *((105, 317, 145, 356), (179, 25, 217, 63), (175, 80, 217, 124)),
    *((179, 135, 217, 174), (170, 189, 216, 237), (172, 253, 216, 297)),
    *((156, 315, 217, 380), (245, 93, 287, 136), (237, 147, 287, 199)),
    *((241, 220, 288, 269), (240, 276, 288, 326), (248, 336, 289, 381)),
)

Box = tuple[int, int, int, int]


class Sprite(NamedTuple):
    """An object to be put into a scene: its picture, and how opaque it is where."""

    picture: Image.Image
    mask: Image.Image


@functools.cache
def photograph(scene: str) -> Image.Image:
    """The first photograph of a scene.

    Raises:
      ImportError, FileNotFoundError: as `load_photograph`.
    """
    return Image.fromarray(
        load_photograph(next(p for p in PHOTOGRAPHS if p.scene == scene))
    )


@functools.cache
def regions(scene: str, split: Split) -> tuple[Box, ...]:
    """The parts of a photograph that one split may use: left, top, right, bottom.

    Every third tile is for testing, in diagonals, so that both splits see all sides of
    the picture. Of the coins whole ones are dealt out.
    """
    if scene == "coins":
        boxes = [(left, top, right, bottom) for top, left, bottom, right in _COINS]
        numbers = range(len(boxes))
    else:
        width, height = photograph(scene).size
        inset = _INNER.get(scene, 0.0)
        count = max(2, min(3, min(width, height) // _LEAST_TILE))
        columns = round(count * width / min(width, height))
        rows = round(count * height / min(width, height))
        x = (width * np.linspace(inset, 1 - inset, columns + 1)).astype(int).tolist()
        y = (height * np.linspace(inset, 1 - inset, rows + 1)).astype(int).tolist()
        cells = [(row, column) for row in range(rows) for column in range(columns)]
        boxes = [(x[c], y[r], x[c + 1], y[r + 1]) for r, c in cells]
        numbers = [row + 2 * column for row, column in cells]
    for_test = split == "test"
    return tuple(
        box
        for number, box in zip(numbers, boxes, strict=True)
        if (number % 3 == 2) == for_test
    )


def crop(scene: str, split: Split, share: float, rng: np.random.Generator) -> Box:
    """A random square in a random tile; its side is that share of the tile's short one.

    Returns:
      Left, top, right, bottom in pixels of the photograph.
    """
    allowed = regions(scene, split)
    left, top, right, bottom = allowed[rng.integers(len(allowed))]
    side = max(1, int(share * min(right - left, bottom - top)))
    left = int(rng.integers(left, right - side + 1))
    top = int(rng.integers(top, bottom - side + 1))
    return left, top, left + side, top + side


def draw_sprite(label: int, split: Split, rng: np.random.Generator) -> Sprite:
    """A random object of class ``CLASSES[label]``.

    A digit has a bright color of its own and a dark rim, so that it is seen on any
    background; a part of a photograph is as it is.
    """
    if label < 10:
        cores, masks = _digits(split)[label]
        which = int(rng.integers(len(cores)))
        color = colorsys.hsv_to_rgb(rng.random(), rng.uniform(0.2, 0.9), 1.0)
        core = np.asarray(cores[which], np.float32)[..., None] * np.array(color)
        return Sprite(Image.fromarray(core.astype(np.uint8)), masks[which])
    return cut_out(CLASSES[label], split, rng)


def cut_out(scene: str, split: Split, rng: np.random.Generator) -> Sprite:
    """An elliptic part of a photograph, of the tiles of that split."""
    if scene == "coins":
        allowed = regions(scene, split)
        box, aspect = allowed[rng.integers(len(allowed))], 1.0
    else:
        box = crop(scene, split, rng.uniform(0.5, 0.9), rng)
        aspect = rng.uniform(0.75, 1.0)
    picture = photograph(scene).resize((SPRITE, SPRITE), box=box)
    return Sprite(picture, _ellipse(aspect, bool(rng.integers(2))))


def _ellipse(aspect: float, upright: bool) -> Image.Image:
    """One axis of the full length, the other `aspect` of it, with a soft edge."""
    place = (np.arange(SPRITE) + 0.5) / SPRITE * 2 - 1
    wide, tall = (aspect, 1.0) if upright else (1.0, aspect)
    radius = np.hypot(place[:, None] / tall, place[None, :] / wide)
    opacity = np.clip((1 - radius) / _SOFT_EDGE, 0, 1)
    return Image.fromarray((255 * opacity).astype(np.uint8))


@functools.cache
def _digits(split: Split) -> list[tuple[list[Image.Image], list[Image.Image]]]:
    """For each of the ten classes the strokes, and these with their rims."""
    both = load_digits(_TEST_SHARE, np.random.default_rng(_DIGIT_SEED))
    digits = both[SPLITS.index(split)]
    results = []
    for label in range(10):
        cores = [_stroke(image) for image in digits.images[digits.labels == label]]
        masks = [core.filter(ImageFilter.MaxFilter(9)) for core in cores]
        results.append((cores, masks))
    return results


def _stroke(image: np.ndarray) -> Image.Image:
    """A digit of 8x8 pixels, enlarged, with a margin for its rim."""
    padded = Image.fromarray((255 * np.pad(image, 1)).astype(np.uint8))
    large = padded.resize((SPRITE, SPRITE), Image.Resampling.BICUBIC)
    # Steeper edges than the interpolation has.
    return large.point([min(255, max(0, int(2 * (v - 64)))) for v in range(256)])


def relight(
    image: Float[np.ndarray, "H W 3"], strength: float, rng: np.random.Generator
) -> Float[np.ndarray, "H W 3"]:
    """Another exposure, another color of the light, and a light from one side."""
    exposure, slope = rng.uniform(-1, 1), rng.uniform(-1, 1, 2) / 2
    color = rng.uniform(-1, 1, 3) / 2
    place = np.linspace(-0.5, 0.5, len(image))
    across = slope[0] * place[:, None] + slope[1] * place[None, :]
    gain = np.exp(strength * (exposure + across[..., None] + color))
    return np.clip(image * gain, 0, 1).astype(np.float32)
