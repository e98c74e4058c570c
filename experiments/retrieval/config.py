"""What the retrieval experiment runs: a frozen config for each scale."""

from dataclasses import dataclass
from pathlib import Path

import numpy as np
from jaxtyping import Int

from experiments.frame.checks import check_counts
from experiments.retrieval.collection import Source
from experiments.retrieval.datasets import Cityscapes, EgoObjects
from experiments.retrieval.scenes import Scenes
from semrsm_jax import (
    VLAD,
    AveragePooling,
    BatchOptimal,
    Exact,
    Matcher,
    WhitenedPooling,
)
from semrsm_jax.retrieval.descriptors import GlobalDescriptor


@dataclass(frozen=True)
class RetrievalConfig:
    """All that the numbers depend on.

    Attributes:
      source: of the images.
      networks: names of the feature extractors.
      queries: how many images are looked up.
      sizes: images of the databases, rising; each is the beginning of the next.
      k: neighbors that are retrieved.
      matcher: with permutation invariance; without, tokens are paired by position.
      center: what is subtracted from all features: the database's mean of each
        ``"channel"``, or of each ``"position"`` and channel.
      baselines: name -> classical descriptor, of the same features, not centered.
      seed: of the draw of queries and database, and of the bootstrap.
      resamples: of the bootstrap.
      shown: queries in the gallery, the first ones.
      data: the user's folder, where the source needs one.
    """

    source: Source
    networks: tuple[str, ...]
    queries: int = 300
    sizes: tuple[int, ...] = (225, 450, 900)
    k: int = 5
    matcher: Matcher = Exact()
    center: str = "channel"
    baselines: tuple[tuple[str, GlobalDescriptor], ...] = (
        ("average pooling", AveragePooling()),
        ("PCA-whitened pooling", WhitenedPooling()),
        ("VLAD", VLAD(clusters=16)),
    )
    seed: int = 0
    resamples: int = 2000
    shown: int = 4
    data: Path | None = None

    def __post_init__(self) -> None:
        """Checks the counts.

        Raises:
          TypeError: a count is not an integer.
          ValueError: one is below 1, or sizes do not rise.
        """
        check_counts(self, "queries", "k", "resamples", "shown")
        if not self.networks:
            raise ValueError("networks must name at least one, got none")
        if not self.sizes or list(self.sizes) != sorted({*self.sizes}):
            raise ValueError(f"sizes must rise, got {self.sizes}")
        if self.sizes[0] < 1:
            raise ValueError(f"sizes must be at least 1, got {self.sizes[0]}")

    def draw(self, images: int) -> tuple[Int[np.ndarray, " Q"], Int[np.ndarray, " M"]]:
        """Which of the images are queries and which the database; none is both.

        Raises:
          ValueError: there are fewer images than that takes.
        """
        wanted = self.queries + self.sizes[-1]
        if images < wanted:
            raise ValueError(
                f"{self.queries} queries and a database of {self.sizes[-1]} take "
                f"{wanted} images, got {images}"
            )
        order = np.random.default_rng(self.seed).permutation(images)[:wanted]
        return order[: self.queries], order[self.queries :]


# The paper's feature extractors, in the order of Table 2.
_EXTRACTORS = ("clipseg-rd64", "dinov2-giant", "bit-50", "clip-b32", "sam-b")
# Exact up to 512 tokens; SAM alone has more.
_MATCHER = BatchOptimal(window=512)

# Tried for `bundled`: nothing else. Scenes, sizes, networks and layers were chosen
# before the first run.
SCALES = {
    "bundled": RetrievalConfig(Scenes(), networks=("resnet-10", "vit-4")),
    "smoke": RetrievalConfig(
        Scenes(scenes=8, views=3, depths=(-1,)),
        networks=("resnet-10",),
        queries=6,
        sizes=(6, 12),
        k=2,
        resamples=100,
        shown=2,
    ),
    "paper": RetrievalConfig(
        EgoObjects(),
        networks=_EXTRACTORS,
        queries=2000,
        sizes=(2500, 5000, 10000),
        matcher=_MATCHER,
    ),
    "paper-cityscapes": RetrievalConfig(
        Cityscapes(), networks=_EXTRACTORS, queries=500, sizes=(2975,), matcher=_MATCHER
    ),
}
