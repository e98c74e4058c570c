"""A folder of photographs."""

import numpy as np
import pytest
from PIL import Image


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """Nine photographs, each with a red of its own, in two folders."""
    root = tmp_path_factory.mktemp("photographs")
    rng = np.random.default_rng(0)
    for k in range(9):
        path = root / str(k % 2) / f"{k}.png"
        path.parent.mkdir(exist_ok=True)
        pixels = rng.integers(0, 256, (40 + k, 60, 3))
        pixels[..., 0] = 20 * k
        Image.fromarray(pixels.astype(np.uint8)).save(path)
    return root
