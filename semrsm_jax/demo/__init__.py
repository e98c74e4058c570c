"""The demonstration behind ``semrsm demo``: translation sensitivity, section 4.1."""

from semrsm_jax.demo.measure import Views, compare, run, views, windows
from semrsm_jax.demo.networks import DEMO_NETWORK
from semrsm_jax.demo.report import COLUMNS, table_rows, to_json
from semrsm_jax.demo.translation import (
    Stage,
    StageResult,
    TranslationConfig,
    TranslationResult,
)

__all__ = [
    "COLUMNS",
    "DEMO_NETWORK",
    "Stage",
    "StageResult",
    "TranslationConfig",
    "TranslationResult",
    "Views",
    "compare",
    "run",
    "table_rows",
    "to_json",
    "views",
    "windows",
]
