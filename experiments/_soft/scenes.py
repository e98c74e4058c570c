"""Scenes of several handwritten digits, to be rendered wherever one likes.

The digits are the 1,797 of scikit-learn (`sklearn.datasets.load_digits`, 8x8 pixels,
from UCI's Optical Recognition of Handwritten Digits): they come with its wheel.
"""

from typing import NamedTuple

import numpy as np
from jaxtyping import Float, Int

DIGIT = 8  # pixels, rows and columns of a digit
CLASSES = 10


class Digits(NamedTuple):
    """Digits of one split.

    Attributes:
      images: (n, 8, 8) float32 in [0, 1].
      labels: (n,), 0 to 9.
    """

    images: Float[np.ndarray, "n 8 8"]
    labels: Int[np.ndarray, " n"]


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


def load_digits(test_share: float, rng: np.random.Generator) -> tuple[Digits, Digits]:
    """Splits the digits at random into those to train and those to test with."""
    from sklearn.datasets import load_digits

    images, labels = map(np.asarray, load_digits(return_X_y=True))
    images = (images / 16).astype(np.float32).reshape(-1, DIGIT, DIGIT)
    order = rng.permutation(len(images))
    test = round(test_share * len(images))
    first, rest = (Digits(images[i], labels[i]) for i in (order[test:], order[:test]))
    return first, rest


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

    Returns:
      The scenes.

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
