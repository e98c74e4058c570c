"""A statistic that is cheap to compile, and RSMs that are related or not."""

from dataclasses import dataclass

import jax.numpy as jnp
import numpy as np
import pytest


@dataclass(frozen=True)
class Product:
    """A statistic of one's own, cheap to compile."""

    def __call__(self, K, L, *, counts=None):
        weights = 1 if counts is None else counts[:, None] * counts[None, :]
        return jnp.sum(weights * K * L) / jnp.sum(weights * jnp.ones_like(K))


def gram(x):
    return x @ x.T


def distances(x):
    return jnp.sum((x[:, None] - x[None, :]) ** 2, -1)


@pytest.fixture(scope="module")
def features():
    rng = np.random.default_rng(1)
    x = rng.normal(size=(20, 3))
    return x, x + rng.normal(size=(20, 3)), rng.normal(size=(20, 3))


@pytest.fixture(scope="module")
def rsms(features):
    return [np.float32(gram(x)) for x in features]
