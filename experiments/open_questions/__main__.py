"""The command line: ``python -m experiments.open_questions``."""

from experiments.open_questions import app

if __name__ == "__main__":
    app()
