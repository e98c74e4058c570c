"""How good what was retrieved is, and what permutation invariance gains."""

from collections.abc import Iterable, Iterator, Mapping
from typing import NamedTuple

import numpy as np
from jaxtyping import Float, Int

from experiments.frame.finding import Number, number
from experiments.frame.session import Session
from experiments.retrieval.collection import Collection
from experiments.retrieval.config import RetrievalConfig
from experiments.retrieval.neighbors import (
    KERNELS,
    WITH,
    WITHOUT,
    Key,
    NetworkNeighbors,
    find,
)
from semrsm_jax.comparison import score_interval
from semrsm_jax.retrieval import scores_at_k

GAIN = "gain by permutation invariance"
# The kernel that classical descriptors, which are compared by cosine, stand against.
AGAINST = "cosine"
LEAD = "lead of matched cosine"
HUBS = "queries answered by 1 % of the database"


class Score(NamedTuple):
    """A number of the table.

    Attributes:
      network: feature extractor.
      layer: of the network.
      tokens: S, of an image at that layer.
      method: a kernel or a classical descriptor.
      protocol: what may be retrieved.
      database: images in it.
      measure: F1 or IoU.
      k: neighbors whose scores are averaged.
      quantity: `WITHOUT`, `WITH`, or the paired differences `GAIN`, of a kernel with
        from without, and `LEAD`, of `AGAINST` with from a classical descriptor.
      interval: the mean over queries; 95 %, over the scenes that the queries show.
    """

    network: str
    layer: str
    tokens: int
    method: str
    protocol: str
    database: int
    measure: str
    k: int
    quantity: str
    interval: Number


def score(
    config: RetrievalConfig,
    collection: Collection,
    retrieved: Mapping[str, NetworkNeighbors],
) -> list[Score]:
    """All scores of all networks, each with its interval."""
    return [
        entry
        for network, of_network in retrieved.items()
        for measure in collection.measures
        for entry in _of_network(config, collection, network, of_network, measure)
    ]


def per_query(
    collection: Collection, neighbors: NetworkNeighbors, measure: str
) -> dict[Key, Float[np.ndarray, "Q k"]]:
    """The mean score of each query's first 1, 2, ..., k neighbors; NaN without one."""
    of, queries, database = collection.measures[measure]
    return {
        key: np.asarray(scores_at_k(index, queries, database, of).mean)
        for key, index in neighbors.index.items()
    }


def hub_share(index: Int[np.ndarray, "Q k"], size: int) -> float:
    """Share of the queries that the 1 % of images answer which are nearest most often.

    Images that are near to everything, "hubs", are retrieved for any query
    (Radovanovic et al., "Hubs in space", 2010).

    Args:
      index: nearest images of each query, the nearest first; -1 where there is none.
      size: images of the database.
    """
    nearest = index[:, 0]
    often = np.sort(np.bincount(nearest[nearest >= 0], minlength=size))[::-1]
    return float(often[: max(1, size // 100)].sum() / len(nearest))


def select(scores: Iterable[Score], **wanted: str | int) -> list[Score]:
    """The scores whose fields are as wanted."""
    return [
        entry
        for entry in scores
        if all(getattr(entry, name) == value for name, value in wanted.items())
    ]


def _of_network(
    config: RetrievalConfig,
    collection: Collection,
    network: str,
    neighbors: NetworkNeighbors,
    measure: str,
) -> Iterator[Score]:
    values = per_query(collection, neighbors, measure)
    for key in values:
        for quantity, of_queries in _quantities(values, key):
            for k in sorted({1, config.k}):
                # The same draws for all, so that they may be compared.
                scores = of_queries[:, k - 1]
                interval = score_interval(
                    scores,
                    key=config.seed,
                    groups=collection.clusters,
                    resamples=config.resamples,
                )
                yield Score(
                    network,
                    key.layer,
                    neighbors.tokens[key.layer],
                    key.method,
                    key.protocol,
                    key.size,
                    measure,
                    k,
                    quantity,
                    number(interval)._replace(
                        value=float(np.nanmean(scores, dtype=np.float64))
                    ),
                )


def _quantities(
    values: Mapping[Key, Float[np.ndarray, "Q k"]], key: Key
) -> Iterator[tuple[str, Float[np.ndarray, "Q k"]]]:
    yield key.how, values[key]
    if key.how == WITH and key.method in KERNELS:
        yield GAIN, values[key] - values[key._replace(how=WITHOUT)]
    elif key.how == WITH:
        yield LEAD, values[key._replace(method=AGAINST)] - values[key]


class Result(NamedTuple):
    """What was looked up in what, the neighbors, and how good they are.

    Attributes:
      config: the settings.
      collection: the queries and the database.
      neighbors: network -> what it retrieves.
      scores: of all networks, each with its interval.
    """

    config: RetrievalConfig
    collection: Collection
    neighbors: Mapping[str, NetworkNeighbors]
    scores: list[Score]


def run(config: RetrievalConfig, session: Session = Session()) -> Result:
    """Finds the neighbors by every network and method, and scores them."""
    collection = config.source.collect(config, session)
    neighbors = {
        network: find(config, collection, network, session)
        for network in config.networks
    }
    session.report("Intervals", 0, None)
    return Result(config, collection, neighbors, score(config, collection, neighbors))
