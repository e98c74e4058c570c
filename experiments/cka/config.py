"""What the comparison of layers by CKA runs: a frozen config for each scale."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from experiments.cka.datasets import Cifar100Images, ImageNetImages, TinyImageNetImages
from experiments.cka.sources import OnDataSet, OnPhotographs, OnScenes
from experiments.data.shown import Source
from experiments.frame.pretrained import WHEELS
from semrsm_jax import RBF, BatchOptimal, Exact, Kernel, Linear, Matcher


@dataclass(frozen=True)
class Architecture:
    """One architecture, trained once or several times.

    Attributes:
      name: what figures call it.
      networks: its networks, which differ in their seed alone; names in the source.
    """

    name: str
    networks: tuple[str, ...]


@dataclass(frozen=True)
class Part:
    """Images, and networks that were trained for them.

    Attributes:
      name: of the images.
      source: where images and networks come from.
      architectures: the networks.
      across: names of two architectures each, whose first networks are compared; the
        seeds of one architecture are compared in any case.
      samples: images, drawn at random.
      batch: images of an RSM, of which there are `samples` / `batch`.
      matcher: of the semantic RSMs; those of the spatio-semantic ones is Identity().

    Raises:
      ValueError: the batches do not go into the samples, a name is of none, or there
        are no two networks to compare.
    """

    name: str
    source: Source
    architectures: tuple[Architecture, ...]
    across: tuple[tuple[str, str], ...] = ()
    samples: int = 250
    batch: int = 250
    matcher: Matcher = BatchOptimal(window=512)

    def __post_init__(self) -> None:
        """Checks the fields."""
        if self.batch < 4 or self.samples < 1 or self.samples % self.batch:
            raise ValueError(
                f"samples must be batches of at least 4, got {self.samples} in batches "
                f"of {self.batch}"
            )
        known = {each.name for each in self.architectures}
        for pair in self.across:
            if not set(pair) <= known:
                raise ValueError(f"across must name two of {known}, got {pair}")
        if not self.across and all(len(e.networks) < 2 for e in self.architectures):
            raise ValueError(
                f"across must name architectures of {self.name}, where none has "
                "several networks, got none"
            )

    @property
    def networks(self) -> tuple[str, ...]:
        """All networks of all architectures."""
        return tuple(name for each in self.architectures for name in each.networks)


@dataclass(frozen=True)
class CKAConfig:
    """The parts, and what is done with the RSMs of all of them.

    Attributes:
      parts: images with their networks.
      seed: of the draw of images and of the resamples.
      rbf: the RBF kernel, with the rule for its bandwidth, for the comparison of both
        kinds of RSMs; all else is of the linear kernel.
      resamples: of the bootstrap over images.
      data: the user's folder, for sources that need one.
    """

    parts: tuple[Part, ...]
    seed: int = 1
    rbf: RBF = RBF()
    resamples: int = 1000
    data: Path | None = None

    @property
    def kernels(self) -> Mapping[str, Kernel]:
        """Name of each kernel -> the kernel."""
        return {"linear": Linear(), "RBF": self.rbf}


def _seeds(name: str, network: str) -> Architecture:
    return Architecture(name, tuple(f"{network}-seed{seed}" for seed in range(3)))


_RESNETS = ("ResNet18", "ResNet34", "ResNet101")
_PAPER = {
    "paper-cifar100": Part(
        "CIFAR-100",
        OnDataSet(Cifar100Images()),
        tuple(_seeds(name, f"cifar100/{name.lower()}") for name in _RESNETS),
        across=(("ResNet18", "ResNet101"),),
        samples=1000,
        matcher=Exact(),
    ),
    "paper-tiny-imagenet": Part(
        "Tiny-ImageNet",
        OnDataSet(TinyImageNetImages()),
        tuple(_seeds(name, f"tiny-imagenet/{name.lower()}") for name in _RESNETS),
        samples=1000,
    ),
    "paper-imagenet": Part(
        "ImageNet",
        OnDataSet(ImageNetImages(), public=True),
        tuple(
            Architecture(name, (f"microsoft/resnet-{name.removeprefix('ResNet')}",))
            for name in _RESNETS
        ),
        across=(("ResNet18", "ResNet34"), ("ResNet18", "ResNet101")),
        samples=1000,
    ),
}
SCALES = {
    "bundled": CKAConfig(
        (
            Part(
                "scenes",
                OnScenes(),
                (
                    Architecture(
                        "resnet-10", ("resnet-10", "resnet-10-seed1", "resnet-10-seed2")
                    ),
                    Architecture("resnet-18", ("resnet-18",)),
                    Architecture("vit-2", ("vit-2",)),
                    Architecture("vit-4", ("vit-4", "vit-4-seed1", "vit-4-seed2")),
                ),
                across=(("resnet-10", "resnet-18"), ("vit-2", "vit-4")),
                samples=120,
                batch=120,
            ),
        )
    ),
    "smoke": CKAConfig(
        (
            Part(
                "scenes",
                OnScenes(),
                (
                    Architecture("resnet-10", ("resnet-10", "resnet-10-seed1")),
                    Architecture("vit-2", ("vit-2",)),
                ),
                across=(("resnet-10", "vit-2"),),
                samples=16,
                batch=8,
                matcher=Exact(tolerance=1e-2),
            ),
        ),
        resamples=20,
    ),
    "pretrained": CKAConfig(
        (
            Part(
                "photographs",
                OnPhotographs(),
                tuple(Architecture(name, (name,)) for name in WHEELS),
                across=(
                    ("efficientnet-lite0", "efficientnet-lite1"),
                    ("efficientnet-lite0", "efficientnet-lite2"),
                ),
                # Four crops of each of scikit-image's photographs.
                samples=72,
                batch=72,
            ),
        )
    ),
    "paper": CKAConfig(tuple(_PAPER.values()), rbf=RBF("official")),
    **{name: CKAConfig((part,), rbf=RBF("official")) for name, part in _PAPER.items()},
}
