"""Affinities that are hard for an auction, against SciPy: how slow, and how right."""

from collections.abc import Callable
from typing import Any

import jax.numpy as jnp
import numpy as np
from jaxtyping import Float

from experiments.frame.timing import take_turns
from experiments.frame.worker import Report
from experiments.runtime.config import RuntimeConfig
from experiments.runtime.features import Features, images
from experiments.runtime.peers import scipy
from semrsm_jax import linear_assignment

_TOLERANCE = 1e-6  # the default of `linear_assignment`
_CHANNELS = 64

Matrix = Float[np.ndarray, "S S"]


def run(config: RuntimeConfig, features: Features, report: Report) -> dict[str, Any]:
    """Both solvers on every family at every size; needs no features."""
    del features
    pixels = images(config, config.quality.side)[:2].reshape(2, -1, 3)
    cases = [
        (size, family, make)
        for size in config.adversarial
        for family, make in families(size, pixels).items()
    ]
    results = []
    for size, family, make in cases:
        rng = np.random.default_rng((config.seed, size))
        matrix = np.ascontiguousarray(make(rng), np.float32)
        description = f"adversarial S={size}: {family}"
        compared = _compare(matrix, config.adversarial_rounds, report, description)
        results.append({"family": family, "tokens": size, **compared})
    return {"cases": results}


def _compare(
    matrix: Matrix, rounds: int, report: Report, description: str
) -> dict[str, Any]:
    affinity = jnp.asarray(matrix)
    linear_assignment(affinity[:8, :8])  # compiles
    linear_assignment(jnp.zeros_like(affinity))
    calls = {
        "SciPy": lambda number: scipy(matrix),
        "ours": lambda number: linear_assignment(affinity).permutation,
    }
    turns = take_turns(calls, rounds, report, description)
    rows = np.arange(len(matrix))
    best, ours = (
        matrix[rows, np.asarray(turns.results[name])].astype(float) for name in calls
    )
    rounding = np.finfo(np.float32).eps * np.abs(best).sum()
    allowed = max(_TOLERANCE * abs(best.sum()), rounding)
    return {
        "scipy_seconds": turns.median("SciPy"),
        "seconds": turns.median("ours"),
        "ratio": turns.median("ours") / turns.median("SciPy"),
        "shortfall": float(best.sum() - ours.sum()),
        "optimal": bool(best.sum() - ours.sum() <= allowed),
    }


def families(
    size: int, pixels: Float[np.ndarray, "2 n 3"]
) -> dict[str, Callable[[np.random.Generator], Matrix]]:
    """Name of each family -> what makes its matrix.

    Args:
      size: S, rows and columns.
      pixels: colors of two photographs, at least S of each.
    """

    def tokens(rng: np.random.Generator) -> np.ndarray:
        # Rectified, as the output of a convolutional network is.
        return np.maximum(rng.normal(size=(2, size, _CHANNELS)), 0)

    def product(sides: np.ndarray) -> Matrix:
        return sides[0] @ sides[1].T

    def zeros(share: float, rng: np.random.Generator) -> Matrix:
        return product(tokens(rng) * (rng.random((2, size, 1)) >= share))

    def clusters(noise: float, rng: np.random.Generator) -> Matrix:
        centers = np.maximum(rng.normal(size=(16, _CHANNELS)), 0)
        sides = centers[rng.integers(16, size=(2, size))]
        return product(sides + noise * rng.normal(size=sides.shape))

    def pasted(share: float, rng: np.random.Generator) -> Matrix:
        # One token in the place of others, as a plain background has it.
        sides = tokens(rng)
        sides[rng.random((2, size)) < share] = sides[0, 0]
        return product(sides)

    def huge(rng: np.random.Generator) -> Matrix:
        matrix = product(tokens(rng))
        matrix[size // 3, size // 2] = 1e9
        return matrix

    def colors(rng: np.random.Generator) -> Matrix:
        chosen = rng.permuted(np.arange(pixels.shape[1]))[:size]
        return product(pixels[:, chosen])

    index = np.arange(1.0, size + 1)
    return {
        "30 % zero tokens": lambda rng: zeros(0.3, rng),
        "60 % zero tokens": lambda rng: zeros(0.6, rng),
        "90 % zero tokens": lambda rng: zeros(0.9, rng),
        "one token on 5 %": lambda rng: pasted(0.05, rng),
        "one token on 30 %": lambda rng: pasted(0.3, rng),
        "one token on 60 %": lambda rng: pasted(0.6, rng),
        "16 clusters": lambda rng: clusters(0.0, rng),
        "16 clusters, noise 1e-3": lambda rng: clusters(1e-3, rng),
        "integers 0 to 9": lambda rng: rng.integers(10, size=(size, size)),
        "constant": lambda rng: np.full((size, size), 3.0),
        "heavy-tailed norms": lambda rng: product(
            tokens(rng) * rng.pareto(1.5, (2, size, 1))
        ),
        "C=1": lambda rng: product(rng.normal(size=(2, size, 1))),
        "C=3, pixel colors": colors,
        "product i * j": lambda rng: np.outer(index, index),
        "negative only": lambda rng: -product(tokens(rng)) - 1,
        "one huge entry": huge,
    }
