"""A small store of features, and what is in it."""

import numpy as np
import pytest

from semrsm_jax.store import FeatureStore

LAYERS = {"stages.0": (4, 3), "head": (1, 5)}
IDS = [f"bild {n} ü" for n in range(10)]
DESCRIBED = {
    "ids": IDS,
    "layers": LAYERS,
    "dtype": "float32",
    "batch": 4,
    "metadata": {"model": "resnet18", "preprocessing": {"mean": [0.5, 0.5]}},
}


@pytest.fixture(scope="module")
def features():
    rng = np.random.default_rng(0)
    return {
        name: rng.normal(size=(10, *shape)).astype(np.float32)
        for name, shape in LAYERS.items()
    }


def part(features, rows):
    return {name: values[rows] for name, values in features.items()}


def fill(store, features):
    for number in store.missing():
        store.write(number, part(features, store.rows(number)))
    return store


@pytest.fixture
def path(tmp_path):
    return tmp_path / "new folder é" / "features.zarr"


@pytest.fixture
def store(path, features):
    return fill(FeatureStore.create(path, **DESCRIBED), features)
