"""Which images an experiment asks for."""

from pathlib import Path
from typing import NamedTuple


class Draw(NamedTuple):
    """Images drawn at random.

    Attributes:
      samples: how many.
      seed: of the draw.
      data: the user's folder, where they come from one.
    """

    samples: int
    seed: int
    data: Path | None = None
