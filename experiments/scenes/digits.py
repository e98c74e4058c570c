"""The 1,797 handwritten digits of scikit-learn, 8x8 pixels.

They are from UCI's Optical Recognition of Handwritten Digits and come with the wheel
(`sklearn.datasets.load_digits`).
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


def load_digits(test_share: float, rng: np.random.Generator) -> tuple[Digits, Digits]:
    """Splits the digits at random into those to train and those to test with."""
    from sklearn.datasets import load_digits

    images, labels = map(np.asarray, load_digits(return_X_y=True))
    images = (images / 16).astype(np.float32).reshape(-1, DIGIT, DIGIT)
    order = rng.permutation(len(images))
    test = round(test_share * len(images))
    first, rest = (Digits(images[i], labels[i]) for i in (order[test:], order[:test]))
    return first, rest
