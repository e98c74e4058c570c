"""``python -m experiments.cka``."""

from experiments.cka.study import STUDY
from experiments.frame.command_line import command

if __name__ == "__main__":
    command(STUDY)()
