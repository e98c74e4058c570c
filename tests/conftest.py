import jax
import numpy as np
import pytest


@pytest.fixture
def rng():
    return np.random.default_rng(0)


@pytest.fixture
def x64():
    """float64 for one test: the global setting is put back."""
    with jax.enable_x64(True):
        yield
