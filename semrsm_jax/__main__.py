"""The command line as ``python -m semrsm_jax``."""

from semrsm_jax.cli import app

if __name__ == "__main__":
    app(prog_name="python -m semrsm_jax")
