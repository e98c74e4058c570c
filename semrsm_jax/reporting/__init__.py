"""One HTML page to look at RSMs: both definitions, and the matched patches of pairs."""

from semrsm_jax.reporting.build import report
from semrsm_jax.reporting.page import Report

__all__ = ["Report", "report"]
