"""Simulated data sets, and what intervals and tests say of them."""

import itertools
import warnings
from collections.abc import Callable
from functools import lru_cache, partial
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

from experiments.calibration.config import (
    HEAVY,
    NEIGHBORS,
    SPARSE,
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
      difference_warned: the test of a difference warned.
      coverage_warned: the interval was given with a warning.
    """

    permutation: float
    difference: float
    coverage: float
    difference_warned: float
    coverage_warned: float


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

    def kept(name: str, compute: Callable[..., Rates], *cell: Any) -> Rates:
        step = session.step(name, lambda: compute(config, *cell)._asdict())
        return Rates(*(float(step[key]) for key in Rates._fields))

    rsms, scores = {}, {}
    for done, cell in enumerate(cells := _cells(config)):
        session.report("Simulating RSMs", done, len(cells))
        name = "-".join(map(str, (cell[0], *vars(cell[1]).values(), cell[2])))
        rsms[cell] = kept(name, _rates, *cell)
    for cell in itertools.product(config.scores, config.queries):
        session.report(f"Simulating {cell[0]} scores", 0, None)
        name = f"scores-{cell[0]}-{cell[1]}"
        scores[cell] = kept(name, _of_scores, *cell)
    return Result(config, rsms, scores)


def _cells(config: CalibrationConfig) -> list[tuple[str, Design, str]]:
    return [
        (features, design, statistic)
        for design in config.designs
        for statistic in config.statistics
        for features in config.features
    ]


@jax.jit
def gram(x: Float[Array, "N C"]) -> Float[Array, "N N"]:
    """The linear RSM."""
    return jnp.matmul(x, x.T, precision="highest")


@jax.jit
def _divergence(y: Float[Array, "N C"]) -> Float[Array, "N N"]:
    return jensen_shannon_matrix(2 * y, from_logits=True)


# The statistic, and what is made of y.
_COMPARED: dict[str, tuple[Any, Callable[[Array], Array]]] = {
    "CKA": (CKA(), gram),
    "RSA": (RSA(), gram),
    "JSD": (RSA("pearson"), _divergence),
    NEIGHBORS: (MutualKNN(5), gram),
}


def _draw(features: str, design: Design, channels: int, key: jax.Array) -> Array:
    """Features (N, C) before their activation, of variance 1 where there is one."""
    shape = (design.groups * design.size, channels)
    common, own = jax.random.split(key)

    def noise(key: jax.Array, shape: tuple[int, int]) -> Array:
        if features == HEAVY:
            return jax.random.t(key, 1.5, shape)
        return jax.random.normal(key, shape)

    if design.size == 1:
        return noise(own, shape)
    shared = jnp.repeat(noise(common, (design.groups, channels)), design.size, axis=0)
    return design.share**0.5 * shared + (1 - design.share) ** 0.5 * noise(own, shape)


@partial(jax.jit, static_argnums=(0, 1, 2))
def views(
    features: str, design: Design, channels: int, key: jax.Array
) -> tuple[Array, Array, Array, Array]:
    """x1, x2 and y, which are related, and one that is related to none of them.

    Args:
      features: their distribution, of `FEATURES`.
      design: of the samples.
      channels: C.
      key: of all that is drawn.
    """
    keys = jax.random.split(key, 5)
    z, a, b, c, d = (_draw(features, design, channels, each) for each in keys)
    mix = jax.random.normal(jax.random.key(1), (channels, channels)) / channels**0.5

    def active(z: Array) -> Array:
        return jnp.maximum(z - 1, 0) if features == SPARSE else z

    scale = (1 + _NOISE**2) ** 0.5
    x1, x2 = (z + _NOISE * a) / scale, (z + _NOISE * b) / scale
    y, unrelated = (z + c) @ mix / 2**0.5, d @ mix
    return active(x1), active(x2), active(y), active(unrelated)


def _outcome(
    config: CalibrationConfig,
    features: str,
    design: Design,
    statistic: str,
    key: jax.Array,
) -> tuple[float, ...]:
    """What the tests and the interval say of one data set.

    The p-values of both tests, the estimate with its limits, and whether the test of a
    difference warned, and the interval.
    """
    measure, output = _COMPARED[statistic]
    settings: dict[str, Any] = {"resamples": config.resamples}
    if design.size > 1:
        settings["groups"] = np.repeat(np.arange(design.groups), design.size)
        if statistic != NEIGHBORS:
            settings["within_groups"] = "drop"
    drawn, *keys = jax.random.split(key, 4)
    first, second, y, unrelated = views(features, design, config.channels, drawn)
    K, M, L = gram(first), gram(second), output(y)
    settings |= {"statistic": measure}
    permuted = permutation_test(
        K, output(unrelated), key=keys[0], alternative="two-sided", **settings
    )
    difference, of_difference = _with_warnings(
        difference_test, (K, L), (M, L), key=keys[1], **settings
    )
    interval, of_interval = _with_warnings(
        bootstrap_interval, K, L, key=keys[2], **settings
    )
    p_values = float(permuted.p_value), float(difference.p_value)
    return *p_values, *interval.floats(), of_difference, of_interval


def _with_warnings(
    function: Callable[..., Any], *arguments: Any, **settings: Any
) -> tuple[Any, bool]:
    """What a call returns, and whether it warned."""
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        return function(*arguments, **settings), bool(caught)


def _rates(
    config: CalibrationConfig, features: str, design: Design, statistic: str
) -> Rates:
    """Of all data sets of a cell."""
    keys = jax.random.split(jax.random.key(config.seed), config.data_sets)
    outcomes = [_outcome(config, features, design, statistic, key) for key in keys]
    columns = map(np.array, zip(*outcomes, strict=True))
    permuted, difference, estimate, low, high, *warned = columns
    truth = float(np.mean(estimate))
    if statistic != NEIGHBORS:
        truth = _population(config, features, statistic)
    rates = permuted <= LEVEL, difference <= LEVEL, (low <= truth) & (truth <= high)
    return Rates(*(float(np.mean(each)) for each in (*rates, *warned)))


@lru_cache
def _population(config: CalibrationConfig, features: str, statistic: str) -> float:
    """The value of independent samples, the mean over several large data sets."""
    measure, output = _COMPARED[statistic]
    samples, sets = _POPULATION
    values = []
    for key in jax.random.split(jax.random.key(config.seed + 1), sets):
        first, _, y, _ = views(features, Design(samples), config.channels, key)
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
    nan = float("nan")
    return Rates(nan, float(rejected), float(np.mean(covered)), nan, nan)
