"""Moved to `experiments.frame.networks` and `semrsm_jax.demo.networks`."""

from experiments.frame.networks import LEAST_CONTRAST as LEAST_CONTRAST
from experiments.frame.networks import token_grid as token_grid
from semrsm_jax.demo.networks import normalize as normalise
from semrsm_jax.demo.networks import random_network as untrained_network

__all__ = ["LEAST_CONTRAST", "normalise", "token_grid", "untrained_network"]
