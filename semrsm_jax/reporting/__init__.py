"""One page to look at RSMs: both definitions, pairs of images and what was matched."""

from semrsm_jax.reporting.build import report
from semrsm_jax.reporting.page import Report

__all__ = ["Report", "report"]
