"""CIFAR-100, the binary version: 100 classes of 32x32 pixels, with their labels.

train.bin holds 50,000 records and test.bin 10,000, with nothing in between: a byte for
the coarse label (0 to 19), one for the fine label (0 to 99), and 3,072 for the pixels,
1,024 of each of red, green and blue, row by row.
"""

import os
from typing import Literal, NamedTuple

import numpy as np
from jaxtyping import Int, UInt8

from experiments.data.folders import DataSet

Split = Literal["train", "test"]

CIFAR100 = DataSet(
    "CIFAR-100 (binary version)",
    "https://www.cs.toronto.edu/~kriz/cifar-100-binary.tar.gz.",
    """
    train.bin
    test.bin
    """,
)
SIDE = 32
_RECORD = np.dtype(
    [("coarse", np.uint8), ("fine", np.uint8), ("pixels", np.uint8, (3, SIDE, SIDE))]
)
_CLASSES = {"coarse": 20, "fine": 100}


class Cifar100(NamedTuple):
    """Labeled images.

    Attributes:
      images: (N, 32, 32, 3), RGB.
      fine: (N,), the class of each, 0 to 99.
    """

    images: UInt8[np.ndarray, "N 32 32 3"]
    fine: Int[np.ndarray, " N"]


def read_cifar100(
    folder: str | os.PathLike | None,
    samples: int | None = None,
    seed: int = 0,
    split: Split = "test",
) -> Cifar100:
    """Reads images of a split, drawn at random.

    Args:
      folder: cifar-100-binary, or the one that holds it, see `CIFAR100`.
      samples: how many images; None takes all.
      seed: of the draw.
      split: ``"train"`` or ``"test"``.

    Returns:
      The images in the order of the file.

    Raises:
      ValueError: the folder or the file is missing; the file is cut off, or of another
        data set; or it holds fewer images.
    """
    root = CIFAR100.folder(folder)
    inner = root / "cifar-100-binary"
    path = (inner if inner.is_dir() else root) / f"{split}.bin"
    try:
        size = path.stat().st_size
    except OSError as error:
        raise CIFAR100.error(f"{path}: {error.strerror or error}") from error
    if size == 0 or size % _RECORD.itemsize:
        raise CIFAR100.error(
            f"{path} holds {size:,} bytes, expected a multiple of {_RECORD.itemsize:,} "
            "(2 labels and 3,072 pixels): it is cut off, or of another data set"
        )
    records = np.fromfile(path, _RECORD)
    for kind, classes in _CLASSES.items():
        if (highest := int(records[kind].max())) >= classes:
            raise CIFAR100.error(
                f"{path}: a {kind} label is {highest}, expected 0 to {classes - 1}"
            )
    drawn = records[CIFAR100.draw(len(records), samples, seed)]
    pixels = drawn["pixels"].transpose(0, 2, 3, 1)
    return Cifar100(pixels, drawn["fine"].astype(np.int64))
