"""What the correlation of similarities with outputs depends on."""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path

from experiments.data.shown import Source
from experiments.frame.pretrained import WHEELS
from experiments.output_correlation.classifiers import (
    OnImageNet,
    OnPhotographs,
    OnScenes,
)
from experiments.output_correlation.paper import TABLE_1
from semrsm_jax import RBF, BatchOptimal, Cosine, Kernel, Linear, Matcher


@dataclass(frozen=True)
class OutputCorrelationConfig:
    """The images, the networks, and how they are compared.

    Attributes:
      classifiers: where images and networks come from.
      networks: their names there.
      samples: images, drawn at random.
      seed: of the draw and of the resamples.
      matcher: of the semantic RSMs, symmetric in both images; those of the
        spatio-semantic ones is Identity().
      rbf: the RBF kernel, with the rule for its bandwidth.
      resamples: of the bootstrap, over images.
      interval_samples: of more images than these the intervals come from so many,
        drawn at random, and are narrowed by the square root of the ratio.
      data: the user's folder, for classifiers that need one.
    """

    classifiers: Source
    networks: tuple[str, ...]
    samples: int
    seed: int = 1
    matcher: Matcher = BatchOptimal(window=512)
    rbf: RBF = RBF()
    resamples: int = 1000
    interval_samples: int = 500
    data: Path | None = None

    @property
    def kernels(self) -> Mapping[str, Kernel]:
        """Name of each kernel -> the kernel, in the order of the paper's tables."""
        return {"cosine": Cosine(), "inner product": Linear(), "RBF": self.rbf}


_PAPER = OutputCorrelationConfig(
    OnImageNet(), networks=tuple(TABLE_1), samples=2000, rbf=RBF("official")
)
SCALES = {
    "bundled": OutputCorrelationConfig(
        OnScenes(),
        networks=("resnet-10", "resnet-18", "convnext", "vit-2", "vit-4"),
        samples=240,
    ),
    "smoke": OutputCorrelationConfig(
        OnScenes(), networks=("resnet-10", "vit-2"), samples=12, resamples=40
    ),
    # As often each of scikit-image's photographs, of which there are 18.
    "pretrained": OutputCorrelationConfig(
        OnPhotographs(), networks=tuple(WHEELS), samples=180, resamples=500
    ),
    "paper": _PAPER,
    "paper-table4": replace(_PAPER, samples=20_000),
}
