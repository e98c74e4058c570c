"""``python -m experiments.runtime``."""

from experiments.frame.command_line import command
from experiments.runtime.study import STUDY

app = command(STUDY)

if __name__ == "__main__":
    app()
