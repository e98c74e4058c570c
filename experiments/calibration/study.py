"""The study: its table and summary."""

from typing import Any

from experiments.calibration import __doc__ as doc
from experiments.calibration.config import SCALES
from experiments.calibration.simulate import Rates, Result, run
from experiments.frame.study import Study


def rows(result: Result) -> list[dict[str, Any]]:
    """A row a cell, rates in percent."""

    def row(*names: Any, rates: Rates) -> dict[str, Any]:
        keys = ("statistic", "features", "groups", "size", "share")
        percent = {key: round(100 * value, 1) for key, value in rates._asdict().items()}
        named = dict(zip(keys, names, strict=True))
        return {**named, **percent, "data_sets": result.config.data_sets}

    return [
        *(
            row(statistic, features, *vars(design).values(), rates=rates)
            for (features, design, statistic), rates in result.rsms.items()
        ),
        *(
            row("mean", distribution, queries, 1, 0.0, rates=rates)
            for (distribution, queries), rates in result.scores.items()
        ),
    ]


def summary(result: Result) -> dict[str, Any]:
    """How many cells are within 3 to 7 %, and 92 to 98 %, and the standard errors."""
    rates = [*result.rsms.values(), *result.scores.values()]
    errors = [
        r for each in rates for r in (each.permutation, each.difference) if r == r
    ]
    kept = sum(0.03 <= rate <= 0.07 for rate in errors)
    covered = sum(0.92 <= each.coverage <= 0.98 for each in rates)
    sets = result.config.data_sets
    return {
        "type I errors within 3 to 7 %": f"{kept} of {len(errors)}",
        "coverages within 92 to 98 %": f"{covered} of {len(rates)}",
        "data sets of each": sets,
        "standard error of 5 % (in percent)": 100 * (0.05 * 0.95 / sets) ** 0.5,
    }


STUDY = Study(
    name="calibration",
    doc=str(doc),
    scales=SCALES,
    run=run,
    rows=rows,
    summary=summary,
    needs={},
    packages=("semrsm_jax", "jax", "jaxlib", "flax", "numpy"),
)
