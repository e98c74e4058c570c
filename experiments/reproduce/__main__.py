"""``python -m experiments.reproduce``."""

from experiments.reproduce.command import command
from experiments.reproduce.run import STUDIES

app = command(STUDIES)

if __name__ == "__main__":
    app()
