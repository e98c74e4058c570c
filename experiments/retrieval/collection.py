"""What is looked up in what, and where it comes from."""

from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any, NamedTuple, Protocol

import numpy as np
from jaxtyping import Shaped, UInt8

from experiments.frame.session import Session
from semrsm_jax.retrieval.scores import Score

if TYPE_CHECKING:
    from experiments.retrieval.config import RetrievalConfig


class Measure(NamedTuple):
    """How well an image shows what the query shows.

    Attributes:
      score: of two images' counts.
      queries: (Q, C), how often each class is there, or whether it is.
      database: (M, C), of the images of the database.
    """

    score: Score
    queries: Shaped[np.ndarray, "Q C"]
    database: Shaped[np.ndarray, "M C"]


class Groups(NamedTuple):
    """An image is not retrieved for a query of the same group.

    Attributes:
      queries: (Q,), numbers or text.
      database: (M,), of the images of the database.
    """

    queries: Shaped[np.ndarray, " Q"]
    database: Shaped[np.ndarray, " M"]


class Collection(NamedTuple):
    """Q queries and a database of M images, whose first ones are smaller databases.

    Attributes:
      title: what is shown in figures.
      measures: name -> measure; the first is the one that the paper uses.
      protocols: what may be retrieved -> groups that it may not be of; the first is
        the paper's.
      clusters: (Q,), the scene of each query. Queries of one scene are not independent.
      query: image of a query, by its number.
      entry: image of the database, by its number.
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


def folder_name(network: str) -> str:
    """A network's name as one part of a path: ids of the hub have slashes."""
    return network.strip("/").replace("/", "--")
