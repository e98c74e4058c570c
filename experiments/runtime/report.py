"""What the benchmark found: held to its goals, with where and how it was found."""

import operator
from collections.abc import Iterator
from typing import Any, NamedTuple

from experiments._common.environment import environment, plain
from experiments._common.study import described
from experiments.runtime.config import RuntimeConfig
from experiments.runtime.table5 import BATCH

_PACKAGES = (
    "semrsm_jax",
    "jax",
    "jaxlib",
    "flax",
    "numpy",
    "numba",
    "scipy",
    "ortools",
    "lapx",
    "scikit-image",
)
_SOLVER_GOALS = {256: 8.0, 1024: 12.0, 4096: 20.0}  # fastest peer / ours, by S
_MOST_ADVERSARIAL = 2.0
_LEAST_SPEEDUP = 1.7
_MOST_EXPONENT = 1.15
_QUALITY_GOALS = {"4": 0.994, "12": 0.997}  # by sweeps, at S=4096
_LARGE_GOALS = {"proven": 0.97, "seconds": 30.0, "GiB": 2.0}  # at S=65,536

Results = dict[str, dict[str, Any]]


class Goal(NamedTuple):
    """A figure and what was aimed at; `relation` is ">=" or "<="."""

    name: str
    value: float
    relation: str
    target: float

    @property
    def met(self) -> bool:
        """Whether the figure is as good as that."""
        compare = operator.ge if self.relation == ">=" else operator.le
        return bool(compare(self.value, self.target))


def goals(config: RuntimeConfig, results: Results) -> list[Goal]:
    """The goals of the sections which ran; none where the config's sizes have none."""
    if not config.has_goals:
        return []
    return [goal for name, result in results.items() for goal in _GOALS[name](result)]


def _table5(result: dict[str, Any]) -> Iterator[Goal]:
    for size in result["sizes"]:
        if size["tokens"] in _SOLVER_GOALS:
            name = f"fastest peer / ours, S={size['tokens']}, {size['network']}"
            yield Goal(name, size["ratio"], ">=", _SOLVER_GOALS[size["tokens"]])


def _adversarial(result: dict[str, Any]) -> Iterator[Goal]:
    worst = max(result["cases"], key=lambda case: case["ratio"])
    name = f"ours / SciPy at worst ({worst['family']}, S={worst['tokens']})"
    yield Goal(name, worst["ratio"], "<=", _MOST_ADVERSARIAL)
    share = sum(case["optimal"] for case in result["cases"]) / len(result["cases"])
    yield Goal("adversarial matrices solved optimally", share, ">=", 1.0)


def _threads(result: dict[str, Any]) -> Iterator[Goal]:
    if result["cores"] > 1:
        for size in result["sizes"]:
            name = f"pairs a second, 2 threads / 1, S={size['tokens']}"
            yield Goal(name, size["speedup"], ">=", _LEAST_SPEEDUP)


def _rsm(result: dict[str, Any]) -> Iterator[Goal]:
    for size in result["sizes"]:
        name = f"rsm / loop over OR-Tools, N={size['samples']}, S={size['tokens']}"
        yield Goal(name, size["ratio"], "<=", size["goal"])


def _scaling(result: dict[str, Any]) -> Iterator[Goal]:
    yield Goal("exponent of time in S", result["exponent"], "<=", _MOST_EXPONENT)
    for sweeps, target in _QUALITY_GOALS.items():
        if sweeps in result["quality"]:
            name = f"k / k_opt, {sweeps} sweeps, S={result['quality_tokens']}"
            yield Goal(name, result["quality"][sweeps], ">=", target)


def _large(result: dict[str, Any]) -> Iterator[Goal]:
    pair = result["pair"]
    where = f"S={pair['tokens']}"
    yield Goal(f"proven, {where}", pair["proven"], ">=", _LARGE_GOALS["proven"])
    seconds = pair["first_seconds"]
    yield Goal(f"seconds, {where}", seconds, "<=", _LARGE_GOALS["seconds"])
    memory = pair["peak_bytes"] / 2**30
    yield Goal(f"peak GiB, {where}", memory, "<=", _LARGE_GOALS["GiB"])


def _depth(result: dict[str, Any]) -> Iterator[Goal]:
    """What is reached by depth is looked at, not aimed at."""
    yield from ()


_GOALS = {
    "table5": _table5,
    "depth": _depth,
    "adversarial": _adversarial,
    "threads": _threads,
    "rsm": _rsm,
    "scaling": _scaling,
    "large": _large,
}


def table5_rows(result: dict[str, Any]) -> list[dict[str, Any]]:
    """Table 5 a line a method: times of solvers are without that of the affinity."""
    rows = []
    for size in result["sizes"]:
        where = {key: size[key] for key in ("network", "tokens", "channels", "pairs")}
        for name, spent in size["solver_seconds"].items():
            rows.append(
                {**where, "method": name, "given": "affinity"}
                | {"milliseconds": 1e3 * spent, "percent_of_optimum": 100.0}
            )
        for row in size["matchers"]:
            rows.append(
                {**where, "method": row["matcher"], "given": "tokens"}
                | {"milliseconds": 1e3 * row["seconds"]}
                | {"percent_of_optimum": 100 * row["quality"]}
            )
    return rows


def summary(results: Results) -> dict[str, float]:
    """The few numbers that answer the question, of the sections which ran."""
    found: dict[str, float] = {}
    for size in results.get("table5", {}).get("sizes", ()):
        where = f"S={size['tokens']}, {size['network']}"
        quality = {row["matcher"]: row["quality"] for row in size["matchers"]}
        peer = size["fastest_peer"]
        found[f"{where}: exact, ms a pair"] = 1e3 * size["solver_seconds"][BATCH]
        found[f"{where}: {peer}, ms a pair"] = 1e3 * size["solver_seconds"][peer]
        found[f"{where}: share of the optimum, no matching"] = quality["Identity"]
    return found


def to_json(
    scale: str, config: RuntimeConfig, results: Results, seconds: float
) -> dict[str, Any]:
    """Settings, machine, versions, figures and goals, in types that `json` writes.

    Args:
      scale: the name of the config.
      config: the settings.
      results: of the sections which ran.
      seconds: that all of it took.
    """
    return {
        "study": "runtime",
        "scale": scale,
        "config": described(config),
        "environment": environment(_PACKAGES),
        "seconds": round(seconds, 1),
        "summary": summary(results),
        "sections": plain(results),
        "goals": [plain({**g._asdict(), "met": g.met}) for g in goals(config, results)],
    }
