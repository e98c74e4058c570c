"""Moved to `experiments.frame`."""

from experiments.frame.command_line import app_of as app_of
from experiments.frame.conduct import check_installed as check_installed
