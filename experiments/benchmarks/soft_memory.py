"""Memory: a soft matching whose plan is never held, forward and backward.

    python -m experiments.benchmarks.soft_memory  # a minute or two, 2 cores
    python -m experiments.benchmarks.soft_memory --scale smoke  # tiny, seconds

It writes soft_memory.json to results/soft_memory. Two samples of 16,384 tokens and 64
channels are matched with `Sinkhorn`; their plan would take 1 GiB, as would each array
that goes with it. Forward is `match` with all of its results, rounding included;
backward the gradient of a cosine similarity in the tokens of both. Each runs in a new
process, whose peak counts everything: Python, JAX, compilation, tokens and results.

Goal: either process holds less than 1 GiB at any time.
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

from experiments.frame.command_line import command
from experiments.frame.finding import Measurement
from experiments.frame.study import benchmark
from experiments.frame.timing import measured
from experiments.frame.worker import Report, worker
from semrsm_jax import Cosine, rsm
from semrsm_jax.matching import Sinkhorn, match


@dataclass(frozen=True)
class MemoryConfig:
    """All that the measurement depends on.

    Attributes:
      has_goals: whether its size is the one that the goal is set for.
      tokens: of each sample.
      channels: of the tokens, which are drawn from a normal distribution.
      seed: of the tokens.
      matcher: the soft matching; few iterations do, as each takes the same memory.
      goal_bytes: the most that the whole process may hold.
    """

    has_goals: bool = True
    tokens: int = 16384
    channels: int = 64
    seed: int = 0
    matcher: Sinkhorn = Sinkhorn(epsilon=0.3, relative=True, max_iterations=30)
    goal_bytes: int = 2**30


SCALES = {
    "bundled": MemoryConfig(),
    "smoke": MemoryConfig(
        has_goals=False,
        tokens=64,
        channels=4,
        matcher=Sinkhorn(max_iterations=5, block=16),
    ),
}


def forward(config: MemoryConfig, report: Report) -> dict[str, Any]:
    """A matching with all of its results: potentials, partners, bound, permutation."""
    work = partial(match, *_tokens(config), matcher=config.matcher)
    matching, taken = measured(work, 1, report, "Matching")
    return {**taken, "n_iters": int(matching.n_iters[0])}


def backward(config: MemoryConfig, report: Report) -> dict[str, Any]:
    """The gradient of a similarity in the tokens of both samples."""
    gradient = jax.jit(jax.grad(partial(_similarity, config.matcher), argnums=(0, 1)))
    work = partial(gradient, *_tokens(config))
    _, taken = measured(work, 1, report, "Gradient")
    return {**taken, "n_iters": None}


def _similarity(matcher: Sinkhorn, x: Array, y: Array) -> Float[Array, ""]:
    return jnp.sum(rsm(x, y, matcher=matcher, kernel=Cosine()))


def _tokens(config: MemoryConfig) -> tuple[Array, Array]:
    rng = np.random.default_rng(config.seed)
    shape = (1, config.tokens, config.channels)
    x, y = (jnp.asarray(rng.normal(size=shape), jnp.float32) for _ in range(2))
    return jax.block_until_ready((x, y))


_PARTS = {"forward": forward, "backward": backward}


def measure(config: MemoryConfig, report: Report) -> dict[str, Any]:
    """Each part in a process of its own, one after the other."""
    taken = {}
    for name, part in _PARTS.items():
        with worker(report) as call:
            taken[name] = call(part, config).value
    return taken


def measurements(
    config: MemoryConfig, result: Mapping[str, Any]
) -> Iterator[Measurement]:
    """Each part's peak, with the goal, and its time."""
    goal = config.goal_bytes / 2**20
    for part, taken in result.items():
        name = f"{part} S={config.tokens}, C={config.channels}"
        peak, before = (taken[f"{k}_bytes"] / 2**20 for k in ("peak", "before"))
        yield Measurement(f"{name}: peak", peak, "MiB", "<=", goal)
        yield Measurement(f"{name}: peak less start", peak - before, "MiB")
        yield Measurement(f"{name}: time", taken["seconds"], "s")
        if taken["n_iters"] is not None:
            yield Measurement(f"{name}: iterations", taken["n_iters"])


app = command(benchmark("soft_memory", __doc__, SCALES, measure, measurements))

if __name__ == "__main__":
    app()
