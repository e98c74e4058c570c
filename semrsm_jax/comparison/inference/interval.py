"""The interval that every function of inference returns."""

from typing import Any, NamedTuple

import numpy as np

# A scalar or array (...): of JAX from a bootstrap, in float64 of NumPy from the others.
Number = Any


class Interval(NamedTuple):
    """An estimate with its uncertainty.

    Attributes:
      estimate: of all samples; of several scores at once, an array (...) of them, as
        are the other fields.
      low: lower end of the interval.
      high: upper end of the interval.
      standard_error: of the estimate; None for an interval of order statistics.
      resampled: (B, ...), the statistic of each resample; NaN where too few different
        samples were drawn for it. None for an interval that is not a bootstrap's.
    """

    estimate: Number
    low: Number
    high: Number
    standard_error: Number = None
    resampled: Number = None

    def floats(self) -> tuple[float, float, float]:
        """Estimate, low and high of a single score as Python floats, for a table."""
        return float(self.estimate), float(self.low), float(self.high)

    def scaled(self, estimate: Number, share: float) -> "Interval":
        """The interval of an estimate from more samples than were resampled.

        Both ends keep their distance from the estimate, times sqrt(share): errors of
        means over samples shrink so.

        Args:
          estimate: of all samples.
          share: of all samples that were resampled, in (0, 1].

        References:
          Politis, Romano and Wolf, "Subsampling", 1999.
        """
        reach = float(np.sqrt(share))

        def placed(end: Number) -> Number:
            return estimate + reach * (end - self.estimate)

        error, resampled = self.standard_error, self.resampled
        return Interval(
            estimate,
            placed(self.low),
            placed(self.high),
            None if error is None else reach * error,
            None if resampled is None else placed(resampled),
        )
