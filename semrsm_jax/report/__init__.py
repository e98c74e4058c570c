"""One page to look at RSMs: both definitions, pairs of images and what was matched."""

from semrsm_jax.report.build import report
from semrsm_jax.report.page import Report

__all__ = ["Report", "report"]
