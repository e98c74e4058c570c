"""Scenes of several objects on a photograph, each seen from several views.

A scene is painted once, larger than any view of it; a view is a part of that painting,
moved, zoomed and lit. What may matter for retrieval is a field of `SceneConfig`: scale
and number of objects, spread of the viewpoints, resolution, and where objects stand.
"""

from collections.abc import Callable
from dataclasses import dataclass
from types import SimpleNamespace
from typing import Literal, NamedTuple, get_args

import numpy as np
from jaxtyping import Float, Int
from PIL import Image

from experiments.frame.checks import check_counts
from experiments.scenes.parts import (
    BACKGROUNDS,
    CLASSES,
    SPLITS,
    Split,
    crop,
    cut_out,
    draw_sprite,
    photograph,
    relight,
)

__all__ = ["BACKGROUNDS", "CLASSES", "SceneConfig", "SceneSet", "compose"]

_FINENESS = 2  # pixels of the painting for one of a view without zoom
_PLACES = 32  # tried for an object; of none is free, the least crowded one is taken
_LEAST_VISIBLE = 0.5  # of an object's area, or it does not count

Placement = Literal["free", "class", "cell"]


@dataclass(frozen=True)
class SceneConfig:
    """What an experiment may control.

    Scenes of one seed whose configs differ in scale, viewpoint, light, resolution or
    placement show the same objects on the same backgrounds.

    Attributes:
      side: rows and columns of the images, in pixels.
      objects: fewest and most objects of a scene.
      scale: smallest and largest side of an object over that of the image.
      shift: largest move of the camera, along each axis, over the side of the image.
      zoom: the camera magnifies between 1 / (1 + zoom) and 1 + zoom.
      lighting: largest change of the logarithm of the brightness; colors and the
        brightness across the image change by half as much.
      clutter: parts of other backgrounds in a scene that belong to no class.
      repeat: probability that an object is of the class of the one before it.
      classes: of the objects, names out of `CLASSES`.
      placement: ``"free"``; ``"class"``, each object in the cell of its class, so that
        what says where; or ``"cell"``, all objects of a scene in one cell, drawn for
        the scene apart from what it shows, so that where may be the label.
      grid: rows and columns of cells.

    Raises:
      TypeError: a count is no integer.
      ValueError: a field is out of its range.
    """

    side: int = 64
    objects: tuple[int, int] = (2, 5)
    scale: tuple[float, float] = (0.25, 0.45)
    shift: float = 0.15
    zoom: float = 0.2
    lighting: float = 0.3
    clutter: int = 0
    repeat: float = 0.3
    classes: tuple[str, ...] = CLASSES
    placement: Placement = "free"
    grid: int = 4

    def __post_init__(self) -> None:
        """Checks the fields."""
        check_counts(self, "side", minimum=8)
        check_counts(self, "clutter", minimum=0)
        check_counts(self, "grid")
        if self.placement not in (known := get_args(Placement)):
            raise ValueError(f"placement must be one of {known}, got {self.placement}")
        fewest, most = self.objects
        low, high = self.scale
        some = bool(self.classes) and set(self.classes) <= set(CLASSES)
        for name, holds, expected in (
            ("objects", 1 <= fewest <= most, "two counts from 1 up, rising"),
            ("scale", 0 < low <= high <= 1, "two shares in (0, 1], rising"),
            ("shift", 0 <= self.shift <= 2, "between 0 and 2"),
            ("zoom", 0 <= self.zoom <= 2, "between 0 and 2"),
            ("lighting", 0 <= self.lighting <= 2, "between 0 and 2"),
            ("repeat", 0 <= self.repeat <= 1, "between 0 and 1"),
            ("classes", some, f"some of {CLASSES}"),
        ):
            if not holds:
                raise ValueError(
                    f"{name} must be {expected}, got {getattr(self, name)}"
                )
        if self.placement == "class" and len(self.classes) > self.grid**2:
            raise ValueError(
                f"grid must have a cell for each of {len(self.classes)} classes, got "
                f"{self.grid} x {self.grid}"
            )


class SceneSet(NamedTuple):
    """Images of scenes, and what is known of them; the views of a scene stand together.

    Attributes:
      images: (N, side, side, 3) float32 in [0, 1].
      scene: (N,), the scene that each image is a view of.
      counts: (N, K), the instances of each class of `CLASSES` of which at least half is
        visible in the image.
      labels: (N, side, side), the class of each pixel: 0 for the background, else 1 +
        its index in `CLASSES`.
      background: (N,), index in `BACKGROUNDS` of the photograph behind.
      cell: (N,), where the objects of the scene stand, row by row from 0, where the
        placement is ``"cell"``; -1 elsewhere.
    """

    images: Float[np.ndarray, "N side side 3"]
    scene: Int[np.ndarray, " N"]
    counts: Int[np.ndarray, "N K"]
    labels: Int[np.ndarray, "N side side"]
    background: Int[np.ndarray, " N"]
    cell: Int[np.ndarray, " N"]


class _Painting(NamedTuple):
    """A scene: picture, number of the object at each pixel, and the objects' classes.

    Objects are numbered from 1; `areas` are their pixels, hidden ones included.
    """

    picture: Image.Image
    objects: Image.Image
    classes: list[int]
    areas: list[int]
    background: int
    cell: int


def compose(
    config: SceneConfig,
    scenes: int,
    views: int,
    seed: int,
    split: Split = "test",
    progress: Callable[[int, int], object] | None = None,
) -> SceneSet:
    """Draws scenes and views of them.

    Every scene has a source of randomness of its own, so that the first scenes of a
    larger set are those of a smaller one, and content and camera do not depend on each
    other.

    Args:
      config: the settings.
      scenes: how many.
      views: of each scene.
      seed: of all draws.
      split: ``"train"`` or ``"test"``; they share neither a digit nor a region of a
        photograph.
      progress: called as ``progress(done, total)``, in scenes.

    Returns:
      The `SceneSet` of N = scenes * views images.

    Raises:
      ImportError: scikit-image or scikit-learn is not installed.
      ValueError: a count is below one, or there is no such split.
    """
    counts = SimpleNamespace(scenes=scenes, views=views, seed=seed)
    check_counts(counts, "scenes", "views")
    check_counts(counts, "seed", minimum=0)
    if split not in SPLITS:
        raise ValueError(f"split must be one of {SPLITS}, got {split!r}")
    results = []
    for scene in range(scenes):
        key = (seed, SPLITS.index(split), scene)
        painting = _paint(config, split, np.random.default_rng((*key, 0)))
        camera = np.random.default_rng((*key, 1))
        for _ in range(views):
            image, counts, labels = _view(config, painting, camera)
            results.append(
                (image, scene, counts, labels, painting.background, painting.cell)
            )
        if progress is not None:
            progress(scene + 1, scenes)
    return SceneSet(*map(np.stack, zip(*results, strict=True)))


def _margin(config: SceneConfig) -> float:
    """What the painting shows on each side beyond an unmoved view, in sides."""
    return config.zoom / 2 + config.shift


def _paint(config: SceneConfig, split: Split, rng: np.random.Generator) -> _Painting:
    unit = _FINENESS * config.side
    size = int(np.ceil((1 + 2 * _margin(config)) * unit))
    background = int(rng.integers(len(BACKGROUNDS)))
    behind = BACKGROUNDS[background]
    box = crop(behind, split, rng.uniform(0.6, 1.0), rng)
    picture = photograph(behind).resize((size, size), box=box)
    objects = Image.new("L", (size, size))

    count = int(rng.integers(config.objects[0], config.objects[1] + 1))
    classes = _draw_classes(config, count, rng)
    sprites = [draw_sprite(label, split, rng) for label in classes]
    for _ in range(config.clutter):
        others = [scene for scene in BACKGROUNDS if scene != behind]
        sprites.append(cut_out(others[rng.integers(len(others))], split, rng))
    # As shares first, so that configs of other scales differ in nothing else.
    low, high = config.scale
    sides = low + (high - low) * rng.random(len(sprites))
    cell = int(rng.integers(config.grid**2)) if config.placement == "cell" else -1
    centers = _place(config, classes, sides, cell, rng)

    areas = [0] * len(sprites)
    # Clutter first, so that it hides no object.
    for index in reversed(range(len(sprites))):
        side = max(2, round(sides[index] * unit))
        place = _margin(config) * unit + centers[index] * unit - side / 2
        row, column = (int(round(p)) for p in place)
        mask = sprites[index].mask.resize((side, side))
        picture.paste(sprites[index].picture.resize((side, side)), (column, row), mask)
        solid = mask.point([255 * (v > 127) for v in range(256)])
        number = index + 1 if index < count else 0
        objects.paste(number, (column, row, column + side, row + side), solid)
        areas[index] = int((np.asarray(solid) > 0).sum())
    return _Painting(picture, objects, classes, areas[:count], background, cell)


def _draw_classes(
    config: SceneConfig, count: int, rng: np.random.Generator
) -> list[int]:
    drawn = rng.integers(len(config.classes), size=count)
    repeats = rng.random(count) < config.repeat
    for index in range(1, count):
        if repeats[index]:
            drawn[index] = drawn[index - 1]
    return [CLASSES.index(config.classes[label]) for label in drawn]


def _place(
    config: SceneConfig,
    classes: list[int],
    sides: Float[np.ndarray, " n"],
    cell: int,
    rng: np.random.Generator,
) -> Float[np.ndarray, "n 2"]:
    """Row and column of the objects' centers, in sides of an unmoved view.

    Of some random places each object takes the first that touches none placed before.
    """
    low, extent = np.zeros((len(sides), 2)), np.ones(len(sides))
    if config.placement != "free":
        cells = [config.classes.index(CLASSES[label]) for label in classes]
        if config.placement == "cell":
            cells = [cell] * len(classes)
        rows, columns = np.divmod(cells, config.grid)
        low[: len(classes)] = np.stack([rows, columns], axis=1) / config.grid
        extent[: len(classes)] = 1 / config.grid
    tried = rng.random((len(sides), _PLACES, 2))
    centers = np.zeros((0, 2))
    for index, side in enumerate(sides):
        # An object larger than its cell stands in the middle of it.
        room = max(0.0, extent[index] - side)
        tries = low[index] + (extent[index] - room) / 2 + room * tried[index]
        apart = np.linalg.norm(tries[:, None] - centers, axis=-1)
        clearance = apart - (side + sides[:index]) / 2
        crowding = np.minimum(clearance.min(axis=1, initial=0.0), 0.0)
        centers = np.concatenate([centers, tries[[np.argmax(crowding)]]])
    return centers


def _view(config: SceneConfig, painting: _Painting, rng: np.random.Generator):
    """The image, the visible instances of each class, and the class of each pixel."""
    unit, side = _FINENESS * config.side, config.side
    zoom = (1 + config.zoom) ** rng.uniform(-1, 1)
    middle = painting.picture.width / 2 + config.shift * unit * rng.uniform(-1, 1, 2)
    left, top = np.maximum(middle - unit / zoom / 2, 0)
    width = min(unit / zoom, painting.picture.width - max(left, top))
    box = (left, top, left + width, top + width)
    shown = painting.picture.resize((side, side), Image.Resampling.BILINEAR, box)
    image = relight(np.asarray(shown, np.float32) / 255, config.lighting, rng)

    numbers = np.asarray(
        painting.objects.resize((side, side), Image.Resampling.NEAREST, box)
    )
    visible = np.bincount(numbers.ravel(), minlength=len(painting.classes) + 1)[1:]
    expected = np.array(painting.areas) * (side / width) ** 2
    counted = visible >= _LEAST_VISIBLE * expected
    counts = np.bincount(np.array(painting.classes)[counted], minlength=len(CLASSES))
    labels = np.array([0, *(label + 1 for label in painting.classes)])[numbers]
    return image, counts, labels
