"""Time of a soft matching, forward and backward, against OTT-JAX's solver.

    python -m experiments.benchmarks.soft_runtime  # minutes, 2 quiet cores
    python -m experiments.benchmarks.soft_runtime --scale smoke  # tiny, seconds

It needs the extras demo and test, and writes soft_runtime.json to
results/soft_runtime. 64 pairs of photographs, features of an untrained ResNet-18 at
S=196, C=128, float32. Both solve the same problems, compiled, in turns within one
process: epsilon is 0.05 standard deviations of each affinity, the tolerance is of the
L1 error of the plan's marginals as a share of its mass. OTT's solver runs under vmap
with its defaults, and differentiates reg_ot_cost by Danskin's theorem; for the value it
needs ridges and a coarse tolerance in its linear system, without which it fails in
float32.

Expected: ours takes at most 0.7 of OTT's time, at an error of the marginals that is no
larger than asked for.
"""

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

from experiments.frame.command_line import command
from experiments.frame.finding import Measurement
from experiments.frame.study import benchmark
from experiments.frame.timing import take_turns
from experiments.frame.worker import Report
from experiments.runtime import config as runtime
from experiments.runtime.config import Layer, RuntimeConfig
from experiments.runtime.features import compute, pairs
from semrsm_jax import Sinkhorn, match

_GOAL = 0.7

Loss = Callable[[Array, Array], Array]


@dataclass(frozen=True)
class SoftRuntimeConfig:
    """All that the benchmark's work depends on.

    Attributes:
      features: the network and its photographs.
      layer: whose tokens are matched.
      pairs: in a batch.
      tolerances: of both solvers; 1e-3 is OTT's default, 1e-4 ours.
      max_iterations: of both.
      rounds: turns of both.
      has_goals: whether the sizes are those that the goal is set for.
    """

    features: RuntimeConfig = field(default=runtime.SCALES["bundled"])
    layer: Layer = Layer(28, 1)
    pairs: int = 64
    tolerances: tuple[float, ...] = (1e-3, 1e-4)
    max_iterations: int = 2000
    rounds: int = 9
    has_goals: bool = True


SCALES = {
    "bundled": SoftRuntimeConfig(),
    "smoke": SoftRuntimeConfig(
        features=runtime.SCALES["smoke"],
        layer=Layer(8, 1),
        pairs=2,
        tolerances=(1e-2,),
        rounds=1,
        has_goals=False,
    ),
}


def measure(config: SoftRuntimeConfig, report: Report) -> dict[str, Any]:
    """A row for each tolerance and what is differentiated."""
    tokens = compute(config.features, [config.layer], report)[config.layer]
    sides = pairs(tokens, config.pairs, config.features.seed)
    x, y = map(jnp.asarray, sides)
    rows = []
    for tolerance in config.tolerances:
        matcher = Sinkhorn(tolerance=tolerance, max_iterations=config.max_iterations)
        peer = _peer(tolerance, config.max_iterations, x.shape[1])
        quality = {
            "ours": _quality(jax.jit(lambda x, y, m=matcher: _ours(x, y, m)), x, y),
            "ott": _quality(jax.jit(peer), x, y),
        }
        for name in ("value", "reg_ot_cost"):
            losses: dict[str, Loss] = {
                "ours": lambda x, y, n=name, m=matcher: _ours(x, y, m)[n].sum(),
                "ott": lambda x, y, n=name, p=peer: p(x, y)[n].sum(),
            }
            row = {"differentiated": name, "tolerance": tolerance, "quality": quality}
            rows.append(row | _compare(losses, x, y, config, row, report))
    return {"device": str(jax.devices()[0].device_kind), "results": rows}


def _ours(x: Array, y: Array, matcher: Sinkhorn) -> dict[str, Array]:
    matching = match(x, y, matcher=matcher)
    names = ("value", "reg_ot_cost", "plan", "n_iters", "epsilon")
    return {name: getattr(matching, name) for name in names}


def _peer(
    tolerance: float, max_iterations: int, tokens: int
) -> Callable[[Array, Array], dict[str, Array]]:
    """OTT's solver of the same problems, its plan scaled to rows that sum to one."""
    from ott.geometry.geometry import Geometry
    from ott.problems.linear.linear_problem import LinearProblem
    from ott.solvers.linear import implicit_differentiation, sinkhorn

    # Of what was tried (more exact systems, no ridge, the normal equations), the one
    # that does not break down in float32.
    system = {"ridge_kernel": tokens**-2.0, "ridge_identity": 1e-5}
    system |= {"rtol": 1e-3, "atol": 1e-3}
    solver = sinkhorn.Sinkhorn(
        threshold=tolerance,
        max_iterations=max_iterations,
        implicit_diff=implicit_differentiation.ImplicitDiff(
            symmetric=True, solver_kwargs=system
        ),
    )

    def one(x, y):
        affinity = jnp.matmul(x, y.T, precision=jax.lax.Precision.HIGHEST)
        geometry = Geometry(cost_matrix=-affinity)
        # Its stubs type all results as optional.
        solved: Any = solver(LinearProblem(geometry))
        plan = tokens * solved.matrix
        return {
            "value": jnp.sum(plan * affinity),
            "reg_ot_cost": tokens * solved.reg_ot_cost,
            "plan": plan,
            "n_iters": solved.n_iters,
            "epsilon": geometry.epsilon,
        }

    return jax.vmap(one)


def _quality(
    solve: Callable[[Array, Array], dict[str, Array]],
    x: Float[Array, "P S C"],
    y: Float[Array, "P S C"],
) -> dict[str, float]:
    """Errors of the marginals and iterations, over the pairs."""
    result = {name: np.asarray(a) for name, a in solve(x, y).items()}
    plan = result["plan"].astype(np.float64)
    tokens = plan.shape[-1]
    errors = [np.abs(plan.sum(axis) - 1).sum(-1) / tokens for axis in (1, 2)]
    return {
        "largest_marginal_error": float(np.max(errors)),
        "median_marginal_error": float(np.median(np.max(errors, axis=0))),
        "mean_iterations": float(result["n_iters"].mean()),
        "most_iterations": int(result["n_iters"].max()),
        "mean_epsilon": float(result["epsilon"].mean()),
    }


def _compare(
    losses: dict[str, Loss],
    x: Float[Array, "P S C"],
    y: Float[Array, "P S C"],
    config: SoftRuntimeConfig,
    row: dict[str, Any],
    report: Report,
) -> dict[str, Any]:
    description = f"{row['differentiated']}, tolerance {row['tolerance']:g}"
    report(f"Compiling {description}", 0, 1)
    compiled = {
        who: jax.jit(jax.value_and_grad(loss, (0, 1))) for who, loss in losses.items()
    }
    calls = {who: lambda number, f=f: f(x, y) for who, f in compiled.items()}
    turns = take_turns(calls, config.rounds, report, description, warm=True)
    seconds = turns.medians()
    (value, gradient), (other, others) = (turns.results[w] for w in ("ours", "ott"))
    difference = np.sqrt(
        sum(np.sum((a - b) ** 2) for a, b in zip(gradient, others, strict=True))
        / sum(np.sum(b**2) for b in others)
    )
    return {
        "seconds": seconds,
        "ratio": seconds["ours"] / seconds["ott"],
        "relative_difference_of_values": float(abs(value - other) / abs(other)),
        "relative_difference_of_gradients": float(difference),
    }


def measurements(
    config: SoftRuntimeConfig, result: Mapping[str, Any]
) -> Iterator[Measurement]:
    """The times, their ratio and the errors of both, of each comparison."""
    for row in result["results"]:
        name = f"{row['differentiated']}, tolerance {row['tolerance']:g}"
        for solver, seconds in row["seconds"].items():
            yield Measurement(f"{name}: {solver}", seconds, "s")
            error = row["quality"][solver]["largest_marginal_error"]
            yield Measurement(f"{name}: {solver}, largest marginal error", error)
        yield Measurement(f"{name}: ours / ott", row["ratio"], goal=_GOAL)


_NEEDS = {"ott": "ott-jax", "lineax": "lineax", "skimage": "scikit-image"}
app = command(benchmark("soft_runtime", __doc__, SCALES, measure, measurements, _NEEDS))

if __name__ == "__main__":
    app()
