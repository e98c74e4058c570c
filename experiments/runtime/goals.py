"""The goals that the benchmark is held to at the scale `full`."""

from collections.abc import Iterator, Mapping
from typing import Any

from experiments.frame.finding import Measurement
from experiments.runtime.config import RuntimeConfig
from experiments.runtime.sections import Results
from experiments.runtime.table5 import BATCH, CALL

_Entry = Mapping[str, Any]
_SOLVER_GOALS = {256: 8.0, 1024: 12.0, 4096: 20.0}  # fastest peer / ours, by S
_CALL_GOALS = {256: 14.0, 1024: 18.0, 4096: 20.0}  # the same, by the public call
_MOST_CALL = 1.15  # the public call / the solver alone
_MOST_ADVERSARIAL = 1.0  # ours / SciPy
_LEAST_SPEEDUP = 1.7
_MOST_EXPONENT = 1.15
_QUALITY_GOALS = {"4": 0.994, "12": 0.997}  # by sweeps, at S=4096


def measurements(config: RuntimeConfig, results: Results) -> Iterator[Measurement]:
    """The goals of the sections that ran; none where the config's sizes have none."""
    if config.has_goals:
        for name, result in results.items():
            yield from _GOALS[name](result)


def _table5_goals(result: _Entry) -> Iterator[Measurement]:
    for size in result["sizes"]:
        if goal := _SOLVER_GOALS.get(size["tokens"]):
            name = f"fastest peer / ours, S={size['tokens']}, {size['network']}"
            yield Measurement(name, size["ratio"], "", ">=", goal)
            name = name.replace("ours", "linear_assignment")
            ratio, least = size["ratio_call"], _CALL_GOALS[size["tokens"]]
            yield Measurement(name, ratio, "", ">=", least)
            name = f"linear_assignment / solver, S={size['tokens']}, {size['network']}"
            ratio = size["solver_seconds"][CALL] / size["solver_seconds"][BATCH]
            yield Measurement(name, ratio, "", "<=", _MOST_CALL)


def _adversarial_goals(result: _Entry) -> Iterator[Measurement]:
    worst = max(result["cases"], key=lambda case: case["ratio"])
    name = f"ours / SciPy at worst ({worst['family']}, S={worst['tokens']})"
    yield Measurement(name, worst["ratio"], "", "<=", _MOST_ADVERSARIAL)
    share = sum(case["optimal"] for case in result["cases"]) / len(result["cases"])
    yield Measurement("adversarial matrices solved optimally", share, "", ">=", 1.0)


def _threads_goals(result: _Entry) -> Iterator[Measurement]:
    if result["cores"] > 1:
        for size in result["sizes"]:
            name = f"pairs a second, 2 threads / 1, S={size['tokens']}"
            yield Measurement(name, size["speedup"], "", ">=", _LEAST_SPEEDUP)


def _rsm_goals(result: _Entry) -> Iterator[Measurement]:
    for size in result["sizes"]:
        where = f"N={size['samples']}, S={size['tokens']}, C={size['channels']}"
        for peer, ratio, goal in (
            ("loop over OR-Tools", size["ratio"], size["goal"]),
            ("products by BLAS", size["ratio_to_products"], size["products_goal"]),
        ):
            if goal is not None:
                yield Measurement(f"rsm / {peer}, {where}", ratio, "", "<=", goal)


def _scaling_goals(result: _Entry) -> Iterator[Measurement]:
    name = "exponent of time in S"
    yield Measurement(name, result["exponent"], "", "<=", _MOST_EXPONENT)
    for sweeps, goal in _QUALITY_GOALS.items():
        if sweeps in result["quality"]:
            name = f"k / k_opt, {sweeps} sweeps, S={result['quality_tokens']}"
            yield Measurement(name, result["quality"][sweeps], "", ">=", goal)


def _large_goals(result: _Entry) -> Iterator[Measurement]:
    """Of a pair of S=65,536."""
    pair = result["pair"]
    where, memory = f"S={pair['tokens']}", pair["peak_bytes"] / 2**30
    yield Measurement(f"proven, {where}", pair["proven"], "", ">=", 0.97)
    yield Measurement(f"time, {where}", pair["first_seconds"], "s", "<=", 30.0)
    yield Measurement(f"peak, {where}", memory, "GiB", "<=", 2.0)


_GOALS = {
    "table5": _table5_goals,
    "depth": lambda result: (),
    "adversarial": _adversarial_goals,
    "threads": _threads_goals,
    "rsm": _rsm_goals,
    "scaling": _scaling_goals,
    "large": _large_goals,
}
