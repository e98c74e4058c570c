"""How far a run is."""

import time
from collections import deque
from dataclasses import dataclass, field
from typing import NamedTuple

# The rate is measured over this many seconds.
_WINDOW = 30.0


class Progress(NamedTuple):
    """How far a run is.

    Attributes:
      stage: ``"reading"``, the inputs, counted in samples; or ``"matching"``, counted
        in pairs.
      done: samples or pairs that are done, resumed ones included.
      total: samples or pairs in all.
      resumed: how many were stored before this call.
      seconds: since the stage began.
      rate: how many a second, over the last half minute; None: not known yet.
    """

    stage: str
    done: int
    total: int
    resumed: int
    seconds: float
    rate: float | None

    @property
    def eta(self) -> float | None:
        """The seconds left, estimated from the rate; None without a rate."""
        if self.done >= self.total:
            return 0.0
        return (self.total - self.done) / self.rate if self.rate else None

    @property
    def resumed_share(self) -> float:
        """The share that was stored before this call, from 0 to 1."""
        return self.resumed / self.total if self.total else 0.0


@dataclass
class Tally:
    """Counts what is done, the tiles that are being computed included."""

    stage: str
    total: int
    resumed: int = 0
    _written: int = 0
    _partial: dict[int, int] = field(default_factory=dict)
    _start: float = field(default_factory=time.monotonic)
    _marks: deque[tuple[float, int]] = field(default_factory=deque)

    def add(self, task: object, done: int, written: bool) -> Progress:
        """Counts pairs of a tile, which may be written now; returns the progress."""
        if written:
            self._partial.pop(id(task), None)
            self._written += done
        else:
            self._partial[id(task)] = done
        return self.now(self._written + sum(self._partial.values()))

    def now(self, new: int) -> Progress:
        """The progress with `new` samples or pairs done since the stage began."""
        now = time.monotonic()
        if not self._marks or now - self._marks[-1][0] > _WINDOW / 100:
            self._marks.append((now, new))
        while len(self._marks) > 2 and now - self._marks[1][0] > _WINDOW:
            self._marks.popleft()
        (then, before), rate = self._marks[0], None
        if now > then and new > before:
            rate = (new - before) / (now - then)
        done = self.resumed + new
        seconds = now - self._start
        return Progress(self.stage, done, self.total, self.resumed, seconds, rate)
