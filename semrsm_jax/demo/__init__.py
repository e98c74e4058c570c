"""The demonstration behind ``semrsm demo``: translation sensitivity, section 4.1."""

from semrsm_jax.demo.networks import DEMO_NETWORK
from semrsm_jax.demo.report import COLUMNS, table_rows, to_json
from semrsm_jax.demo.translation import (
    Stage,
    StageResult,
    TranslationConfig,
    TranslationResult,
    Views,
    run,
    views,
)

__all__ = [
    "COLUMNS",
    "DEMO_NETWORK",
    "Stage",
    "StageResult",
    "TranslationConfig",
    "TranslationResult",
    "Views",
    "run",
    "table_rows",
    "to_json",
    "views",
]
