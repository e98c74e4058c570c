"""``python -m experiments.cka``."""

from experiments.cka.study import STUDY
from experiments.frame.command_line import command

app = command(STUDY)

if __name__ == "__main__":
    app()
