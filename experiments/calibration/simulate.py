"""Simulated data sets, and what intervals and tests say of them."""

from collections.abc import Callable
from functools import lru_cache, partial
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax.typing import ArrayLike
from jaxtyping import Array, Float

from experiments.calibration.config import (
    FEATURES,
    NEIGHBORS,
    CalibrationConfig,
    Design,
)
from experiments.frame.session import Session
from semrsm_jax import (
    CKA,
    RSA,
    MutualKNN,
    bootstrap_interval,
    difference_test,
    jensen_shannon_matrix,
    paired_test,
    permutation_test,
)

LEVEL = 0.05
_HEAVY, _SPARSE = FEATURES.index("t(1.5)"), FEATURES.index("sparse")
# Of the other noise in each view, as a share of the standard deviation in common.
_NOISE = 0.6
# Samples, and data sets of them, that stand for the population.
_POPULATION = 400, 16


class Rates(NamedTuple):
    """How often, of all data sets; NaN where it was not counted.

    Attributes:
      permutation: a true null hypothesis was rejected by `permutation_test`.
      difference: a true null hypothesis was rejected by the test of a difference.
      coverage: the interval held the true value.
    """

    permutation: float
    difference: float
    coverage: float


class Result(NamedTuple):
    """What was counted.

    Attributes:
      config: of the simulation.
      rsms: (features, design, statistic) -> its rates.
      scores: (distribution, queries) -> its rates.
    """

    config: CalibrationConfig
    rsms: dict[tuple[str, Design, str], Rates]
    scores: dict[tuple[str, int], Rates]


def run(config: CalibrationConfig, session: Session) -> Result:
    """Counts, a cell a step."""
    cells = [
        (features, design, statistic)
        for design in config.designs
        for statistic in config.statistics
        for features in config.features
    ]
    rsms, scores = {}, {}
    for done, cell in enumerate(cells):
        session.report("Simulating RSMs", done, len(cells))
        name = "-".join(map(str, (cell[0], *vars(cell[1]).values(), cell[2])))
        step = session.step(name, lambda c=cell: _rates(config, *c)._asdict())
        rsms[cell] = Rates(*(float(step[key]) for key in Rates._fields))
    for distribution in config.scores:
        for queries in config.queries:
            session.report(f"Simulating {distribution} scores", 0, None)
            step = session.step(
                f"scores-{distribution}-{queries}",
                lambda d=distribution, q=queries: _of_scores(config, d, q)._asdict(),
            )
            scores[distribution, queries] = Rates(
                *(float(step[key]) for key in Rates._fields)
            )
    return Result(config, rsms, scores)


def gram(x: Float[Array, "N C"]) -> Float[Array, "N N"]:
    """The linear RSM."""
    return jnp.matmul(x, x.T, precision="highest")


def _divergence(y: Float[Array, "N C"]) -> Float[Array, "N N"]:
    return jensen_shannon_matrix(2 * y, from_logits=True)


# The statistic, and what is made of y.
_COMPARED: dict[str, tuple[Any, Callable[[Array], Array]]] = {
    "CKA": (CKA(), gram),
    "RSA": (RSA(), gram),
    "JSD": (RSA("pearson"), _divergence),
    NEIGHBORS: (MutualKNN(5), gram),
}


def _draw(kind: ArrayLike, design: Design, channels: int, key: jax.Array) -> Array:
    """Features (N, C) before their activation, of variance 1 where there is one."""
    shape = (design.groups * design.size, channels)
    common, own = jax.random.split(key)

    def noise(key: jax.Array, shape: tuple[int, int]) -> Array:
        heavy = jax.random.t(key, 1.5, shape)
        return jnp.where(kind == _HEAVY, heavy, jax.random.normal(key, shape))

    if design.size == 1:
        return noise(own, shape)
    shared = jnp.repeat(noise(common, (design.groups, channels)), design.size, axis=0)
    return design.share**0.5 * shared + (1 - design.share) ** 0.5 * noise(own, shape)


def views(
    kind: ArrayLike, design: Design, channels: int, key: jax.Array
) -> tuple[Array, Array, Array, Array]:
    """x1, x2 and y, which are related, and one that is related to none of them.

    Args:
      kind: the place of the features' distribution in `FEATURES`.
      design: of the samples.
      channels: C.
      key: of all that is drawn.
    """
    keys = jax.random.split(key, 5)
    z, a, b, c, d = (_draw(kind, design, channels, each) for each in keys)
    mix = jax.random.normal(jax.random.key(1), (channels, channels)) / channels**0.5

    def active(z: Array) -> Array:
        return jnp.where(kind == _SPARSE, jnp.maximum(z - 1, 0), z)

    scale = (1 + _NOISE**2) ** 0.5
    x1, x2 = (z + _NOISE * a) / scale, (z + _NOISE * b) / scale
    y, unrelated = (z + c) @ mix / 2**0.5, d @ mix
    return active(x1), active(x2), active(y), active(unrelated)


@lru_cache(maxsize=1)
def _program(config: CalibrationConfig, design: Design, statistic: str) -> Any:
    """What a cell runs, compiled once for all features: (keys, kind) -> five arrays."""
    measure, output = _COMPARED[statistic]
    settings: dict[str, Any] = {"resamples": config.resamples}
    if design.size > 1:
        settings["groups"] = np.repeat(np.arange(design.groups), design.size)
        if statistic != NEIGHBORS:
            settings["within_groups"] = "drop"

    def one(key: jax.Array, kind: jax.Array) -> tuple[Array, ...]:
        drawn, *keys = jax.random.split(key, 4)
        first, second, y, unrelated = views(kind, design, config.channels, drawn)
        K, M, L = gram(first), gram(second), output(y)
        permuted = permutation_test(
            K,
            output(unrelated),
            measure,
            key=keys[0],
            alternative="two-sided",
            **settings,
        )
        difference = difference_test((K, L), (M, L), measure, key=keys[1], **settings)
        interval = bootstrap_interval(K, L, measure, key=keys[2], **settings)
        return permuted.p_value, difference.p_value, *interval[:3]

    return jax.jit(
        lambda keys, kind: jax.lax.map(partial(one, kind=kind), keys, batch_size=4)
    )


def _rates(
    config: CalibrationConfig, features: str, design: Design, statistic: str
) -> Rates:
    """Of all data sets of a cell."""
    kind = jnp.asarray(FEATURES.index(features))
    keys = jax.random.split(jax.random.key(config.seed), config.data_sets)
    simulated = _program(config, design, statistic)(keys, kind)
    permuted, difference, estimate, low, high = map(np.asarray, simulated)
    truth = float(np.mean(estimate))
    if statistic != NEIGHBORS:
        truth = _population(config, features, statistic)
    return Rates(
        float(np.mean(permuted <= LEVEL)),
        float(np.mean(difference <= LEVEL)),
        float(np.mean((low <= truth) & (truth <= high))),
    )


@lru_cache
def _population(config: CalibrationConfig, features: str, statistic: str) -> float:
    """The value of independent samples, the mean over several large data sets."""
    measure, output = _COMPARED[statistic]
    samples, sets = _POPULATION
    kind, values = FEATURES.index(features), []
    for key in jax.random.split(jax.random.key(config.seed + 1), sets):
        first, _, y, _ = views(kind, Design(samples), config.channels, key)
        values.append(float(measure(gram(first), output(y))))
    return float(np.mean(values))


def _scores(distribution: str, shape: tuple[int, ...], key: jax.Array) -> Array:
    """Differences of scores, of mean zero."""
    one, other = jax.random.split(key)
    normal, exponential = (
        jax.random.normal(one, shape),
        jax.random.exponential(one, shape),
    )
    if distribution == "normal":
        return normal
    if distribution == "exponential":
        return exponential - 1
    if distribution == "log-normal":
        return jnp.exp(normal) - jnp.exp(0.5)
    if distribution == "mostly zero":
        return jnp.where(jax.random.uniform(other, shape) < 0.2, exponential, 0) - 0.2
    return jax.random.t(one, 1.5, shape)


def _of_scores(config: CalibrationConfig, distribution: str, queries: int) -> Rates:
    """Of all data sets of scores, as columns of one test."""
    shape = (queries, config.data_sets)
    a = _scores(distribution, shape, jax.random.key(config.seed))
    test = paired_test(a, jnp.zeros(shape), key=1, resamples=config.resamples)
    covered = (test.low <= 0) & (test.high >= 0)
    rejected = np.mean(np.asarray(test.p_value) <= LEVEL)
    return Rates(float("nan"), float(rejected), float(np.mean(covered)))
