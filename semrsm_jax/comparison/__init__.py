"""Comparison of representational similarity matrices."""

from semrsm_jax.comparison.cka import cka
from semrsm_jax.comparison.hsic import hsic
from semrsm_jax.comparison.rsa import rsa

__all__ = ["cka", "hsic", "rsa"]
