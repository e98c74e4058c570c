"""The nearest images of every query by every method, with each pair matched once."""

from collections.abc import Callable
from functools import partial
from typing import Any, NamedTuple

import numpy as np
from jaxtyping import Bool, Float, Int

from experiments.frame.session import Session
from experiments.retrieval.collection import Collection, Groups, folder_name
from experiments.retrieval.config import RetrievalConfig
from semrsm_jax import RBF, Cosine, Identity, Kernel, Linear, nearest, same_group
from semrsm_jax.pairs.selection import batches
from semrsm_jax.retrieval.descriptors import GlobalDescriptor
from semrsm_jax.store import open_similarity

# The RBF's bandwidth is one number for all pairs: it does not change their order.
KERNELS: dict[str, Kernel] = {
    "cosine": Cosine(),
    "inner product": Linear(),
    "RBF": RBF(),
}
WITHOUT = "without permutation invariance"
WITH = "with permutation invariance"

# Similarities that a global descriptor computes at a time.
_BLOCK = 2**22


class Key(NamedTuple):
    """How neighbors are searched, and among which images.

    Attributes:
      layer: of the network.
      method: a kernel, or a classical descriptor.
      how: `WITHOUT` or `WITH`; a classical descriptor always is invariant.
      protocol: what may be retrieved.
      size: images of the database.
    """

    layer: str
    method: str
    how: str
    protocol: str
    size: int


class NetworkNeighbors(NamedTuple):
    """What a network retrieves.

    Attributes:
      tokens: layer -> tokens S of an image.
      index: key -> (Q, k), images of the database, most similar first; -1 where there
        are fewer.
    """

    tokens: dict[str, int]
    index: dict[Key, Int[np.ndarray, "Q k"]]


def find(
    config: RetrievalConfig, collection: Collection, network: str, session: Session
) -> NetworkNeighbors:
    """The neighbors by a network's features, or those of an earlier run."""
    compute = partial(_compute, config, collection, network, session)
    stored = session.step(f"{folder_name(network)}/neighbors", compute)
    tokens = dict(
        zip(stored["layers"].tolist(), stored["tokens"].tolist(), strict=True)
    )
    keys = (
        Key(layer, method, how, protocol, int(size))  # a number, stored as text
        for layer, method, how, protocol, size in stored["keys"].tolist()
    )
    return NetworkNeighbors(tokens, dict(zip(keys, stored["index"], strict=True)))


def _compute(
    config: RetrievalConfig, collection: Collection, network: str, session: Session
) -> dict[str, Any]:
    tokens, index = {}, {}
    for layer, (x, y) in collection.features(network).items():
        tokens[layer] = x.shape[1]

        def add(method: str, how: str, K: Any, layer: str = layer) -> None:
            for protocol, groups in collection.protocols.items():
                for size in config.sizes:
                    rule = _beyond(groups, size)
                    key = Key(layer, method, how, protocol, size)
                    index[key] = np.asarray(nearest(K, config.k, rule).index)

        for how, matcher in ((WITH, config.matcher), (WITHOUT, Identity())):
            name = f"{folder_name(network)}/{layer}, {how}"
            store = session.run(name, x, y, matcher, config.center)
            for method, kernel in KERNELS.items():
                add(method, how, open_similarity(store.path, kernel))
        for number, (method, rule) in enumerate(config.baselines):
            session.report(f"Classical, {network}", number, len(config.baselines))
            of_rule = partial(_similarities, rule, x, y)
            name = f"{folder_name(network)}/{layer}, {method}"
            add(method, WITH, session.step(name, of_rule)["similarity"])
    return {
        "layers": np.array(list(tokens)),
        "tokens": np.array(list(tokens.values())),
        "keys": np.array(list(index)),
        "index": np.stack(list(index.values())),
    }


def cosines(rule: GlobalDescriptor, x: Any, y: Any) -> Float[np.ndarray, "Q M"]:
    """Similarities by a descriptor fitted to y, whose vectors are never all held."""
    fitted = rule.fit(y)
    queries = np.asarray(fitted.vectors(x))
    rows = max(1, _BLOCK // queries.shape[1])
    return np.concatenate(
        [
            queries @ np.asarray(fitted.vectors(y[part])).T
            for part in batches(y.shape[0], rows)
        ],
        axis=1,
    )


def _similarities(rule: GlobalDescriptor, x: Any, y: Any) -> dict[str, np.ndarray]:
    return {"similarity": cosines(rule, x, y)}


def _beyond(
    groups: Groups, size: int
) -> Callable[[np.ndarray], Bool[np.ndarray, "n M"]]:
    """Leaves out images of the same group, and all after the first `size`."""
    same = same_group(*groups)
    beyond = np.arange(len(groups.database)) >= size
    return lambda numbers: np.asarray(same(numbers)) | beyond
