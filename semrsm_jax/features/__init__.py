"""Representations captured from networks."""

from semrsm_jax.features.capture import extract, list_layers

__all__ = ["extract", "list_layers"]
