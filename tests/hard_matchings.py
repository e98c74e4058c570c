"""What the tests of hard matchings share: tokens on a grid, and SciPy's optimum."""

import numpy as np
from scipy.optimize import linear_sum_assignment

GRID = (4, 6)
TOKENS = 24


def tokens(rng, *shape):
    """Tokens as ReLU leaves them."""
    return np.maximum(rng.normal(size=shape) + 0.2, 0).astype(np.float32)


def optimum(x, y):
    """The matched inner product of the best matching."""
    matrix = np.asarray(x, np.float64) @ np.asarray(y, np.float64).T
    return matrix[linear_sum_assignment(matrix, maximize=True)].sum()
