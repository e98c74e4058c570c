"""What the retrieval experiment runs, and what a source of images gives it."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple, Protocol

import numpy as np
from jaxtyping import Int, Shaped, UInt8

from experiments._common.session import Session
from semrsm_jax import _checks
from semrsm_jax.matching import Exact, Matcher
from semrsm_jax.retrieval import VLAD, AveragePooling, WhitenedPooling
from semrsm_jax.retrieval.descriptors import GlobalDescriptor
from semrsm_jax.retrieval.scores import Score


class Measure(NamedTuple):
    """How well an image shows what the query shows.

    Attributes:
      score: of two images' counts.
      queries: (Q, C), how often each class is there, or whether it is.
      database: (M, C), likewise.
    """

    score: Score
    queries: Shaped[np.ndarray, "Q C"]
    database: Shaped[np.ndarray, "M C"]


class Groups(NamedTuple):
    """An image is not retrieved for a query of the same group.

    Attributes:
      queries: (Q,), numbers or text.
      database: (M,), likewise.
    """

    queries: Shaped[np.ndarray, " Q"]
    database: Shaped[np.ndarray, " M"]


class Collection(NamedTuple):
    """Q queries and a database of M images, whose first ones are smaller databases.

    Attributes:
      title: what is shown to readers.
      measures: name -> measure; the first is the one that the paper uses.
      protocols: what may be retrieved -> groups that it may not be of; the first is
        the paper's.
      clusters: (Q,), the scene of each query. Queries of one scene are not independent.
      query: image of a query, by its number.
      entry: image of the database, likewise.
      features: of a network by its name: layer -> tokens (Q, S, C) of the queries and
        (M, S, C) of the database, as arrays or read where they are kept.
    """

    title: str
    measures: Mapping[str, Measure]
    protocols: Mapping[str, Groups]
    clusters: Shaped[np.ndarray, " Q"]
    query: Callable[[int], UInt8[np.ndarray, "H W 3"]]
    entry: Callable[[int], UInt8[np.ndarray, "H W 3"]]
    features: Callable[[str], Mapping[str, tuple[Any, Any]]]


# What may be retrieved: images of the query's video never, of its scene or not.
SAME_SCENE, OTHER_SCENES = "same scene allowed", "other scenes only"


class Source(Protocol):
    """Where images, what they show, and their features come from."""

    def collect(self, config: "RetrievalConfig", session: Session) -> Collection:
        """Draws queries and database."""
        ...


@dataclass(frozen=True)
class RetrievalConfig:
    """All that the numbers depend on.

    Attributes:
      source: of the images.
      networks: names of the feature extractors.
      queries: how many images are looked up.
      sizes: images of the databases, rising; each is the beginning of the next.
      k: neighbours that are retrieved.
      matcher: with permutation invariance; without, tokens are paired by position.
      center: what is subtracted from all features: the database's mean of each
        ``"channel"``, or of each ``"position"`` and channel.
      baselines: name -> classical descriptor, of the same features, not centred.
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
          TypeError: one is no integer.
          ValueError: one is below 1, or sizes do not rise.
        """
        for name in ("queries", "k", "resamples", "shown"):
            _checks.at_least(name, getattr(self, name), 1)
        if not self.networks:
            raise ValueError("networks must name at least one, got none")
        if not self.sizes or list(self.sizes) != sorted({*self.sizes}):
            raise ValueError(f"sizes must rise, got {self.sizes}")
        _checks.at_least("sizes", self.sizes[0], 1)

    def draw(self, there: int) -> tuple[Int[np.ndarray, " Q"], Int[np.ndarray, " M"]]:
        """Which of the images are queries and which the database; none is both.

        Raises:
          ValueError: there are fewer images than that takes.
        """
        wanted = self.queries + self.sizes[-1]
        if there < wanted:
            raise ValueError(
                f"{self.queries} queries and a database of {self.sizes[-1]} take "
                f"{wanted} images, got {there}"
            )
        order = np.random.default_rng(self.seed).permutation(there)[:wanted]
        return order[: self.queries], order[self.queries :]


def folder_name(network: str) -> str:
    """A network's name as one part of a path: ids of the hub have slashes."""
    return network.strip("/").replace("/", "--")
