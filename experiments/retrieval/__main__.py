"""``python -m experiments.retrieval``."""

from experiments.frame.command_line import command
from experiments.retrieval.study import STUDY

app = command(STUDY)

if __name__ == "__main__":
    app()
