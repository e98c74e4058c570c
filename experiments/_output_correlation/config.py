"""What the correlation of similarities with outputs depends on."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from experiments._output_correlation.classifiers import Classifiers
from semrsm_jax._kernels import RBF, Cosine, Kernel, Linear
from semrsm_jax.matching import BatchOptimal, Matcher


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

    classifiers: Classifiers
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
