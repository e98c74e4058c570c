"""The command line: ``python -m experiments.runtime``."""

from experiments.runtime.cli import app

if __name__ == "__main__":
    app()
