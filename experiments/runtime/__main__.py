"""``python -m experiments.runtime``."""

from experiments.frame.command_line import command
from experiments.runtime.study import STUDY

if __name__ == "__main__":
    command(STUDY)()
