"""Which patch was matched with which, for the most informative pairs, packed small."""

from collections.abc import Callable, Iterator, Sequence
from contextlib import closing
from typing import NamedTuple

import numpy as np
from jaxtyping import Float, Int, UInt8

from semrsm_jax import _checks
from semrsm_jax.matching import Matcher
from semrsm_jax.pairs.chunk_size import pairs_in_flight
from semrsm_jax.pairs.executor import PairInputs, Rule, execute
from semrsm_jax.pairs.selection import PairList
from semrsm_jax.retrieval import nearest, same_sample

# Bytes of the correspondences of all layers of a page, unless more are asked for.
BUDGET = 4 * 2**20


class Correspondences(NamedTuple):
    """Matchings of P pairs of samples (i, j), with S tokens each.

    Attributes:
      pairs: (P, 2) int32, i and j; where the matcher is symmetric, i < j.
      permutation: (P, S), unsigned and as narrow as S allows: the token of j that goes
        with each token of i.
      strength: (P, S), the inner product that a matched token adds, in 255ths of the
        largest of its pair; 0 where it adds nothing or takes away.
    """

    pairs: Int[np.ndarray, "P 2"]
    permutation: np.ndarray
    strength: UInt8[np.ndarray, "P S"]


def index_dtype(tokens: int) -> np.dtype:
    """The narrowest unsigned dtype for a token's number."""
    return np.min_scalar_type(tokens - 1)


def all_pairs(samples: int, matcher: Matcher | None) -> int:
    """How many pairs of n samples there are to match."""
    if matcher is None:
        return 0
    pairs = samples * (samples - 1) // (2 if matcher.symmetric else 1)
    return pairs if matcher.self_is_identity else pairs + samples


def rooms(tokens: Sequence[int], pairs: Sequence[int]) -> list[int]:
    """How many of all pairs of each layer, of S tokens each, the budget allows.

    Every layer gets the same number of bytes, and what the smaller ones do not need for
    all of their pairs goes to the others.
    """
    left, counts = BUDGET, [0] * len(tokens)
    for rank, place in enumerate(np.argsort(tokens, kind="stable")):
        size = tokens[place] * (index_dtype(tokens[place]).itemsize + 1)
        counts[place] = min(pairs[place], left // (len(tokens) - rank) // size)
        left -= counts[place] * size
    return counts


def choose_pairs(
    rsms: Sequence[Float[np.ndarray, "n n"]],
    lost: Float[np.ndarray, "n n"] | None,
    neighbors: int,
    most: int,
    also: Sequence[tuple[int, int]],
    matcher: Matcher,
) -> Int[np.ndarray, "P 2"]:
    """The pairs whose correspondences a page holds, the most wanted first.

    Those asked for come first, then each sample's neighbors under every RSM, then in
    turn the pairs that lose most and least to misalignment, as long as there is room.

    Args:
      rsms: the definitions of one layer.
      lost: share of the similarity lost to misalignment; NaN where it has none.
      neighbors: of each sample.
      most: pairs.
      also: pairs that were asked for; these are kept beyond `most` too.
      matcher: symmetric or not.

    Returns:
      (P, 2), no pair twice.
    """
    n = len(rsms[0])

    def wanted() -> Iterator[np.ndarray]:
        count = min(neighbors, n - 1)
        if count > 0:
            neighbors_of = [nearest(K, count, same_sample(n)).index for K in rsms]
            for rank in range(count):
                for index in neighbors_of:
                    yield np.stack([np.arange(n), np.asarray(index)[:, rank]], 1)
        rows, columns = np.nonzero(~np.eye(n, dtype=bool))
        if lost is not None:
            order = np.argsort(np.nan_to_num(lost[rows, columns]), kind="stable")
            # First, last, second, last but one, ...
            turns = np.stack([order, order[::-1]], 1).reshape(-1)[: len(order)]
            rows, columns = rows[turns], columns[turns]
        yield np.stack([rows, columns], 1)

    asked = np.asarray(also, int).reshape(-1, 2)
    listed = np.concatenate([asked, *wanted()])
    if matcher.symmetric:
        listed = np.sort(listed, axis=1)
    if matcher.self_is_identity:
        listed = listed[listed[:, 0] != listed[:, 1]]
    elif n:
        # A sample with itself is a matching like any other.
        own = np.repeat(np.arange(n)[:, None], 2, axis=1)
        listed = np.concatenate([listed[: len(asked)], own, listed[len(asked) :]])
    numbers = listed[:, 0] * n + listed[:, 1]
    _, first = np.unique(numbers, return_index=True)
    first = np.sort(first)
    kept = (first < len(asked)) | (np.arange(len(first)) < most)
    return listed[first[kept]].astype(np.int32)


def match_pairs(
    values: Float[np.ndarray, "n S C"],
    pairs: Int[np.ndarray, "P 2"],
    matcher: Matcher,
    progress: Callable[[int, int], object],
) -> Correspondences:
    """Matches the tokens of some pairs, and reports how many pairs are done.

    Raises:
      ValueError: a value is not finite, the matcher does not fit, or a token stays
        unmatched.
    """
    _checks.finite("values", values)
    matcher.validate(values.shape, values.shape)
    tokens = values.shape[1]
    permutations = np.empty((len(pairs), tokens), index_dtype(tokens))
    strengths = np.empty((len(pairs), tokens), np.uint8)
    inputs, rule = PairInputs(values, values), Rule(matcher)
    size = pairs_in_flight(values.shape, values.shape, inputs.dtype, rule)
    size = min(size, max(1, len(pairs)))
    listed = PairList(*pairs.T)
    with closing(execute(inputs, rule, listed, size, tokens=True)) as chunks:
        for start, stop, (permutation, products), _ in chunks:
            if (permutation < 0).any():
                raise ValueError(
                    f"matcher must match every token, {matcher!r} left some"
                )
            permutations[start:stop] = permutation
            strengths[start:stop] = _shares(np.maximum(products, 0))
            progress(stop, len(pairs))
    return Correspondences(pairs, permutations, strengths)


def _shares(added: Float[np.ndarray, "P S"]) -> UInt8[np.ndarray, "P S"]:
    """Each row in 255ths of its largest value; 0 where that is 0."""
    largest = added.max(-1, keepdims=True)
    share = np.divide(added, largest, out=np.zeros_like(added), where=largest > 0)
    return np.rint(255 * share).astype(np.uint8)
