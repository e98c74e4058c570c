"""How far a run has come."""

import time
from collections import deque
from dataclasses import dataclass, field
from typing import NamedTuple

from semrsm_jax.engine._local import Event

# The rate is that of the last so many seconds.
_WINDOW = 30.0


class Progress(NamedTuple):
    """How far a run has come.

    Attributes:
      stage: what is being done: ``"reading"`` the inputs, in samples, or
        ``"matching"``, in pairs.
      done: how many, those included that were there before.
      total: of how many.
      resumed: how many were there before.
      seconds: since the stage began.
      rate: how many a second, in the last half minute; None: not known yet.
    """

    stage: str
    done: int
    total: int
    resumed: int
    seconds: float
    rate: float | None

    @property
    def eta(self) -> float | None:
        """The seconds that are left, as far as one can tell."""
        if self.done >= self.total:
            return 0.0
        return (self.total - self.done) / self.rate if self.rate else None

    @property
    def resumed_share(self) -> float:
        """The share that was there before, from 0 to 1."""
        return self.resumed / self.total if self.total else 0.0


@dataclass
class Tally:
    """Counts what is done, tiles in the middle included."""

    stage: str
    total: int
    resumed: int = 0
    _written: int = 0
    _partial: dict[int, int] = field(default_factory=dict)
    _start: float = field(default_factory=time.monotonic)
    _marks: deque[tuple[float, int]] = field(default_factory=deque)

    def add(self, event: Event) -> Progress:
        """Counts an event, and says how far the run is."""
        if event.written:
            self._partial.pop(id(event.task), None)
            self._written += event.done
        else:
            self._partial[id(event.task)] = event.done
        return self.now(self._written + sum(self._partial.values()))

    def now(self, new: int) -> Progress:
        """How far the run is, with so many done since it began."""
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
