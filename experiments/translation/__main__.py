"""``python -m experiments.translation``."""

from experiments.frame.command_line import command
from experiments.translation.study import STUDY

if __name__ == "__main__":
    command(STUDY)()
