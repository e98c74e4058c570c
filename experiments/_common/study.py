"""Moved to `experiments.frame`."""

from experiments.frame.command_line import command as command
from experiments.frame.command_line import questions as questions
from experiments.frame.conduct import conduct as conduct
from experiments.frame.conduct import described as described
from experiments.frame.conduct import is_of as is_of
from experiments.frame.study import Study as Study
