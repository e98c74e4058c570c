"""The paper's data sets, as its networks for them take their images."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

import numpy as np
from jaxtyping import Int

from experiments.data.cifar100 import read_cifar100
from experiments.data.folders import DataSet
from experiments.data.imagenet import open_imagenet
from experiments.data.tiny_imagenet import open_tiny_imagenet
from semrsm_jax.cli.console import Report
from semrsm_jax.features import Preprocessing
from semrsm_jax.features.preprocessing import ShortestEdge

DATA = DataSet(
    "The CKA experiment",
    "CIFAR-100 (binary version) at https://www.cs.toronto.edu/~kriz/cifar.html, "
    "Tiny-ImageNet at http://cs231n.stanford.edu/tiny-imagenet-200.zip, ImageNet at "
    "https://image-net.org/challenges/LSVRC/2012. ResNets of the first two are your "
    "own, trained from three seeds: state dicts of torchvision's, with a 3x3 first "
    "convolution and no max-pool, or folders as Hugging Face has them; those of "
    "ImageNet are fetched from the hub.",
    """
    cifar-100-binary/test.bin
    tiny-imagenet-200/val/images/val_0.JPEG ... (with wnids.txt, val_annotations.txt)
    imagenet/val/ILSVRC2012_val_00000001.JPEG ...
    checkpoints/cifar100/resnet18-seed0.pth, -seed1, -seed2, resnet34-..., resnet101-...
    checkpoints/tiny-imagenet/resnet18-seed0.pth ...
    """,
)


# Images as `extract` takes them, and their classes, where they are known.
Opened = tuple[Any, Int[np.ndarray, " N"] | None]


class Images(Protocol):
    """A data set; compares by value."""

    def open(self, folder: Path, samples: int, seed: int, report: Report) -> Opened:
        """The images of the data set below a folder, drawn at random.

        Raises:
          ValueError: the data set is missing in the folder, or damaged.
        """
        ...


@dataclass(frozen=True)
class Cifar100Images:
    """CIFAR-100's test images, 32x32.

    Attributes:
      preprocess: its usual mean and deviation.
    """

    preprocess: Preprocessing = Preprocessing(
        resize=None,
        crop=None,
        mean=(0.5071, 0.4865, 0.4409),
        std=(0.2673, 0.2564, 0.2762),
    )

    def open(self, folder: Path, samples: int, seed: int, report: Report) -> Opened:
        """As in `Images`."""
        read = read_cifar100(folder / "cifar-100-binary", samples, seed)
        return np.stack([self.preprocess(image) for image in read.images]), read.fine


@dataclass(frozen=True)
class TinyImageNetImages:
    """Tiny-ImageNet's validation images, 64x64.

    Attributes:
      preprocess: ImageNet's mean and deviation.
    """

    preprocess: Preprocessing = Preprocessing(resize=None, crop=None)

    def open(self, folder: Path, samples: int, seed: int, report: Report) -> Opened:
        """As in `Images`."""
        images, labels = open_tiny_imagenet(
            folder / "tiny-imagenet-200", self.preprocess, samples, seed, report=report
        )
        return images, labels


@dataclass(frozen=True)
class ImageNetImages:
    """ImageNet's validation images, 160x160.

    Attributes:
      preprocess: as much is cut off as of 256 pixels where 224 are left.
    """

    preprocess: Preprocessing = Preprocessing(ShortestEdge(183), crop=(160, 160))

    def open(self, folder: Path, samples: int, seed: int, report: Report) -> Opened:
        """As in `Images`; the files do not tell their classes."""
        images = open_imagenet(
            folder / "imagenet", self.preprocess, samples, seed, report=report
        )
        return images, None
