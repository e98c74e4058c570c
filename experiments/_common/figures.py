"""Moved to `experiments.frame.figures`."""

from experiments.frame.figures import draw_intervals as draw_intervals
