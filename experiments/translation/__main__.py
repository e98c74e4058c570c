"""``python -m experiments.translation``."""

from experiments.frame.command_line import command
from experiments.translation.study import STUDY

app = command(STUDY)

if __name__ == "__main__":
    app()
