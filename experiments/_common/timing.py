"""Moved to `experiments.frame.timing`."""

from experiments.frame.timing import Turns as Turns
from experiments.frame.timing import take_turns as take_turns
