"""Intervals over images for statistics of RSMs, also of more images than are resampled.

Pairs share images, so images are resampled, see `semrsm_jax.comparison.inference`.
"""

from dataclasses import dataclass
from typing import Any

import numpy as np
from jaxtyping import Float

from experiments._common.intervals import LEVEL, Interval
from semrsm_jax.comparison.inference import (
    Statistic,
    bootstrap_interval,
    difference_test,
)

RSM = Float[np.ndarray, "n n"]


@dataclass(frozen=True)
class Resampling:
    """How intervals come about.

    Where the RSMs given are of fewer images than the estimate, its interval is theirs,
    drawn in by the square root of the ratio, as errors of means over samples shrink
    (Politis, Romano and Wolf, "Subsampling", 1999).

    Attributes:
      samples: images of which the statistic is estimated.
      resamples: of the bootstrap.
      seed: of the resamples.
    """

    samples: int
    resamples: int
    seed: int

    def interval(
        self, K: RSM, L: RSM, statistic: Statistic, value: float | None = None
    ) -> Interval:
        """Of a statistic of two RSMs.

        Args:
          K: of all images, or of some drawn at random.
          L: of the same.
          statistic: of both.
          value: that of all images; None: that of K and L.
        """
        found = bootstrap_interval(K, L, statistic, **self._settings)
        return self._placed(value, len(K), found.estimate, found.low, found.high)

    def difference(
        self,
        first: tuple[RSM, RSM],
        second: tuple[RSM, RSM],
        statistic: Statistic,
        value: float | None = None,
    ) -> Interval:
        """Of the statistic of the first two RSMs less that of the second, paired.

        Args:
          first: two RSMs, as of `interval`.
          second: two RSMs of the same images.
          statistic: of both.
          value: the difference of all images; None: that of these RSMs.
        """
        found = difference_test(first, second, statistic, **self._settings)
        return self._placed(
            value, len(first[0]), found.difference, found.low, found.high
        )

    @property
    def _settings(self) -> dict[str, Any]:
        return {"key": self.seed, "resamples": self.resamples, "confidence": LEVEL}

    def _placed(
        self, value: float | None, images: int, middle: Any, low: Any, high: Any
    ) -> Interval:
        """The interval found, around the value of all images."""
        value = float(middle) if value is None else value
        reach = np.sqrt(images / self.samples)
        ends = (value + reach * (float(end) - float(middle)) for end in (low, high))
        return Interval(value, *map(float, ends))
