"""Files that tests of the command line read."""

import numpy as np

SOLVER = ("--solver", "scipy")
N, M = 8, 11


def features(seed=0, shape=(5, 3, 2, 4)) -> np.ndarray:
    return np.random.default_rng(seed).normal(size=shape).astype(np.float32)


def load(*names) -> list[np.ndarray]:
    return [np.load(f"{name}.npy") for name in names]
