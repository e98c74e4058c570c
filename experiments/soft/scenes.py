"""Scenes of several handwritten digits, to be rendered wherever one likes."""

from typing import NamedTuple

import numpy as np
from jaxtyping import Float, Int

from experiments.scenes.digits import CLASSES, DIGIT, Digits


class Scenes(NamedTuple):
    """What stands where; `render` makes images of it.

    Attributes:
      digits: (N, K) indices into the digits.
      corners: (N, K, 2) row and column of the upper left corner of each, in pixels.
      present: (N, 10) boolean, the classes of the K digits, which all differ.
    """

    digits: Int[np.ndarray, "N K"]
    corners: Int[np.ndarray, "N K 2"]
    present: Int[np.ndarray, "N 10"]


def draw_scenes(
    digits: Digits,
    count: int,
    objects: int,
    region: tuple[int, int],
    step: int,
    rng: np.random.Generator,
) -> Scenes:
    """Draws scenes of digits of different classes that do not overlap.

    Args:
      digits: to draw from.
      count: scenes, N.
      objects: digits a scene, K.
      region: first and last row or column, in pixels, that a digit may cover (the last
        excluded).
      step: corners stand at multiples of this many pixels from the first one.
      rng: the source of all draws.

    Raises:
      ValueError: more objects than stand side by side in the region, or than classes.
    """
    low, high = region
    most = min(((high - low) // DIGIT) ** 2, CLASSES)
    if not 1 <= objects <= most:
        raise ValueError(f"objects must be 1 to {most} in {region}, got {objects}")
    labels = rng.permuted(np.tile(np.arange(CLASSES), (count, 1)), axis=1)[:, :objects]
    chosen = np.empty((count, objects), int)
    for label in range(CLASSES):
        here = labels == label
        members = np.flatnonzero(digits.labels == label)
        chosen[here] = rng.choice(members, here.sum())
    # All at once until none overlap: every arrangement is as likely as any other.
    corners = np.zeros((count, objects, 2), int)
    clash = np.ones(count, bool)
    while clash.any():
        corners[clash] = low + step * rng.integers(
            (high - low - DIGIT) // step + 1, size=(clash.sum(), objects, 2)
        )
        apart = np.abs(corners[:, :, None] - corners[:, None]).max(-1)
        clash = (apart + DIGIT * np.eye(objects, dtype=int) < DIGIT).any((1, 2))
    present = np.zeros((count, CLASSES), bool)
    np.put_along_axis(present, labels, True, axis=1)
    return Scenes(chosen, corners, present)


def render(
    digits: Digits,
    scenes: Scenes,
    side: int,
    shift: Int[np.ndarray, "N 2"] | tuple[int, int] = (0, 0),
) -> Float[np.ndarray, "N side side 1"]:
    """Draws scenes as images in [0, 1], all that is in them moved by `shift` pixels.

    Raises:
      ValueError: a digit would leave the image.
    """
    corners = scenes.corners + np.asarray(shift).reshape(-1, 1, 2)
    if corners.min() < 0 or corners.max() > side - DIGIT:
        raise ValueError(
            f"shift must keep all digits inside {side} pixels, got {shift}"
        )
    count, objects = scenes.digits.shape
    images = np.zeros((count, side, side, 1), np.float32)
    within = np.arange(DIGIT)
    for place in range(objects):
        rows = (corners[:, place, 0, None] + within)[:, :, None]
        columns = (corners[:, place, 1, None] + within)[:, None, :]
        samples = np.arange(count)[:, None, None]
        images[samples, rows, columns, 0] = digits.images[scenes.digits[:, place]]
    return images
