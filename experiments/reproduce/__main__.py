"""``python -m experiments.reproduce``."""

from experiments.reproduce.command import command
from experiments.reproduce.run import STUDIES

if __name__ == "__main__":
    command(STUDIES)()
