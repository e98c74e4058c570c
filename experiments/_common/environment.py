"""Moved to `experiments.frame.environment`."""

from experiments.frame.environment import described as described
from experiments.frame.environment import environment as environment
from experiments.frame.environment import plain as plain
