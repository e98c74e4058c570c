"""``python -m experiments.calibration``."""

from experiments.calibration.study import STUDY
from experiments.frame.command_line import command

if __name__ == "__main__":
    command(STUDY)()
