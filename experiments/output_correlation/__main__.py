"""``python -m experiments.output_correlation``."""

from experiments.frame.command_line import command
from experiments.output_correlation.study import STUDY

app = command(STUDY)

if __name__ == "__main__":
    app()
