"""Comparison of representational similarity matrices."""

from semrsm_jax.comparison.cka import cka
from semrsm_jax.comparison.cka_matrix import cka_matrix, hsic_matrix
from semrsm_jax.comparison.hsic import hsic
from semrsm_jax.comparison.rsa import rsa

__all__ = ["cka", "cka_matrix", "hsic", "hsic_matrix", "rsa"]
