"""The result of the demo as a table and as JSON; nothing is written here."""

import dataclasses
import math
import platform
from typing import Any

import numpy as np

from semrsm_jax.demo.photographs import PHOTOGRAPHS
from semrsm_jax.demo.separation import Estimate, Scores
from semrsm_jax.demo.translation import StageResult, TranslationResult
from semrsm_jax.matching import Identity
from semrsm_jax.store import package_version

COLUMNS = {
    "weights": "trained or random, of the network",
    "stage": "layer of the network",
    "tokens": "S, tokens of a window there",
    "shift": "shift of the lower window in tokens; a fraction puts no token on another",
    "rsm": "spatio-semantic (position by position) or semantic (matched)",
    "matcher": "how tokens are paired",
    "overlapping": "mean similarity of the two windows of one crop",
    "unrelated": "mean similarity of windows of different photographs",
    "auroc": "probability that an overlapping pair is the more similar: 0.5 is chance",
    "auroc_low": "lower end of its bootstrap interval",
    "auroc_high": "upper end of its bootstrap interval",
    "gain": "AUROC of the semantic RSM minus the spatio-semantic one",
    "gain_low": "lower end of its bootstrap interval",
    "gain_high": "upper end of its bootstrap interval",
    "nearest_partner": "share of windows whose nearest neighbor overlaps them",
    "nearest_low": "lower end of its bootstrap interval",
    "nearest_high": "upper end of its bootstrap interval",
}
"""What the columns of `table_rows` mean, in their order."""

_PACKAGES = ("semrsm_jax", "jax", "jaxlib", "flax", "numpy", "numba", "scikit-image")


def table_rows(result: TranslationResult) -> list[dict[str, Any]]:
    """Two rows a stage of each network, the spatio-semantic RSM first.

    Args:
      result: what `run` found.

    Returns:
      Dicts with the keys of `COLUMNS`; numbers are plain and not rounded, and the gain
      is None in the rows of the spatio-semantic RSM.
    """
    rows = []
    config = result.config
    for stage in result.stages:
        # Stages are square, as the windows are.
        shift = config.shift * math.sqrt(stage.tokens) / config.window_size
        for kind, matcher, scores in (
            ("spatio-semantic", Identity(), stage.spatio_semantic),
            ("semantic", stage.matcher, stage.semantic),
        ):
            row = {
                "weights": stage.weights,
                "stage": stage.layer,
                "tokens": stage.tokens,
                "shift": shift,
                "rsm": kind,
                "matcher": repr(matcher),
                "overlapping": float(scores.overlapping.mean()),
                "unrelated": float(scores.unrelated.mean()),
                **_spread("auroc", scores.auroc),
                "nearest_partner": scores.nearest_partner.value,
                **_spread("nearest", scores.nearest_partner),
            }
            if kind == "semantic":
                row.update(_spread("gain", stage.gain))
            rows.append({column: row.get(column) for column in COLUMNS})
    return rows


def _spread(name: str, estimate: Estimate) -> dict[str, float]:
    ends = (name, f"{name}_low", f"{name}_high")
    return dict(zip(ends, estimate, strict=True))


def to_json(result: TranslationResult) -> dict[str, Any]:
    """The settings, versions and numbers, in types that `json` writes as they are.

    Similarities and RSMs are rounded to six decimals.

    Args:
      result: what `run` found.

    Returns:
      Nested dicts and lists of strings and numbers.
    """
    return {
        "experiment": "translation sensitivity, section 4.1 and Fig. 2",
        "config": _plain(result.config),
        "versions": {"python": platform.python_version()}
        | {package: package_version(package) for package in _PACKAGES},
        "columns": COLUMNS,
        "table": table_rows(result),
        "crops": [
            {"file": file, "scene": scene, "top": top, "left": left, "side": side}
            for file, scene, (top, left, side) in zip(
                result.crops.files,
                result.crops.scenes,
                result.crops.regions.tolist(),
                strict=True,
            )
        ],
        "credits": {p.file: p.credit for p in PHOTOGRAPHS},
        "stages": [_plain(stage) for stage in result.stages],
    }


def _plain(value: Any) -> Any:
    """Configs and results as dicts, arrays as lists, everything else as text."""
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        fields = {f.name: getattr(value, f.name) for f in dataclasses.fields(value)}
        return {"type": type(value).__name__, **_plain(fields)}
    if isinstance(value, Estimate | Scores | StageResult):
        return _plain(value._asdict())
    if isinstance(value, dict):
        return {key: _plain(entry) for key, entry in value.items()}
    if isinstance(value, tuple | list):
        return [_plain(entry) for entry in value]
    if isinstance(value, np.ndarray):
        return np.round(value.astype(float), 6).tolist()
    return (
        value if value is None or isinstance(value, bool | int | float) else str(value)
    )
